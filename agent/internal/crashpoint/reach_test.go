//go:build !windows

package crashpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const all = "a: before,a: written,a: durable,a: before,a: written,a: durable"

func TestReachKills(t *testing.T) {
	program := build(t, "-tags", "crashpoints")
	for _, c := range []struct {
		at     string
		said   string
		killed bool
	}{
		{"a: before", "", true},
		{"a: durable", "a: before,a: written", true},
		{"a: written#2", "a: before,a: written,a: durable,a: before", true},
		{"a: written#3", all, false},
		{"a", all, false},
		{"", all, false},
	} {
		said, killed := run(t, program, c.at)
		if said != c.said || killed != c.killed {
			t.Errorf("crash at %q: said %q, killed %t; want %q, %t", c.at, said, killed, c.said, c.killed)
		}
	}
}

func TestReachDoesNothingWithoutTheTag(t *testing.T) {
	if said, killed := run(t, build(t), "a: before"); said != all || killed {
		t.Errorf("said %q, killed %t", said, killed)
	}
}

func build(t *testing.T, flags ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "points")
	args := append([]string{"build", "-o", program}, flags...)
	if out, err := exec.CommandContext(t.Context(), "go", append(args, "./testdata/points")...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// run gives the lines that the program said, and whether SIGKILL ended it.
func run(t *testing.T, program, at string) (said string, killed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "UPLOAD_AGENT_CRASH_AT="+at)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status, ok := exit.Sys().(syscall.WaitStatus)
		killed = ok && status.Signaled() && status.Signal() == syscall.SIGKILL
	}
	if err != nil && !killed {
		t.Fatal(err)
	}
	return strings.Join(strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' }), ","), killed
}
