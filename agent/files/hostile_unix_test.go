//go:build linux || darwin

package files_test

import (
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/agent/files"
)

// What is no file is a problem with a reason, and so is a name that no artifact can have; the rest is found.
func TestSelectInAHostileFolder(t *testing.T) {
	odd := []string{"line\nbreak", "back\\slash", "tab\tbed"}
	if runtime.GOOS == "linux" { // macOS has no such names
		odd = append(odd, "latin\xfc")
	}
	fine := []string{"sp ace", "a?b", "a#b", "100%41", "ümläut", "-rf", "~", "*", "...", "a=b", "!x", "'\"$(id)"}
	folder(t, append(append([]string{}, odd...), fine...)...)
	if err := syscall.Mkfifo("fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	kinds := map[string]string{"fifo": "named pipe", "s": "socket"}
	if syscall.Mknod("device", syscall.S_IFCHR|0o600, 0x103) == nil { // root only
		kinds["device"] = "device"
	}
	found, problems := files.Select(parse(t, "** x=fifo"), files.Options{})
	names := map[string]bool{}
	for _, f := range found {
		names[f.Name] = true
		if head, err := f.Source.Head(100); err != nil || string(head) != f.Name {
			t.Errorf("%q reads %q, %v", f.Name, head, err)
		}
	}
	for _, name := range fine {
		if !names[name] {
			t.Errorf("%q was not found", name)
		}
	}
	if len(found) != len(fine) {
		t.Errorf("found %d files, want %d", len(found), len(fine))
	}
	reasons := map[string]string{}
	for _, p := range problems {
		reasons[p.Name] = p.Err.Error()
	}
	kinds["x"] = "named pipe"
	for name, kind := range kinds {
		if !strings.Contains(reasons[name], "not a regular file") || !strings.Contains(reasons[name], kind) {
			t.Errorf("%s: %q, want that it is a %s", name, reasons[name], kind)
		}
	}
	for _, name := range odd {
		if reasons[name] == "" {
			t.Errorf("%q is no problem", name)
		}
	}
	if len(problems) != len(kinds)+len(odd) {
		t.Errorf("problems %v", problems)
	}
}

func TestSelectAndHardLinks(t *testing.T) {
	folder(t, "one")
	if err := os.Link("one", "other"); err != nil {
		t.Fatal(err)
	}
	found, problems := files.Select(parse(t, "*"), files.Options{})
	if got, missing := describe(t, found, problems); !strings.Contains(got, "one: a link that is not followed: one is a hard link") || missing != "" {
		t.Errorf("got %s; missing %s", got, missing)
	}
	found, problems = files.Select(parse(t, "*"), files.Options{HardLinks: true})
	if got, missing := describe(t, found, problems); got != "one other=one" || missing != "" {
		t.Errorf("hard links allowed: got %s; missing %s", got, missing)
	}
}

func TestSelectWhatCannotBeListed(t *testing.T) {
	if os.Getuid() == 0 {
		dropRoot(t)
		return
	}
	folder(t, "in/closed/x", "in/open")
	if err := os.Chmod("in/closed", 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod("in/closed", 0o700)
	found, problems := files.Select(parse(t, "in"), files.Options{})
	if got, missing := describe(t, found, problems); got != "in/open" || !strings.Contains(missing, "in/closed: list folder: ") || !strings.Contains(missing, "permission denied") {
		t.Errorf("got %s; missing %s", got, missing)
	}
}
