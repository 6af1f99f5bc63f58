package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/upload"
)

// A process dies while it uploads gzipped files of a folder; the next one makes the same bytes again, from the same files, with
// the same care for links.
func TestResumeWithGzipAndFolders(t *testing.T) {
	m := newMortal(t, 1)
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "secret"), "secret")
	writeFile(t, filepath.Join(folder, "stored.txt"), text(500_000))
	writeFile(t, filepath.Join(folder, "stuck.txt"), text(600_000))
	writeFile(t, filepath.Join(folder, "swapped"), "x")
	place := func(name string) upload.Source { return upload.Place{Folder: folder, Name: name}.Source() }
	options := agent.ArtifactOptions{Gzip: true, CacheControl: "no-store"}
	add := func(run *agent.Run, names ...string) {
		t.Helper()
		for _, name := range names {
			if err := run.AddArtifact(name, place(name), options); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.inject(agenttest.Fault{What: "put", Kind: "stall", Path: "artifacts/stuck.txt", Count: 1})
	m.inject(agenttest.Fault{What: "put", Kind: "stall", Path: "artifacts/swapped", Count: 1})
	m.options.Uploader = upload.New(upload.Options{}) // which does not give up what hangs
	t.Cleanup(m.options.Uploader.CloseIdleConnections)
	run := m.start(t.Context())
	add(run, "stored.txt", "stuck.txt", "swapped")
	m.noted("the first artifact", func(s journal.State) bool { return len(s.Stored) == 1 })
	eventually(t, "the others under way", func() bool { return m.count("put", "stuck.txt") == 1 && m.count("put", "swapped") == 1 })
	// The worker's outcome is what the next process goes on with.
	outcome := make(chan error, 1)
	go func() { _, err := run.Complete(m.ctx(), agent.Outcome{Success: true}); outcome <- err }()
	m.noted("the outcome", func(s journal.State) bool { return s.Outcome != nil })
	m.kill(run)
	<-outcome
	if err := os.Remove(filepath.Join(folder, "swapped")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(folder, "swapped")); err != nil {
		t.Fatal(err)
	}

	run, err := m.resume()
	if err != nil {
		t.Fatal(err)
	}
	for path := range m.disk.Files() {
		if strings.Contains(path, "packed") {
			t.Errorf("a copy of the dead process is still there: %s", path)
		}
	}
	summary, err := run.Conclude(m.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"stored.txt"}, summary.Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if reason := fmt.Sprint(m.missing()["swapped"]); len(summary.Missing) != 1 || !strings.Contains(reason, "leads out of the folder") {
		t.Errorf("missing %v, want the file that became a link", summary.Missing)
	}
	for name, want := range map[string]string{"stored.txt": text(500_000), "stuck.txt": text(600_000)} {
		header, body := get(t, summary.Artifacts[name].URL)
		if unpacked(t, body) != want || header.Get("Content-Encoding") != "gzip" || header.Get("Cache-Control") != "no-store" || summary.Artifacts[name].Digest != upload.Sum(body) {
			t.Errorf("%s: %d other bytes, served with %v; receipt %+v", name, len(body), header, summary.Artifacts[name])
		}
	}
	m.checkHistory()
}

// The worker has survived, and adds what is stored already: gzipped again, it is the same, and not sent again.
func TestResumeGzipsToTheSameBytes(t *testing.T) {
	m := newMortal(t, 1)
	path := writeFile(t, filepath.Join(t.TempDir(), "a.txt"), text(700_000))
	run := m.start(t.Context())
	for _, again := range []bool{false, true} {
		if again {
			m.kill(run)
			var err error
			if run, err = m.resume(); err != nil {
				t.Fatal(err)
			}
		}
		if err := run.AddArtifact("a.txt", upload.File(path), agent.ArtifactOptions{Gzip: true}); err != nil {
			t.Fatal(err)
		}
		m.noted("the artifact", func(s journal.State) bool { return len(s.Stored) == 1 })
	}
	summary, err := run.Complete(m.ctx(), agent.Outcome{Success: true})
	if err != nil || !slices.Equal(summary.Skipped, []string{"a.txt"}) || m.count("put", "artifacts/a.txt") != 1 {
		t.Errorf("skipped %v, stored %d times, %v", summary.Skipped, m.count("put", "artifacts/a.txt"), err)
	}
}
