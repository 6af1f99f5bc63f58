package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

func TestRunFromClaimToCompleted(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())

	var text bytes.Buffer
	for i := range 20_000 { // more than a tail: there are chunks
		line := fmt.Sprintf("line %d of the log\n", i)
		text.WriteString(line)
		if _, err := io.WriteString(run.Log("terminal.log"), line); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "built.bin")
	built := bytes.Repeat([]byte("\x00\x01built\xff"), 100_000)
	if err := os.WriteFile(file, built, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]upload.Source{
		"public/built.bin": upload.File(file),
		"public/note.txt":  upload.Bytes([]byte("a note\n")),
		"public/empty":     upload.Bytes(nil),
	} {
		if err := run.AddArtifact(name, source, agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true, Result: map[string]any{"exitCode": 0}})
	if err != nil {
		t.Fatal(err)
	}

	if !summary.Reported || !summary.Success || summary.LogsAfter <= 0 || len(summary.Missing) > 0 {
		t.Errorf("summary = %+v", summary)
	}
	for name, want := range map[string][]byte{
		"artifacts/terminal.log": text.Bytes(), "artifacts/public/built.bin": built,
		"artifacts/public/note.txt": []byte("a note\n"), "artifacts/public/empty": {},
	} {
		if got := r.stored(name); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes are stored, want %d equal ones", name, len(got), len(want))
		}
	}
	result := r.result()
	at := r.server.StorageURL() + "/" + r.path("artifacts/")
	want := map[string]string{
		"terminal.log": at + "terminal.log", "public/built.bin": at + "public/built.bin",
		"public/note.txt": at + "public/note.txt", "public/empty": at + "public/empty",
	}
	if diff := cmp.Diff(want, result.Artifacts); diff != "" {
		t.Errorf("artifacts of result.json (-want +got):\n%s", diff)
	}
	if got := asJSON(t, result.Result); got != `{"exitCode":0}` {
		t.Errorf("result of result.json = %s", got)
	}
	if w := (schema.Worker{WorkerGroup: "group", WorkerID: "worker"}); result.Metadata != (schema.ResultMetadata{Worker: w, Success: true}) {
		t.Errorf("metadata = %+v", result.Metadata)
	}
	if s := result.Statistics; s.Finished.Before(s.Started) || s.Started.IsZero() {
		t.Errorf("statistics = %+v", s)
	}

	logs, err := r.storage.Logs(r.ctx(), r.claim.Task(), r.claim.RunID)
	if err != nil {
		t.Fatal(err)
	}
	wantLogs := map[string]string{"terminal.log": at + "terminal.log", "live/terminal.log": at + livelog.IndexName("terminal.log")}
	if diff := cmp.Diff(wantLogs, logs.Logs); diff != "" {
		t.Errorf("logs.json (-want +got):\n%s", diff)
	}
	reader := livelog.NewReader(r.ctx(), logs.Logs["live/terminal.log"], livelog.ReaderOptions{})
	defer reader.Close()
	if live, err := io.ReadAll(reader); err != nil || !bytes.Equal(live, text.Bytes()) {
		t.Errorf("live log: %d bytes, %v; want %d equal ones", len(live), err, text.Len())
	}
	resolution, err := r.storage.Resolution(r.ctx(), r.claim.Task())
	if err != nil || !resolution.Success || resolution.RunID != r.claim.RunID {
		t.Errorf("resolution = %+v, %v", resolution, err)
	}
	if left, _ := os.ReadDir(r.options.StateDir); len(left) > 0 {
		t.Errorf("the state folder still holds %v", left)
	}
	if cause := context.Cause(run.Context()); !errors.Is(cause, agent.ErrEnded) {
		t.Errorf("cause of the run's context = %v", cause)
	}
	r.checkHistory()
}

// Whatever happens first in the task, logs.json does not wait for it.
func TestLogsAreReadableBeforeTheFirstOutput(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.Logs = []string{"a.log", "b/c.log"}
	r.start(t.Context())
	eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
	doc, err := schema.Decode[schema.Logs]("logs.json", r.stored("logs.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.log", "live/a.log", "b/c.log", "live/b/c.log"} {
		if doc.Logs[name] == "" {
			t.Errorf("%s is not declared in %v", name, doc.Logs)
		}
	}
}

func TestReaderSeesLinesWhileTheTaskRuns(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
	logs, err := r.storage.Logs(r.ctx(), r.claim.Task(), r.claim.RunID)
	if err != nil {
		t.Fatal(err)
	}
	reader := livelog.NewReader(r.ctx(), logs.Logs["live/terminal.log"], livelog.ReaderOptions{})
	defer reader.Close()
	for i := range 3 { // each line is read before the next one is written
		line := fmt.Sprintf("line %d\n", i)
		io.WriteString(run.Log("terminal.log"), line)
		got := make([]byte, len(line))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != line {
			t.Fatalf("read %q, %v; want %q", got, err, line)
		}
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(reader); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestLogAddedWhileTheTaskRuns(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
	fmt.Fprintln(run.Log("late.log"), "I came late")
	summary, err := run.Complete(r.ctx(), agent.Outcome{})
	if err != nil {
		t.Fatal(err)
	}
	if !contains(string(r.stored("logs.json")), `"live/late.log"`) {
		t.Errorf("logs.json = %s", r.stored("logs.json"))
	}
	if got := r.stored("artifacts/late.log"); string(got) != "I came late\n" || summary.Artifacts["late.log"].Size != int64(len(got)) {
		t.Errorf("late.log = %q, receipt %+v", got, summary.Artifacts["late.log"])
	}
	r.checkHistory()
}

func TestArtifactsAreUploadedWhileTheTaskRuns(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	if err := run.AddArtifact("early", upload.Bytes([]byte("bird")), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the artifact", func() bool { return r.stored("artifacts/early") != nil })
}

func TestUploadsAtOnceAreBounded(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.Uploads = 3
	r.inject(agenttest.Fault{What: "put", Kind: "stall", Path: "artifacts/many/", Count: 3})
	sent := &bodies{next: upload.NewTransport(), path: "artifacts/many/"}
	r.options.Uploader = upload.New(upload.Options{Transport: sent, MinBackoff: time.Millisecond, StallTimeout: 500 * time.Millisecond})
	run := r.start(t.Context())
	for i := range 10 {
		if err := run.AddArtifact(fmt.Sprintf("many/%d", i), upload.Bytes([]byte("x")), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// Three stall, so the others wait; logs and documents do not.
	eventually(t, "three uploads", func() bool { return r.count("put", "many/") == 3 })
	eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
	if n := r.count("put", "many/"); n != 3 {
		t.Errorf("%d uploads at once, want 3", n)
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{}); err != nil { // the watchdog frees the three
		t.Fatal(err)
	}
	if n := sent.atOnce(); n != 3 {
		t.Errorf("%d uploads at once, want 3", n)
	}
	if got := len(r.result().Artifacts); got != 11 {
		t.Errorf("%d artifacts, want 10 and the log", got)
	}
}

func TestMissingArtifactsAreListedWithTheirReasons(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "put", Kind: "400", Code: "EntityTooLarge", Path: "artifacts/refused"})
	run := r.start(t.Context())
	add := func(name string, source upload.Source) {
		t.Helper()
		if err := run.AddArtifact(name, source, agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	add("good", upload.Bytes([]byte("good")))
	add("refused", upload.Bytes([]byte("too large, it says")))
	add("nowhere", upload.File(filepath.Join(t.TempDir(), "nowhere")))
	add("folder", upload.File(t.TempDir()))
	if err := run.AddMissing("glob/**", "no file matches"); err != nil {
		t.Fatal(err)
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	missing := r.missing()
	for name, reason := range map[string]string{"refused": "EntityTooLarge", "nowhere": "no such file", "folder": "", "glob/**": "no file matches"} {
		if got, ok := missing[name].(string); !ok || !strings.Contains(got, reason) || got != summary.Missing[name] {
			t.Errorf("missing %s: %v, want %q", name, missing[name], reason)
		}
	}
	if got := r.result().Artifacts; len(got) != 2 || got["good"] == "" || got["terminal.log"] == "" {
		t.Errorf("artifacts = %v", got)
	}
	r.checkHistory()
}

// A log that cannot be stored is a missing artifact, and so said.
func TestLogThatCannotBeStored(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "put", Kind: "400", Code: "EntityTooLarge", Path: "artifacts/terminal.log"})
	run := r.start(t.Context())
	fmt.Fprintln(run.Log("terminal.log"), "a line")
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if reason, _ := r.missing()["terminal.log"].(string); !strings.Contains(reason, "EntityTooLarge") || summary.Missing["terminal.log"] != reason {
		t.Errorf("missing = %v, %v", r.missing(), summary.Missing)
	}
	if len(r.result().Artifacts) > 0 || len(summary.Artifacts) > 0 {
		t.Errorf("artifacts = %v, %v", r.result().Artifacts, summary.Artifacts)
	}
	r.checkHistory()
}

// What goes on failing is missing after a while; the documents are tried for as long as the claim lasts.
func TestGivingUp(t *testing.T) {
	for name, row := range map[string]struct {
		fault   agenttest.Fault
		missing string
	}{
		"artifact":    {agenttest.Fault{What: "put", Kind: "503", Path: "artifacts/a"}, "a"},
		"its URL":     {agenttest.Fault{What: "artifact-urls", Kind: "503"}, "a"},
		"log":         {agenttest.Fault{What: "put", Kind: "503", Path: "artifacts/terminal.log"}, "terminal.log"},
		"result.json": {agenttest.Fault{What: "put", Kind: "503", Path: "result.json", Count: 50}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{})
			r.options.GiveUpAfter = time.Second // result.json is refused for longer
			run := r.start(t.Context())
			io.WriteString(run.Log("terminal.log"), "a line\n")
			eventually(t, "the log", func() bool { return r.stored("artifacts/"+livelog.IndexName("terminal.log")) != nil }) // logs.json may be earlier than its grants
			r.inject(row.fault)
			if err := run.AddArtifact("a", upload.Bytes([]byte("a")), agent.ArtifactOptions{}); err != nil {
				t.Fatal(err)
			}
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(summary.Missing) > 1 || (len(summary.Missing) == 1) != (row.missing != "") || row.missing != "" && summary.Missing[row.missing] == "" {
				t.Errorf("missing %v, want %q", summary.Missing, row.missing)
			}
			r.checkHistory()
		})
	}
}

func TestArtifactsAreServedAsTheirType(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	want := map[string]string{}
	for _, row := range []struct{ name, body, option, want string }{
		{"page", "<!DOCTYPE html><html></html>", "", "text/html; charset=utf-8"},
		{"note", "a note", "", "text/plain; charset=utf-8"},
		{"data", "\x00\x01", "", "application/octet-stream"},
		{"chosen", "a note", "application/x-chosen", "application/x-chosen"},
	} {
		want[row.name] = row.want
		if err := run.AddArtifact(row.name, upload.Bytes([]byte(row.body)), agent.ArtifactOptions{ContentType: row.option}); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range want {
		answer, err := http.Get(summary.Artifacts[name].URL)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s is served as %q (%s), want %q", name, got, answer.Status, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// The queue's answer is not what was asked for: the artifact is missing, and nothing is sent under other terms.
func TestWrongGrants(t *testing.T) {
	for name, row := range map[string]struct{ answer, reason string }{
		"another type": {`"odd":{"artifactPutUrl":"http://127.0.0.1:1/x","artifactUrl":"http://127.0.0.1:1/x","contentType":"text/html"}`, `"text/html"`},
		"left out":     {``, "leaves it out"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, agenttest.Options{})
			status, err := r.queue.Status(r.ctx(), r.claim.Task())
			if err != nil {
				t.Fatal(err)
			}
			r.between(func(w http.ResponseWriter, req *http.Request) bool {
				body, _ := io.ReadAll(req.Body)
				req.Body = io.NopCloser(bytes.NewReader(body))
				if !strings.HasSuffix(req.URL.Path, "/artifact-urls") || !contains(string(body), `"odd"`) {
					return false
				}
				fmt.Fprintf(w, `{"status":%s,"expires":"2040-01-01T00:00:00Z","artifacts":{%s}}`, asJSON(t, status), row.answer)
				return true
			})
			run := r.start(t.Context())
			if err := run.AddArtifact("odd", upload.Bytes([]byte("x")), agent.ArtifactOptions{ContentType: "text/plain"}); err != nil {
				t.Fatal(err)
			}
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil || !strings.Contains(summary.Missing["odd"], row.reason) {
				t.Errorf("Complete = %+v, %v; want %q as the reason", summary, err, row.reason)
			}
		})
	}
}

// Names and reasons come from files and globs: whatever bytes they hold, there is a result.
func TestMissingArtifactsWithStrangeBytes(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	if err := run.AddMissing("caf\xe9", "no \xff"); err != nil {
		t.Fatal(err)
	}
	if err := run.AddMissing("caf\xe9", "again"); !errors.Is(err, agent.ErrArtifactName) {
		t.Errorf("AddMissing of the same name = %v", err)
	}
	if err := run.AddArtifact("gone", upload.File(filepath.Join(t.TempDir(), "\xff")), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	outcome := agent.Outcome{Success: true, Result: map[string]any{"exitCode": 0}}
	if _, err := run.Finish(r.ctx(), outcome); err != nil {
		t.Fatal(err)
	}
	if len(outcome.Result) != 1 {
		t.Errorf("the worker's own result was changed: %v", outcome.Result)
	}
	if _, err := run.Finish(r.ctx(), outcome); err != nil {
		t.Fatal(err)
	}
	summary, err := run.Complete(r.ctx(), outcome)
	if err != nil {
		t.Fatal(err)
	}
	missing := r.missing()
	if len(missing) != 2 || missing["caf\uFFFD"] != "no \uFFFD" || summary.Missing["caf\uFFFD"] != "no \uFFFD" || summary.Missing["gone"] == "" {
		t.Errorf("missing = %q, %q", missing, summary.Missing)
	}
	if _, ok := summary.Artifacts["terminal.log"]; !ok {
		t.Errorf("artifacts = %v", summary.Artifacts)
	}
}

// "a" and "a/b" are both good names of logs.
func TestLogsNamedLikeFolders(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	for _, name := range []string{"build/step", "build.log", "build.log/more"} {
		if _, err := fmt.Fprintln(run.Log(name), "in "+name); err != nil {
			t.Errorf("write to %s: %v", name, err)
		}
	}
}

func TestStateFolderIsForItsOwnerOnly(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.StateDir = filepath.Join(t.TempDir(), "made", "if need be")
	run := r.start(t.Context())
	fmt.Fprintln(run.Log("deep/down.log"), "a secret")
	seen := 0
	err := filepath.WalkDir(filepath.Dir(r.options.StateDir), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		seen++
		return err
	})
	if err != nil || seen < 5 {
		t.Errorf("saw %d files and folders, %v", seen, err)
	}
	if err := run.Abandon(r.ctx(), ""); err != nil {
		t.Error(err)
	}
	if _, err := io.WriteString(run.Log("new.log"), "x"); !errors.Is(err, agent.ErrEnded) {
		t.Errorf("write to a new log after the end: %v", err)
	}
	if left, err := os.ReadDir(r.options.StateDir); err != nil || len(left) > 0 {
		t.Errorf("Abandon leaves %v, %v", left, err)
	}
}

// Close ends what stands still, and returns when nothing is at work any more.
func TestCloseWaitsForWhatIsAtWork(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	held := &holding{arrived: make(chan struct{}), leave: make(chan struct{})}
	r.options.Uploader = upload.New(upload.Options{Transport: held})
	run := r.start(t.Context())
	<-held.arrived
	closed := make(chan error, 1)
	go func() { closed <- run.Close() }()
	<-run.Context().Done()
	select {
	case err := <-closed:
		t.Fatalf("Close = %v while an upload is at work", err)
	case <-time.After(200 * time.Millisecond): // it had every chance to return too early
	}
	close(held.leave)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// holding is a transport that does not come back, even from requests that were given up.
type holding struct {
	once           sync.Once
	arrived, leave chan struct{}
}

func (h *holding) RoundTrip(*http.Request) (*http.Response, error) {
	h.once.Do(func() { close(h.arrived) })
	<-h.leave
	return nil, errors.New("held")
}

func TestNamesThatCannotBeAdded(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	if err := run.AddArtifact("twice", upload.Bytes(nil), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	var bad *schema.NameError
	for name, is := range map[string]func(error) bool{
		"twice":        func(err error) bool { return errors.Is(err, agent.ErrArtifactName) },
		"terminal.log": func(err error) bool { return errors.Is(err, agent.ErrArtifactName) },
		"live/x":       func(err error) bool { return strings.Contains(err.Error(), "live logs") },
		"":             func(err error) bool { return errors.As(err, &bad) },
		"../up":        func(err error) bool { return errors.As(err, &bad) },
		"/root":        func(err error) bool { return errors.As(err, &bad) },
		"new\nline":    func(err error) bool { return errors.As(err, &bad) },
	} {
		if err := run.AddArtifact(name, upload.Bytes(nil), agent.ArtifactOptions{}); err == nil || !is(err) {
			t.Errorf("AddArtifact(%q) = %v", name, err)
		}
		if name == "terminal.log" {
			continue
		}
		if _, err := io.WriteString(run.Log(name), "x"); err == nil || !is(err) {
			t.Errorf("write to log %q: %v", name, err)
		}
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{}); err != nil {
		t.Fatal(err)
	}
	if err := run.AddArtifact("late", upload.Bytes(nil), agent.ArtifactOptions{}); !errors.Is(err, agent.ErrEnded) {
		t.Errorf("AddArtifact after the end: %v", err)
	}
	for _, name := range []string{"terminal.log", "late.log"} {
		if _, err := io.WriteString(run.Log(name), "x"); err == nil {
			t.Errorf("write to %s after the end went through", name)
		}
	}
}

func TestFinishStoresEverythingAndReportsNothing(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	summary, err := run.Finish(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if summary.Reported || r.count("completed", "") != 0 || r.state() != schema.Running {
		t.Errorf("reported: %+v, state %s", summary, r.state())
	}
	// The worker reports by itself: everything is there.
	if _, err := r.queue.Completed(r.ctx(), r.claim.Task(), schema.CompletedRequest{RunID: r.claim.RunID, Success: true, Worker: r.claim.Worker}); err != nil {
		t.Fatal(err)
	}
	r.checkHistory()
}

func TestFinishGoesOnWhereItWasInterrupted(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "put", Kind: "503", Path: "result.json", Count: 50})
	run := r.start(t.Context())
	ctx, cancel := context.WithCancelCause(r.ctx())
	stopped := errors.New("stopped by the test")
	ended := make(chan error, 1)
	go func() {
		_, err := run.Complete(ctx, agent.Outcome{Success: true})
		ended <- err
	}()
	eventually(t, "three attempts", func() bool { return r.count("put", "result.json") >= 3 })
	cancel(stopped)
	if err := <-ended; !errors.Is(err, stopped) {
		t.Fatalf("Complete = %v, want the cause", err)
	}
	if r.count("completed", "") != 0 {
		t.Fatal("reported without a result")
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if r.state() != schema.Completed {
		t.Errorf("state = %s", r.state())
	}
	r.checkHistory()
}

// What ended the first call is its cause; when the logs ended stays as it was.
func TestFinishIsInterruptedAnywhere(t *testing.T) {
	for name, fault := range map[string]agenttest.Fault{
		"log":       {What: "put", Kind: "503", Path: "artifacts/terminal.log", Count: 50},
		"artifact":  {What: "put", Kind: "503", Path: "artifacts/a", Count: 50},
		"logs.json": {What: "put", Kind: "503", Path: "logs.json", Count: 50},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{})
			r.inject(fault)
			if name != "log" {
				r.options.Logs = []string{} // nothing to wait for but what this is about
			}
			run := r.start(t.Context())
			if err := run.AddArtifact("a", upload.Bytes([]byte("a")), agent.ArtifactOptions{}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(r.ctx())
			why := errors.New("stopped by the test")
			ended := make(chan error, 1)
			go func() {
				_, err := run.Finish(ctx, agent.Outcome{Success: true})
				ended <- err
			}()
			eventually(t, "a row of attempts", func() bool { return r.count("put", fault.Path) >= 20 })
			cancel(why)
			if err := <-ended; !errors.Is(err, why) {
				t.Fatalf("Finish = %v, want the cause", err)
			}
			if err := run.AddArtifact("late", upload.Bytes(nil), agent.ArtifactOptions{}); !errors.Is(err, agent.ErrEnded) {
				t.Errorf("AddArtifact after Finish = %v", err)
			}
			between := time.Now()
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil {
				t.Fatal(err)
			}
			if !summary.Finished.After(summary.Started) || !summary.Finished.Before(between) {
				t.Errorf("ran from %v to %v; the second call was at %v", summary.Started, summary.Finished, between)
			}
			if len(summary.Missing) > 0 || summary.Artifacts["a"].Size != 1 {
				t.Errorf("summary = %+v", summary)
			}
			r.checkHistory()
		})
	}
}

// The claim is kept between Finish and the worker's own report.
func TestFinishKeepsTheClaim(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{ClaimLength: 2 * time.Second})
	run := r.start(t.Context())
	if _, err := run.Finish(r.ctx(), agent.Outcome{}); err != nil {
		t.Fatal(err)
	}
	before := r.count("reclaim", "")
	eventually(t, "a reclaim after Finish", func() bool { return r.count("reclaim", "") > before })
	if err := context.Cause(run.Context()); err != nil {
		t.Errorf("the run has ended: %v", err)
	}
}

// A run without any log has a logs.json all the same.
func TestRunWithoutLogs(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.Logs = []string{}
	if _, err := r.start(t.Context()).Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if got := string(r.stored("logs.json")); !contains(got, `"logs":{}`) {
		t.Errorf("logs.json = %s", got)
	}
	r.checkHistory()
}

// A log that is declared late is in the logs.json that is stored when the run is reported,
// however long that takes.
func TestLogsDocumentIsUpToDateAtTheEnd(t *testing.T) {
	for name, end := range map[string]func(*agent.Run, context.Context) error{
		"completed": func(run *agent.Run, ctx context.Context) error {
			_, err := run.Complete(ctx, agent.Outcome{Success: true})
			return err
		},
		"abandoned": func(run *agent.Run, ctx context.Context) error { return run.Abandon(ctx, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{})
			run := r.start(t.Context())
			eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
			r.inject(agenttest.Fault{What: "put", Kind: "503", Path: "logs.json", Count: 20})
			fmt.Fprintln(run.Log("late.log"), "I came late")
			if err := end(run, r.ctx()); err != nil {
				t.Fatal(err)
			}
			if !contains(string(r.stored("logs.json")), `"live/late.log"`) {
				t.Errorf("logs.json = %s", r.stored("logs.json"))
			}
			r.checkHistory()
		})
	}
}

// The signed URLs of a log expire while it is written: they are renewed, not asked for at every flush.
func TestLogOutlivesItsSignedURLs(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{ArtifactURLLife: 2 * time.Second})
	run := r.start(t.Context())
	start := time.Now()
	var text bytes.Buffer
	log := io.MultiWriter(&text, run.Log("terminal.log"))
	eventually(t, "the URLs' end", func() bool {
		fmt.Fprintln(log, "one more line")
		return time.Since(start) > 4*time.Second
	})
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.stored("artifacts/terminal.log"), text.Bytes()) {
		t.Error("the log is not what was written")
	}
	if n, flushes := r.count("artifact-urls", ""), r.count("put", "index.json"); n < 3 || n > flushes/3 {
		t.Errorf("URLs were asked for %d times in %d flushes", n, flushes)
	}
}

func TestOutcomeThatIsNoDocument(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	for _, result := range []map[string]any{{"missingArtifacts": 1}, {"f": func() {}}, {"text": "\xff"}} {
		if _, err := run.Complete(r.ctx(), agent.Outcome{Result: result}); err == nil || !strings.Contains(err.Error(), "check outcome") {
			t.Errorf("Complete(%v) = %v", result, err)
		}
	}
	fmt.Fprintln(run.Log("terminal.log"), "the logs are still open")
	if _, err := run.Complete(r.ctx(), agent.Outcome{}); err != nil {
		t.Fatal(err)
	}
}

func TestAbandonPublishesTheLogAndReportsNothing(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	fmt.Fprintln(run.Log("terminal.log"), "the machine is taken away")
	if err := run.Abandon(r.ctx(), ""); err != nil {
		t.Fatal(err)
	}
	if got := r.stored("artifacts/terminal.log"); string(got) != "the machine is taken away\n" {
		t.Errorf("terminal.log = %q", got)
	}
	if r.stored("result.json") != nil || r.count("completed", "") != 0 || r.state() != schema.Running {
		t.Error("an abandoned run has a result")
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{}); !errors.Is(err, agent.ErrEnded) {
		t.Errorf("Complete after Abandon = %v", err)
	}
	if _, err := io.WriteString(run.Log("new.log"), "x"); !errors.Is(err, agent.ErrEnded) {
		t.Errorf("write to a new log after Abandon: %v", err)
	}
	if left, _ := os.ReadDir(r.options.StateDir); len(left) > 0 {
		t.Errorf("the state folder still holds %v", left)
	}
}

func TestEndOfTheContextStopsTheRun(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	run := r.start(ctx)
	why := errors.New("the worker shuts down")
	cancel(why)
	if _, err := run.Complete(r.ctx(), agent.Outcome{}); !errors.Is(err, why) {
		t.Errorf("Complete = %v", err)
	}
	if err := run.Close(); err != nil {
		t.Error(err)
	}
	if r.count("completed", "") != 0 {
		t.Error("reported")
	}
}

func TestStartRefusesBadClaims(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	good := r.claim
	for name, spoil := range map[string]func(*schema.Claim){
		"taskId":       func(c *schema.Claim) { c.TaskID = "short" },
		"workerGroup":  func(c *schema.Claim) { c.WorkerGroup = "" },
		"workerId":     func(c *schema.Claim) { c.WorkerID = "" },
		"logsPutUrl":   func(c *schema.Claim) { c.LogsPutURL = schema.NewSignedURL("ftp://example.com/x") },
		"resultPutUrl": func(c *schema.Claim) { c.ResultPutURL = schema.SignedURL{} },
	} {
		r.claim = good
		spoil(&r.claim)
		if _, err := agent.Start(t.Context(), r.queue, r.claim, r.options); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Start with a bad %s = %v", name, err)
		}
	}
	if left, _ := os.ReadDir(r.options.StateDir); len(left) > 0 {
		t.Errorf("a refused start leaves %v", left)
	}
}

func TestStateFolderIsHeldByOneRun(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.start(t.Context())
	if _, err := agent.Start(t.Context(), r.queue, r.claim, r.options); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("second Start of the same run = %v", err)
	}
}
