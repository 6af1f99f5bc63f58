package socket_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
)

// uploaded asks for files, and gives what became of them: "state", or "state: reason".
func uploaded(t *testing.T, client *socket.Client, u socket.Upload) (map[string]string, error) {
	t.Helper()
	became := map[string]string{}
	err := client.Upload(soon(t), u, func(f socket.File) error {
		became[f.Name] = string(f.State)
		if f.Reason != "" {
			became[f.Name] += ": " + f.Reason
		}
		return nil
	})
	return became, err
}

// Whatever becomes of a file, the caller is told. Paths are those of the caller's folder, wherever the agent works.
func TestUpload(t *testing.T) {
	run := newRun()
	_, client := served(t, run, socket.Options{})
	dir := t.TempDir()
	write(t, dir, map[string]int{"in/out/large": 300, "in/out/small": 3, "in/out/deep/middle": 30, "in/out/x.tmp": 1, "beside": 7})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "in/out/users")); err != nil {
		t.Fatal(err)
	}
	run.missing["late"] = "it changed while it was uploaded"
	got, err := uploaded(t, client, socket.Upload{
		Dir: filepath.Join(dir, "in"), Specs: []string{"out/**", "renamed=../beside", "none*", "late=out/small"}, Exclude: []string{"*.tmp"}, Gzip: true,
	})
	want := map[string]string{
		"out/large": "stored", "out/small": "stored", "out/deep/middle": "stored", "renamed": "stored",
		"none*": "refused: no file matches", "out/users": "refused: a link that is not followed: out/users leads out of the folder",
		"late": "missing: it changed while it was uploaded",
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	if d := cmp.Diff("late out/small renamed out/deep/middle out/large", strings.Join(run.added, " ")); d != "" {
		t.Errorf("not the small ones first:\n%s", d)
	}
	if run.text["renamed"] != "xxxxxxx" || !run.options.Gzip {
		t.Errorf("renamed is %q; options %+v", run.text["renamed"], run.options)
	}
	// What has a name already is refused, and the run is none the wiser.
	if got, err := uploaded(t, client, socket.Upload{Dir: dir, Specs: []string{"renamed=beside"}}); err != nil || got["renamed"] != "refused: "+agent.ErrArtifactName.Error() {
		t.Errorf("again: %v, %v", got, err)
	}
	// What was refused can be asked for again.
	write(t, dir, map[string]int{"in/nonesuch": 1})
	if got, err := uploaded(t, client, socket.Upload{Dir: filepath.Join(dir, "in"), Specs: []string{"none*"}}); err != nil || got["nonesuch"] != "stored" {
		t.Errorf("once it is there: %v, %v", got, err)
	}
}

// Without a wait the answer comes when the files are added; with one, each line as soon as it is true.
func TestUploadWaits(t *testing.T) {
	run := newRun()
	_, client := served(t, run, socket.Options{})
	dir := t.TempDir()
	write(t, dir, map[string]int{"a": 1, "slow": 2, "b-slow": 3})
	if got, err := uploaded(t, client, socket.Upload{Dir: dir, Specs: []string{"b-slow"}, NoWait: true}); err != nil || got["b-slow"] != "waiting" {
		t.Errorf("no wait: %v, %v", got, err)
	}
	var order []string
	err := client.Upload(soon(t), socket.Upload{Dir: dir, Specs: []string{"a", "slow"}}, func(f socket.File) error {
		if order = append(order, f.Name); f.Name == "a" {
			close(run.slow) // which is stored only now
		}
		return nil
	})
	if got := strings.Join(order, " "); err != nil || got != "a slow" {
		t.Errorf("%s, %v", got, err)
	}
}

// A caller that goes away stops nothing.
func TestUploadOfACallerThatGoes(t *testing.T) {
	run := newRun()
	_, client := served(t, run, socket.Options{})
	dir := t.TempDir()
	write(t, dir, map[string]int{"a": 1, "slow": 2})
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(soon(t))
	err := client.Upload(ctx, socket.Upload{Dir: dir, Specs: []string{"a", "slow"}}, func(socket.File) error { cancel(gone); return nil })
	if !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	if names := maps.Collect(maps.All(run.text)); len(names) != 2 {
		t.Errorf("stored %v", names)
	}
}

func TestUploadRefused(t *testing.T) {
	run := newRun()
	server, client := served(t, run, socket.Options{})
	dir := t.TempDir()
	write(t, dir, map[string]int{"slow": 1})
	for name, row := range map[string]struct {
		u    socket.Upload
		want string
	}{
		"relative":     {socket.Upload{Dir: "here", Specs: []string{"x"}}, "want an absolute path"},
		"nothing":      {socket.Upload{Dir: dir}, "no file is named"},
		"dots":         {socket.Upload{Dir: dir, Specs: []string{"../x"}}, `"../x": a path with ..`},
		"no glob":      {socket.Upload{Dir: dir, Specs: []string{"[x"}}, "not a glob"},
		"bad exclude":  {socket.Upload{Dir: dir, Specs: []string{"x"}, Exclude: []string{"[x"}}, "not a glob"},
		"bad symlinks": {socket.Upload{Dir: dir, Specs: []string{"x"}, Symlinks: "all"}, "want inside, follow or skip"},
		"too much":     {socket.Upload{Dir: dir, Specs: []string{strings.Repeat("x", socket.MaxRequest)}}, "quote globs"},
	} {
		if got, err := uploaded(t, client, row.u); err == nil || !strings.Contains(err.Error(), row.want) || len(got) != 0 {
			t.Errorf("%s: %v, %v; want %s", name, got, err, row.want)
		}
	}
	// The command ends before a file is stored: the caller hears of it.
	if err := client.Upload(soon(t), socket.Upload{Dir: dir, Specs: []string{"slow", "none"}}, func(socket.File) error {
		go server.Close()
		return nil
	}); !errors.Is(err, agent.ErrEnded) || !strings.Contains(err.Error(), "the command has ended") {
		t.Errorf("when the agent closes: %v", err)
	}
	_, client = served(t, run, socket.Options{})
	run.end(&agent.ClaimLostError{TaskID: taskID, Err: errors.New("409")})
	if got, err := uploaded(t, client, socket.Upload{Dir: dir, Specs: []string{"slow"}}); !errors.Is(err, agent.ErrClaimLost) || len(got) != 0 {
		t.Errorf("when the claim is lost: %v, %v", got, err)
	}
}
