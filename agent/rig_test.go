package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// rig is a queue, a storage, and what a worker needs to run one task with them.
type rig struct {
	t       *testing.T
	server  *agenttest.Server
	queue   *queue.Client
	storage *queue.Storage
	claim   schema.Claim
	log     *syncBuffer // what the agent logs
	options agent.Options
}

// newRig starts a server and claims a task. Everything that waits is short.
func newRig(t *testing.T, o agenttest.Options) *rig {
	t.Helper()
	server, err := agenttest.New(t.TempDir(), asAsked(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	r := &rig{t: t, server: server, log: &syncBuffer{}}
	logger := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	fast := queue.Options{Logger: logger, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, AttemptTimeout: 2 * time.Second}
	if r.queue, err = queue.New(server.QueueURL(), fast); err != nil {
		t.Fatal(err)
	}
	if r.storage, err = queue.NewStorage(server.StorageURL(), fast); err != nil {
		t.Fatal(err)
	}
	if r.claim, err = server.PostAndClaim(schema.Worker{WorkerGroup: "group", WorkerID: "worker"}); err != nil {
		t.Fatal(err)
	}
	r.options = agent.Options{
		StateDir: t.TempDir(),
		Storage:  r.storage,
		Logger:   logger,
		Publish:  livelog.PublishOptions{Interval: 10 * time.Millisecond, MaxInterval: 20 * time.Millisecond},
		Uploader: upload.New(upload.Options{Logger: logger, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, StallTimeout: 500 * time.Millisecond}),
	}
	t.Cleanup(r.options.Uploader.CloseIdleConnections)
	return r
}

func (r *rig) start(ctx context.Context) *agent.Run {
	r.t.Helper()
	run, err := agent.Start(ctx, r.queue, r.claim, r.options)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { run.Close() })
	return run
}

func (r *rig) inject(f agenttest.Fault) {
	r.t.Helper()
	if err := r.server.Inject(f); err != nil {
		r.t.Fatal(err)
	}
}

// between puts a handler between the agent and the queue. Where it returns false, the queue answers.
func (r *rig) between(handle func(http.ResponseWriter, *http.Request) bool) {
	r.t.Helper()
	to, err := url.Parse(r.server.QueueURL())
	if err != nil {
		r.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	transport := &http.Transport{}
	proxy.Transport = transport
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !handle(w, req) {
			proxy.ServeHTTP(w, req)
		}
	}))
	r.t.Cleanup(func() { front.Close(); transport.CloseIdleConnections() })
	if r.queue, err = queue.New(front.URL+to.Path, queue.Options{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, AttemptTimeout: 2 * time.Second}); err != nil {
		r.t.Fatal(err)
	}
}

// path is where the storage keeps an object of the run.
func (r *rig) path(name string) string {
	return fmt.Sprintf("%s/runs/%d/%s", r.claim.Task(), r.claim.RunID, name)
}

// firstRun is the number of a task's first run.
func firstRun() schema.RunID {
	if asAsked(agenttest.Options{}).Quirks2014 {
		return 1
	}
	return 0
}

var expiry = regexp.MustCompile(`([?&])(X-Amz-Date|Expires)=[0-9TZ]+`)

// lapse lets the URLs of the claim say that they expired in 2014. Nobody has signed that.
func (r *rig) lapse() {
	for _, u := range []*schema.SignedURL{&r.claim.LogsPutURL, &r.claim.ResultPutURL} {
		*u = schema.NewSignedURL(expiry.ReplaceAllStringFunc(u.Reveal(), func(found string) string {
			if strings.Contains(found, "Date") {
				return found[:1] + "X-Amz-Date=20140401T000000Z"
			}
			return found[:1] + "Expires=1396310400"
		}))
	}
}

// stored reads an object of the run; nil if it is not stored.
func (r *rig) stored(name string) []byte {
	r.t.Helper()
	body, err := r.server.Object(r.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return body
}

// result reads the run's result.json as a reader would.
func (r *rig) result() schema.Result {
	r.t.Helper()
	doc, err := schema.Decode[schema.Result]("result.json", r.stored("result.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	return doc
}

// missing is result.json's list of what is missing.
func (r *rig) missing() map[string]any {
	r.t.Helper()
	missing, _ := r.result().Result["missingArtifacts"].(map[string]any)
	return missing
}

// state is the task's state as the queue knows it.
func (r *rig) state() schema.TaskState {
	r.t.Helper()
	status, err := r.queue.Status(r.ctx(), r.claim.Task())
	if err != nil {
		r.t.Fatal(err)
	}
	return status.State
}

// checkHistory is what must hold after every test.
func (r *rig) checkHistory() {
	r.t.Helper()
	if v := r.server.Violations(); len(v) > 0 {
		r.t.Errorf("order of reports violated: %q", v)
	}
}

// count counts requests of a kind whose path contains part.
func (r *rig) count(what, part string) (n int) {
	for _, request := range r.server.Requests() {
		if request.What == what && contains(request.Path, part) {
			n++
		}
	}
	return n
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	r.t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never came: %s", what)
		}
	}
}

func contains(s, part string) bool { return bytes.Contains([]byte(s), []byte(part)) }

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// bodies keeps what is sent to paths that contain path, and how many of them were under way at once.
type bodies struct {
	next http.RoundTripper
	path string

	mu        sync.Mutex
	sent      []string
	now, most int
}

func (b *bodies) RoundTrip(r *http.Request) (*http.Response, error) {
	if !contains(r.URL.Path, b.path) {
		return b.next.RoundTrip(r)
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		b.mu.Lock()
		b.sent = append(b.sent, string(body))
		b.mu.Unlock()
	}
	b.mu.Lock()
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.now--
		b.mu.Unlock()
	}()
	return b.next.RoundTrip(r)
}

func (b *bodies) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sent)
}

func (b *bodies) atOnce() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.most
}

// syncBuffer is a buffer for many writers.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
