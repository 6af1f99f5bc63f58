package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/files"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// early is a run whose artifacts are uploaded while its command runs, which is the test.
type early struct {
	t      *testing.T
	server *agenttest.Server
	run    *agent.Run
	files  *artifactFiles
	folder string // of the artifacts in the storage
}

// newEarly begins a run in a new folder, which becomes the working folder.
func newEarly(t *testing.T, uploader *upload.Client, specs ...string) *early {
	t.Helper()
	t.Chdir(t.TempDir())
	server, err := agenttest.New(t.TempDir(), agenttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	q, err := queue.New(server.QueueURL(), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	claim, err := server.PostAndClaim(schema.Worker{WorkerGroup: "group", WorkerID: "worker"})
	if err != nil {
		t.Fatal(err)
	}
	run, err := agent.Start(t.Context(), q, claim, agent.Options{StateDir: t.TempDir(), Uploader: uploader})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parseArtifacts(specs)
	if err != nil {
		t.Fatal(err)
	}
	a := newArtifactFiles(run, artifactSpecs{specs: parsed, where: files.Options{HardLinks: true}}, slog.New(slog.DiscardHandler))
	e := &early{t: t, server: server, run: run, files: a, folder: string(claim.Task()) + "/runs/0/artifacts/"}
	t.Cleanup(func() { a.stop(); run.Close() })
	return e
}

// follow begins to upload, each file when it has not changed for a moment.
func (e *early) follow(ours ...string) { e.files.follow(20*time.Millisecond, ours...) }

func (e *early) write(name, text string) {
	e.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *early) stored(name string) string {
	e.t.Helper()
	body, err := e.server.Object(e.folder + name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.t.Fatal(err)
	}
	return string(body)
}

// wait waits until an artifact is stored, and the run knows.
func (e *early) wait(name, want string) {
	e.t.Helper()
	e.eventually(name+" is stored", func() bool {
		receipt, ok := e.run.Progress().Stored[name]
		return ok && receipt.Digest == upload.Sum([]byte(want)) && e.stored(name) == want
	})
}

func (e *early) eventually(what string, ok func() bool) {
	e.t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(30 * time.Second); !ok(); {
		select {
		case <-again.C:
		case <-deadline:
			e.t.Fatalf("never came: %s; %+v", what, e.run.Progress())
		}
	}
}

// puts is how often an artifact was sent.
func (e *early) puts(name string) (n int) {
	for _, r := range e.server.Requests() {
		if r.What == "put" && r.Path == "/"+e.folder+name {
			n++
		}
	}
	return n
}

// end is the end of the command. The artifacts that are stored then are those of want, and those that are missing of missing.
func (e *early) end(want map[string]string, missing ...string) {
	e.t.Helper()
	e.files.stop()
	if err := e.files.addRest(); err != nil {
		e.t.Fatal(err)
	}
	summary, err := e.run.Complete(e.t.Context(), agent.Outcome{Success: true})
	if err != nil {
		e.t.Fatal(err)
	}
	result, err := e.server.Object(strings.TrimSuffix(e.folder, "artifacts/") + "result.json")
	if err != nil {
		e.t.Fatal(err)
	}
	got := map[string]string{}
	for name, receipt := range summary.Artifacts {
		if name == agent.DefaultLog {
			continue
		}
		got[name] = e.stored(name)
		if receipt.Digest != upload.Sum([]byte(got[name])) {
			e.t.Errorf("the digest of %s is not that of %.60q", name, got[name])
		}
		if !strings.Contains(string(result), name) {
			e.t.Errorf("result.json does not name %s", name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		e.t.Errorf("stored, -want +got:\n%s", diff)
	}
	var not []string
	for name := range summary.Missing {
		not = append(not, name)
	}
	if slices.Sort(not); !slices.Equal(not, missing) {
		e.t.Errorf("missing %v, want %q", summary.Missing, missing)
	}
}

func TestUploadedWhileTheCommandRuns(t *testing.T) {
	for name, noEvents := range map[string]bool{"events": false, "no events": true} {
		t.Run(name, func(t *testing.T) {
			e := newEarly(t, nil, "out/**", "single=x.bin")
			if e.files.watch.NoEvents = noEvents; noEvents {
				e.files.watch.Poll = 10 * time.Millisecond
			}
			e.follow()
			e.write("out/deep/er/a", "first")
			e.write("x.bin", "a single one")
			e.wait("out/deep/er/a", "first")
			e.wait("single", "a single one")
			e.write("out/deep/er/a", "other") // of the same size
			e.wait("out/deep/er/a", "other")
			e.write("out/b", "b")
			e.wait("out/b", "b")
			e.write("out/deep/er/a", "at the very end")
			e.write("out/new", "at the very end too")
			puts := e.puts("single")
			e.end(map[string]string{"out/deep/er/a": "at the very end", "out/b": "b", "out/new": "at the very end too", "single": "a single one"})
			if e.puts("single") != puts || puts != 1 {
				t.Errorf("what did not change was sent %d times", e.puts("single"))
			}
		})
	}
}

// What was stored stays, although its file is gone.
func TestDeletedAfterItsUpload(t *testing.T) {
	e := newEarly(t, nil, "out/*.txt", "single=x.bin", "never=none", "none/**")
	e.follow()
	e.write("out/a.txt", "a")
	e.write("x.bin", "x")
	e.wait("out/a.txt", "a")
	e.wait("single", "x")
	if err := errors.Join(os.RemoveAll("out"), os.Remove("x.bin")); err != nil {
		t.Fatal(err)
	}
	e.end(map[string]string{"out/a.txt": "a", "single": "x"}, "never", "none")
}

// What can be no artifact any more is said to be so, and what was stored stays.
func TestNoFileAfterItsUpload(t *testing.T) {
	e := newEarly(t, nil, "single=x.bin")
	e.follow()
	e.write("x.bin", "x")
	e.wait("single", "x")
	if err := errors.Join(os.Remove("x.bin"), os.Mkdir("x.bin", 0o700)); err != nil {
		t.Fatal(err)
	}
	e.end(map[string]string{"single": "x"}, "single (at the end)")
}

// What the command has found there waits until it has ended, for it may be about to remove it.
func TestThereBeforeTheCommand(t *testing.T) {
	e := newEarly(t, nil, "out/**")
	e.write("out/stays", "stays")
	e.write("out/goes", "goes")
	e.write("out/changes", "before")
	e.follow()
	e.write("out/changes", "after")
	e.write("out/new", "new")
	e.wait("out/new", "new")
	e.wait("out/changes", "after")
	if e.puts("out/stays")+e.puts("out/goes") > 0 {
		t.Error("uploaded before the end")
	}
	if err := os.Remove("out/goes"); err != nil {
		t.Fatal(err)
	}
	e.end(map[string]string{"out/stays": "stays", "out/changes": "after", "out/new": "new"})
}

// The agent does not upload what it writes itself, again and again.
func TestFoldersOfTheAgent(t *testing.T) {
	e := newEarly(t, nil, "**")
	e.follow("state", "storage/tree")
	e.write("state/journal", "ours")
	e.write("storage/tree/a/b", "ours")
	e.write("theirs", "theirs")
	e.wait("theirs", "theirs")
	e.write("more", "theirs")
	e.wait("more", "theirs")
	if e.puts("state/journal")+e.puts("storage/tree/a/b") > 0 {
		t.Error("ours are uploaded")
	}
}

// A name that is taken does no harm before the end, and is told then.
func TestNameThatIsTaken(t *testing.T) {
	e := newEarly(t, nil, "*.bin")
	if err := e.run.AddArtifact("a.bin", upload.Bytes([]byte("another")), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	e.follow()
	e.write("a.bin", "a")
	e.write("b.bin", "b")
	e.wait("b.bin", "b")
	e.end(map[string]string{"a.bin": "another", "b.bin": "b"}, "a.bin=a.bin")
}

// meddler does something while the first upload of a path is under way.
type meddler struct {
	next http.RoundTripper
	path string
	do   func()
}

func (m *meddler) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, m.path) && m.do != nil {
		do := m.do
		m.do = nil
		do()
	}
	return m.next.RoundTrip(r)
}

// A file that is written to while it is uploaded is no error, but uploaded again when it has settled.
func TestWrittenToDuringItsUpload(t *testing.T) {
	for name, change := range map[string]func(e *early){
		"shorter":      func(e *early) { e.write("a", "shorter") },
		"the same":     func(e *early) { e.write("a", strings.Repeat("y", 3<<20)) },
		"longer":       func(e *early) { e.write("a", strings.Repeat("longer", 1<<20)) },
		"another file": func(e *early) { e.write("b", "renamed"); os.Rename("b", "a") },
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			m := &meddler{next: transport, path: "/artifacts/a"}
			e := newEarly(t, upload.New(upload.Options{Transport: m}), "a")
			m.do = func() { change(e) }
			e.follow()
			e.write("a", strings.Repeat("x", 3<<20))
			e.eventually("the newer is stored", func() bool { return e.stored("a") != "" && e.stored("a") == read(t, "a") && e.puts("a") > 1 })
			e.end(map[string]string{"a": read(t, "a")})
		})
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestFoldersOfSpecs(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"a=b":           "b",
		"a=deep/b":      "deep/b",
		"deep/":         "deep",
		"deep/er/*.c":   "deep/er",
		"**":            ".",
		"x/=../other/*": "../other",
		"d e d/e d-e":   "d e d-e", // none is below another
		"d d/e a=d-e/x": "d d-e/x",
		"d/e d/f d-e d": "d-e d",
	} {
		var specs []files.Spec
		for _, part := range strings.Fields(text) {
			if !strings.ContainsAny(part, "=*") {
				part += "/"
			}
			spec, err := files.Parse(part)
			if err != nil {
				t.Fatal(err)
			}
			specs = append(specs, spec)
		}
		var got []string
		for _, dir := range foldersOf(specs) {
			below, err := filepath.Rel(here, dir)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, filepath.ToSlash(below))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: folders %q, want %s", text, got, want)
		}
	}
}
