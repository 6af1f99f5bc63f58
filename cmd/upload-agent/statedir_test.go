package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestDefaultStateDir(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // which has no HOME and no owners of this kind
	}
	home, temp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	want := func(what, dir string) {
		t.Helper()
		if got, err := defaultStateDir(); err != nil || got != dir {
			t.Errorf("%s: %q, %v; want %q", what, got, err, dir)
		}
	}
	t.Setenv("HOME", home)
	t.Setenv("XDG_STATE_HOME", "")
	want("a home folder", filepath.Join(home, userStateDir))
	t.Setenv("XDG_STATE_HOME", "not/absolute")
	want("an XDG_STATE_HOME that counts for nothing", filepath.Join(home, userStateDir))
	t.Setenv("XDG_STATE_HOME", "/xdg")
	want("XDG_STATE_HOME", "/xdg/upload-agent")

	t.Setenv("XDG_STATE_HOME", "")
	if err := os.WriteFile(filepath.Join(temp, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, home := range []string{"", filepath.Join(temp, "file", "home")} {
		t.Setenv("HOME", home)
		dir, err := defaultStateDir()
		if err != nil || filepath.Dir(dir) != temp {
			t.Fatalf("no home folder: %q, %v; want a folder in %s", dir, err, temp)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want it for its owner alone", dir, info.Mode(), err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if status := run([]string{"upload-agent", "resume"}, nil, &stdout, &stderr); status != statusUsage || !strings.Contains(stderr.String(), "--state") {
			t.Errorf("a folder that others can write to: status %d, %s", status, stderr.String())
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestParseStateFolder(t *testing.T) {
	if id, run, ok := parseStateFolder("/state/-1-0jqE5Q_-NIvzSmpNnF--12"); !ok || id != "-1-0jqE5Q_-NIvzSmpNnF-" || run != 12 {
		t.Errorf("parsed as %q %d %v", id, run, ok)
	}
	for _, path := range []string{"/state/lost+found", "/state/" + goodID, "/state/" + goodID + "-", "/state/" + goodID + "-x", "/state/short-1", ""} {
		if id, run, ok := parseStateFolder(path); ok {
			t.Errorf("%q is parsed as %q %d", path, id, run)
		}
	}
}

func TestShellQuoted(t *testing.T) {
	for word, want := range map[string]string{
		"/var/lib/x-1_2.3": "/var/lib/x-1_2.3", "/Application Support": `"/Application Support"`, "a\"b$c\\d`": "\"a\\\"b\\$c\\\\d\\`\"",
	} {
		if got := shellQuoted(word); got != want {
			t.Errorf("%s is quoted as %s, want %s", word, got, want)
		}
	}
}

// With little time left, small artifacts are stored before large ones, whatever the order they were asked for in.
func TestSmallArtifactsGoFirst(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, size := range map[string]int{"large": 300_000, "small": 10, "middle": 5000} {
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server, err := agenttest.New(t.TempDir(), agenttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	q, err := queue.New(server.QueueURL(), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	claim, err := server.PostAndClaim(schema.Worker{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := agent.Start(t.Context(), q, claim, agent.Options{StateDir: t.TempDir(), Uploads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	specs, err := parseArtifacts([]string{"large", "public/named=large", "m*", "small", "none*"})
	if err != nil {
		t.Fatal(err)
	}
	if err := newArtifactFiles(r, artifactSpecs{specs: specs}, slog.New(slog.DiscardHandler)).addRest(); err != nil {
		t.Fatal(err)
	}
	summary, err := r.Complete(t.Context(), agent.Outcome{Success: true})
	if err != nil || len(summary.Missing) != 1 || summary.Missing["none*"] == "" {
		t.Fatalf("missing %v, %v; want none* alone", summary.Missing, err)
	}
	var order []string
	for _, request := range server.Requests() {
		if name, ok := strings.CutPrefix(request.Path, "/"+string(claim.Task())+"/runs/0/artifacts/"); ok && request.What == "put" && !strings.Contains(name, agent.DefaultLog) {
			order = append(order, name)
		}
	}
	if got := strings.Join(order, " "); got != "small middle large public/named" {
		t.Errorf("stored in the order %s", got)
	}
}
