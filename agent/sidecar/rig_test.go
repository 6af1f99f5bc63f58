package sidecar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/agent/sidecar"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// asNobody is set for a test that runs once more as somebody whom permissions concern.
const asNobody = "SIDECAR_TEST_AS_NOBODY"

func TestMain(m *testing.M) {
	if os.Getenv(asNobody) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// rig is a queue with its storage, and the folders of a sidecar.
type rig struct {
	t           *testing.T
	server      *agenttest.Server
	runs, state string
	storage     string // where the storage keeps its objects
	log         *syncBuffer
	options     sidecar.Options

	serving *sidecar.Sidecar
	stop    func()
}

func newRig(t *testing.T, o agenttest.Options) *rig {
	t.Helper()
	storage := t.TempDir()
	server, err := agenttest.New(storage, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Close()
		for _, v := range server.Violations() {
			t.Errorf("order of reports: %s", v)
		}
	})
	r := &rig{t: t, server: server, storage: storage, runs: t.TempDir(), state: t.TempDir(), log: &syncBuffer{}}
	r.options = sidecar.Options{
		State: r.state, Settle: 50 * time.Millisecond, Poll: 100 * time.Millisecond, Grace: 30 * time.Second,
		Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Run: agent.Options{
			Publish: livelog.PublishOptions{Interval: 10 * time.Millisecond, MaxInterval: 50 * time.Millisecond},
		},
	}
	return r
}

// start has a sidecar serve until stop.
func (r *rig) start() {
	r.t.Helper()
	q, err := queue.New(r.server.QueueURL(), queue.Options{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, AttemptTimeout: 5 * time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	o := r.options
	o.Run.Uploader = upload.New(upload.Options{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	if r.serving, err = sidecar.New(q, r.runs, o); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.serving.Serve(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("serve: %v", err)
		}
		o.Run.Uploader.CloseIdleConnections()
		if r.t.Failed() {
			r.t.Log(r.log.String())
		}
	})
	r.t.Cleanup(r.stop)
}

// restart stops the sidecar, has something happen meanwhile, and starts another one.
func (r *rig) restart(meanwhile func()) {
	r.t.Helper()
	r.stop()
	meanwhile()
	r.start()
}

// worker writes into one run folder.
type worker struct {
	t      testing.TB
	server *agenttest.Server
	dir    string
	claim  schema.Claim
	away   bool // no sidecar serves just now
}

// worker claims a task and makes its folder.
func (r *rig) worker(name string) *worker {
	r.t.Helper()
	return newWorker(r.t, r.server, r.runs, name)
}

func newWorker(t testing.TB, server *agenttest.Server, runs, name string) *worker {
	t.Helper()
	claim, err := server.PostAndClaim(schema.Worker{WorkerGroup: "group", WorkerID: "worker"})
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, server: server, dir: filepath.Join(runs, name), claim: claim}
	for _, dir := range []string{"", "logs", "artifacts"} {
		w.must(os.MkdirAll(filepath.Join(w.dir, dir), 0o755))
	}
	w.document("claim.json", w.claimJSON())
	return w
}

func (w *worker) claimJSON() []byte {
	data, err := schema.Encode(w.claim)
	w.must(err)
	return data
}

func (w *worker) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *worker) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// document renames a file into place.
func (w *worker) document(name string, data []byte) {
	w.t.Helper()
	w.must(os.WriteFile(w.path("."+name), data, 0o644))
	w.must(os.Rename(w.path("."+name), w.path(name)))
}

func (w *worker) write(name, text string) {
	w.t.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o755))
	w.must(os.WriteFile(w.path(name), []byte(text), 0o644))
}

func (w *worker) append(name, text string) {
	w.t.Helper()
	f, err := os.OpenFile(w.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	w.must(err)
	_, err = f.WriteString(text)
	w.must(errors.Join(err, f.Close()))
}

func (w *worker) finish() {
	w.t.Helper()
	w.document("finish.json", []byte(`{"success": true, "result": {"exitCode": 0}}`))
}

// status is what the agent says; nil if it says nothing yet.
func (w *worker) status() *schema.Status {
	w.t.Helper()
	data, err := os.ReadFile(w.path("status.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	w.must(err)
	s, err := schema.Decode[schema.Status]("status.json", data)
	w.must(err)
	return &s
}

// await waits until the status is as it should be.
func (w *worker) await(what string, ok func(schema.Status) bool) schema.Status {
	w.t.Helper()
	var last *schema.Status
	eventually(w.t, func() string {
		if last = w.status(); last != nil && ok(*last) {
			return ""
		}
		said, _ := json.Marshal(last)
		return fmt.Sprintf("%s: want %s; status.json is %s", filepath.Base(w.dir), what, said)
	})
	return *last
}

func (w *worker) awaitPhase(p schema.Phase) schema.Status {
	w.t.Helper()
	return w.await(string(p), func(s schema.Status) bool { return s.Phase == p })
}

// awaitLog waits until the agent has read so many bytes into a log.
func (w *worker) awaitLog(name string, bytes int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%d bytes of %s", bytes, name), func(s schema.Status) bool { return s.Logs[name] >= int64(bytes) })
}

// stored is an object of the run.
func (w *worker) stored(name string) string {
	w.t.Helper()
	data, err := w.server.Object(fmt.Sprintf("%s/runs/%d/%s", w.claim.Task(), w.claim.RunID, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "(not stored)"
	}
	w.must(err)
	return string(data)
}

// result is the run's result.json.
func (w *worker) result() schema.Result {
	w.t.Helper()
	result, err := schema.Decode[schema.Result]("result.json", []byte(w.stored("result.json")))
	w.must(err)
	return result
}

func (w *worker) wantArtifact(name, want string) {
	w.t.Helper()
	got := w.stored("artifacts/" + name)
	if got == want {
		return
	}
	if len(got) > 2000 {
		got = got[:2000]
	}
	if len(want) > 2000 {
		want = want[:2000]
	}
	w.t.Errorf("%s: %s is\n%s\nwant\n%s", filepath.Base(w.dir), name, got, want)
}

// eventually waits until look finds nothing more to say.
func eventually(t testing.TB, look func() string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(60 * time.Second)
	for {
		said := look()
		if said == "" {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(said)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func lines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}
