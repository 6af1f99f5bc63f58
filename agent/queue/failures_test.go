package queue_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// method is one method of the client, and an answer that it takes.
type method struct {
	name, verb, path, body string
	ok                     string
	call                   func(context.Context, *queue.Client) (any, error)
}

var methods = []method{
	{"CreateTask", "POST", "/v1/task/new", `"provisionerId":"p"`, statusAnswer("pending", ""), func(ctx context.Context, c *queue.Client) (any, error) {
		return c.CreateTask(ctx, aTask())
	}},
	{"DefineTasks", "GET", "/v1/define-tasks", `{"tasksRequested":1}`, `{"expires":"2026-11-22T14:32:41.589Z","tasks":{"` + string(taskID) + `":{"taskPutUrl":"http://s.example/task.json?Signature=` + canary + `"}}}`,
		func(ctx context.Context, c *queue.Client) (any, error) { return c.DefineTasks(ctx, 1) }},
	{"Schedule", "POST", "/v1/task/" + string(taskID) + "/schedule", "", statusAnswer("pending", ""), func(ctx context.Context, c *queue.Client) (any, error) {
		return c.Schedule(ctx, taskID)
	}},
	{"Status", "GET", "/v1/task/" + string(taskID) + "/status", "", statusAnswer("pending", ""), func(ctx context.Context, c *queue.Client) (any, error) {
		return c.Status(ctx, taskID)
	}},
	{"Claim", "POST", "/v1/task/" + string(taskID) + "/claim", `{"workerGroup":"rig-group","workerId":"rig-w1"}`, claimAnswer(taskID, "0"), func(ctx context.Context, c *queue.Client) (any, error) {
		return c.Claim(ctx, taskID, worker)
	}},
	{"ClaimWork", "POST", "/v1/claim-work/prov/type", `{"workerGroup":"rig-group","workerId":"rig-w1"}`, claimAnswer(taskID, "0"), func(ctx context.Context, c *queue.Client) (any, error) {
		return c.ClaimWork(ctx, "prov", "type", worker)
	}},
	{"Reclaim", "POST", "/v1/task/" + string(taskID) + "/claim", `{"workerGroup":"rig-group","workerId":"rig-w1","runId":0}`, claimAnswer(taskID, "0"), func(ctx context.Context, c *queue.Client) (any, error) {
		return c.Reclaim(ctx, taskID, 0, worker)
	}},
	{"ArtifactURLs", "POST", "/v1/task/" + string(taskID) + "/artifact-urls", "artifacts",
		`{"status":` + statusBody(taskID, "running", "") + `,"expires":"2026-11-22T14:32:41.589Z","artifacts":{"a":{"artifactPutUrl":"http://s.example/a?Signature=` + canary + `","artifactUrl":"http://s.example/a","contentType":"text/plain"}}}`,
		func(ctx context.Context, c *queue.Client) (any, error) {
			return c.ArtifactURLs(ctx, taskID, schema.ArtifactURLsRequest{Worker: worker, Artifacts: map[string]schema.ArtifactRequest{"a": {ContentType: "text/plain"}}})
		}},
	{"Completed", "POST", "/v1/task/" + string(taskID) + "/completed", "success", statusAnswer("completed", ""), func(ctx context.Context, c *queue.Client) (any, error) {
		return c.Completed(ctx, taskID, schema.CompletedRequest{Worker: worker, Success: true})
	}},
	{"Rerun", "POST", "/v1/task/" + string(taskID) + "/rerun", "", statusAnswer("pending", ""), func(ctx context.Context, c *queue.Client) (any, error) {
		return c.Rerun(ctx, taskID)
	}},
	{"AMQPConnectionString", "GET", "/v1/settings/amqp-connection-string", "", `{"url":"amqp://guest:` + canary + `@127.0.0.1:5672"}`, func(ctx context.Context, c *queue.Client) (any, error) {
		return c.AMQPConnectionString(ctx)
	}},
}

func aTask() schema.Task {
	now := schema.Timestamp(time.Now())
	return schema.Task{
		Version: schema.Version, ProvisionerID: "p", WorkerType: "w", Retries: 1, Timeout: 60, Created: now, Deadline: now.Add(time.Hour),
		Payload:  map[string]any{"command": "true"},
		Metadata: schema.TaskMetadata{Name: "n", Owner: "a@example.com", Source: "http://example.com/src"}, Tags: map[string]string{},
	}
}

var errEnough = errors.New("the test has seen enough")

const (
	htmlPage = "<html><head><title>502 Bad\nGateway</title></head><body><h1>nginx</h1></body></html>"
	incident = `{"message":"Internal Server Error","error":{"info":"Ask","incidentId":"769bd7d0"}}`
	schemaNo = `{"message":"Request payload must follow the schema","error":[{"instanceContext":"#/runId","constraintName":"minimum"}]}`
)

// failure is what goes wrong, and what every method does about it.
type failure struct {
	name     string
	answers  []http.HandlerFunc // before the good one; the last of them for ever if want is not nil
	attempts int
	want     error  // nil: the call ends well
	say      string // in the error
}

func failures() []failure {
	list := func(h ...http.HandlerFunc) []http.HandlerFunc { return h }
	return []failure{
		{"500 twice", list(jsonAnswer(500, incident), jsonAnswer(500, incident)), 3, nil, ""},
		{"502 of a proxy", list(answer(502, "text/html", htmlPage)), 2, nil, ""},
		{"503 with Retry-After", list(withHeader("Retry-After", "0", jsonAnswer(503, ""))), 2, nil, ""},
		{"429", list(answer(429, "text/plain", "slow down")), 2, nil, ""},
		{"408", list(answer(408, "text/plain", "")), 2, nil, ""},
		{"connection reset", list(reset, reset), 3, nil, ""},
		{"answer cut short", list(cut), 2, nil, ""},
		{"captive page", list(answer(200, "text/html", htmlPage), answer(200, "text/html", htmlPage)), 3, nil, ""},
		{"400", list(jsonAnswer(400, schemaNo)), 1, queue.ErrRejected, "must follow the schema (at #/runId)"},
		{"401", list(jsonAnswer(401, "")), 1, queue.ErrDenied, "401"},
		{"403", list(jsonAnswer(403, `{"message":"no"}`)), 1, queue.ErrDenied, "403 Forbidden: no"},
		{"404", list(jsonAnswer(404, `{"message":"Task not found"}`)), 1, queue.ErrNotFound, "404 Not Found: Task not found"},
		{"407", list(answer(407, "", "")), 1, queue.ErrDenied, "HTTPS_PROXY"},
		{"413", list(jsonAnswer(413, "")), 1, queue.ErrRejected, "413"},
		{"500 for ever", list(jsonAnswer(500, incident)), 4, errEnough, "incident 769bd7d0"},
		{"502 for ever", list(answer(502, "text/html", htmlPage)), 4, errEnough, "502 Bad Gateway: 502 Bad Gateway"},
		{"reset for ever", list(reset), 4, errEnough, "EOF"},
		{"captive page for ever", list(answer(200, "text/html", htmlPage)), 4, errDocument, "is a proxy in between"},
		{"garbage for ever", list(jsonAnswer(200, `{"status": nonsense`)), 4, errDocument, "200 OK"},
		{"another document for ever", list(jsonAnswer(200, `{"hello": 1}`)), 4, errDocument, "the answer is not the document"},
		{"empty for ever", list(jsonAnswer(200, "")), 4, errDocument, "200 OK"},
		{"300", list(answer(300, "", "")), 1, queue.ErrRedirected, "300"},
		{"307 without a place", list(answer(307, "", "")), 1, queue.ErrRedirected, "307"},
		{"redirect to ftp", list(redirect(307, "ftp://other.example/x?Signature="+canary)), 1, queue.ErrRedirected, "neither http nor https"},
	}
}

// errDocument stands for a *schema.Error.
var errDocument = errors.New("a document error")

func withHeader(name, value string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(name, value)
		h(w, r)
	}
}

// TestFailures runs every method into every failure.
func TestFailures(t *testing.T) {
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			for _, f := range failures() {
				if m.name == "ArtifactURLs" && f.name == "500 for ever" {
					f.attempts, f.want = 3, queue.ErrUnavailable // perhaps one of the names is bad
				}
				t.Run(f.name, func(t *testing.T) {
					t.Parallel()
					m.meets(t, f)
				})
			}
		})
	}
}

func (m method) meets(t *testing.T, f failure) {
	ctx, cancel := context.WithCancelCause(deadline(t))
	defer cancel(nil)
	answers := f.answers
	if f.want == nil {
		answers = append(answers[:len(answers):len(answers)], jsonAnswer(200, m.ok))
	}
	if f.want == errEnough {
		end := func(w http.ResponseWriter, r *http.Request) {
			defer cancel(errEnough)
			answers[0](w, r)
		}
		answers = []http.HandlerFunc{answers[0], answers[0], answers[0], end}
	}
	srv := serve(t, answers...)
	_, err := m.call(ctx, client(t, srv.URL+"/v1", options(t)))

	seen := srv.seen()
	if len(seen) != f.attempts {
		t.Errorf("%d requests, want %d", len(seen), f.attempts)
	}
	for _, r := range seen {
		if r.Method != m.verb || r.Path != m.path || !strings.Contains(r.Body, m.body) || (m.body == "") != (r.Body == "") {
			t.Errorf("asked %s %s %s, want %s %s %s", r.Method, r.Path, r.Body, m.verb, m.path, m.body)
		}
	}
	if f.want == nil {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var e *queue.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want a *queue.Error", err)
	}
	var d *schema.Error
	switch {
	case f.want == errDocument && !errors.As(err, &d), f.want != errDocument && !errors.Is(err, f.want):
		t.Errorf("error %v, want %v", err, f.want)
	case f.want == errEnough && !errors.Is(err, context.Canceled):
		t.Errorf("error %v does not say that the context was cancelled", err)
	}
	if !strings.Contains(err.Error(), f.say) || strings.Contains(err.Error(), canary) {
		t.Errorf("error %q, want %q in it", err, f.say)
	}
	// the last attempt may be told twice or, if the end of ctx cut it short, not at all
	if e.Attempts != f.attempts {
		t.Errorf("%d attempts in %v, want %d", e.Attempts, err, f.attempts)
	}
}

// Only 500s in a row say that a name is bad: what comes in between says that the queue is.
func TestIncidentsInARow(t *testing.T) {
	no, busy := jsonAnswer(500, incident), jsonAnswer(503, "")
	for _, m := range methods {
		if m.name != "ArtifactURLs" {
			continue
		}
		srv := serve(t, no, no, busy, no, no, reset, no, no, jsonAnswer(200, m.ok))
		if _, err := m.call(deadline(t), client(t, srv.URL+"/v1", options(t))); err != nil || len(srv.seen()) != 9 {
			t.Errorf("%v after %d requests, want success after 9", err, len(srv.seen()))
		}
		srv = serve(t, no, busy, no, no, no, jsonAnswer(200, m.ok))
		_, err := m.call(deadline(t), client(t, srv.URL+"/v1", options(t)))
		var e *queue.Error
		if !errors.As(err, &e) || !errors.Is(err, queue.ErrUnavailable) || e.Attempts != 5 || e.Status != 500 || len(srv.seen()) != 5 {
			t.Errorf("%v after %d requests, want the 500 after 5", err, len(srv.seen()))
		}
	}
}

func TestConflictIsLost(t *testing.T) {
	for _, m := range methods {
		want := queue.ErrRejected
		switch m.name {
		case "Claim", "Reclaim", "ArtifactURLs", "Completed":
			want = queue.ErrNotFound
		}
		srv := serve(t, jsonAnswer(409, `{"message":"someone else"}`))
		if _, err := m.call(deadline(t), client(t, srv.URL+"/v1", options(t))); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", m.name, err, want)
		}
	}
}

// TestMaybeDone tells attempts that the queue may have carried out from those it cannot have.
func TestMaybeDone(t *testing.T) {
	gone := jsonAnswer(404, "")
	for _, tt := range []struct {
		name   string
		before http.HandlerFunc
		want   bool
	}{
		{"at once", nil, false},
		{"answer lost", reset, true},
		{"answer cut", cut, true},
		{"500", jsonAnswer(500, ""), true},
		{"a page", answer(200, "text/html", htmlPage), true},
		{"429", answer(429, "", ""), false},
	} {
		answers := []http.HandlerFunc{gone}
		if tt.before != nil {
			answers = []http.HandlerFunc{tt.before, gone}
		}
		srv := serve(t, answers...)
		_, err := client(t, srv.URL+"/v1", options(t)).Completed(deadline(t), taskID, schema.CompletedRequest{Worker: worker})
		var e *queue.Error
		if !errors.As(err, &e) || !errors.Is(err, queue.ErrNotFound) || e.MaybeDone != tt.want {
			t.Errorf("%s: %+v, want MaybeDone %v", tt.name, err, tt.want)
		}
	}
	o := options(t)
	o.Transport = &transport{answer: func(n int, _ *http.Request) (*http.Response, error) {
		if n == 1 {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
		}
		return response(404, ""), nil
	}}
	_, err := client(t, "http://queue.example/v1", o).Completed(deadline(t), taskID, schema.CompletedRequest{Worker: worker})
	var e *queue.Error
	if !errors.As(err, &e) || !errors.Is(err, queue.ErrNotFound) || e.MaybeDone || e.Attempts != 2 {
		t.Errorf("nobody listened: %+v, want MaybeDone false", err)
	}
}

// TestSilence gives up an attempt that brings no answer, or only half of one.
func TestSilence(t *testing.T) {
	for name, silent := range map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"half an answer": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.AttemptTimeout = 150 * time.Millisecond
			ok := jsonAnswer(200, statusAnswer("pending", ""))
			srv := serve(t, silent, ok)
			if _, err := client(t, srv.URL+"/v1", o).Status(deadline(t), taskID); err != nil {
				t.Error(err)
			}
			if n := len(srv.seen()); n < 2 {
				t.Errorf("%d requests", n)
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), 400*time.Millisecond, errEnough)
			defer cancel()
			srv = serve(t, silent)
			_, err := client(t, srv.URL+"/v1", o).Status(ctx, taskID)
			if !errors.Is(err, errEnough) || !errors.Is(err, queue.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
}

// TestNobodyListens waits for a queue that is not there, and says so.
func TestNobodyListens(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	ctx, cancel := context.WithCancelCause(deadline(t))
	o := options(t)
	o.Transport = &counting{o.Transport, 3, func() { cancel(errEnough) }}
	_, err := client(t, srv.URL+"/v1", o).Claim(ctx, taskID, worker)
	var e *queue.Error
	if !errors.As(err, &e) || e.Attempts != 3 || !errors.Is(err, errEnough) || !strings.Contains(err.Error(), "dial tcp") {
		t.Errorf("%+v", err)
	}
}

// counting calls end before the n-th request.
type counting struct {
	http.RoundTripper
	n   int
	end func()
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.n--; c.n == 0 {
		c.end()
	}
	return c.RoundTripper.RoundTrip(r)
}

func TestEndedBefore(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnough)
	srv := serve(t, jsonAnswer(200, statusAnswer("pending", "")))
	_, err := client(t, srv.URL+"/v1", options(t)).Status(ctx, taskID)
	if !errors.Is(err, errEnough) || len(srv.seen()) != 0 {
		t.Errorf("%v after %d requests", err, len(srv.seen()))
	}
}

// TestRedirect follows what keeps the request as it is, and nothing else.
func TestRedirect(t *testing.T) {
	for _, tt := range []struct {
		method   string
		status   int
		followed bool
	}{
		{"Status", 301, true}, {"Status", 302, true}, {"Status", 303, true}, {"Status", 307, true}, {"Status", 308, true},
		{"Claim", 301, false}, {"Claim", 302, false}, {"Claim", 303, false}, {"Claim", 307, true}, {"Claim", 308, true},
		{"Rerun", 302, false}, {"Rerun", 307, true},
		{"DefineTasks", 302, false}, {"DefineTasks", 307, true}, // its GET has a body
	} {
		t.Run(fmt.Sprint(tt.method, tt.status), func(t *testing.T) {
			var m method
			for _, m = range methods {
				if m.name == tt.method {
					break
				}
			}
			there := serve(t, jsonAnswer(200, m.ok))
			here := serve(t, redirect(tt.status, there.URL+"/else?Signature="+canary))
			_, err := m.call(deadline(t), client(t, here.URL+"/v1", options(t)))
			if !tt.followed {
				if !errors.Is(err, queue.ErrRedirected) || strings.Contains(err.Error(), canary) || len(here.seen()) != 1 || len(there.seen()) != 0 {
					t.Errorf("%v after %d requests here, %d there", err, len(here.seen()), len(there.seen()))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, first := there.seen()[0], here.seen()[0]
			if got.Method != m.verb || got.Body != first.Body || got.Header.Get("Content-Type") != first.Header.Get("Content-Type") || got.Header.Get("Referer") != "" {
				t.Errorf("redirected request %+v", got)
			}
		})
	}
}

func TestRedirectLimits(t *testing.T) {
	var self *server
	self = serve(t, func(w http.ResponseWriter, r *http.Request) { redirect(307, self.URL+"/again")(w, r) })
	_, err := client(t, self.URL+"/v1", options(t)).Status(deadline(t), taskID)
	if !errors.Is(err, queue.ErrRedirected) || len(self.seen()) != 6 {
		t.Errorf("%v after %d requests, want 6", err, len(self.seen()))
	}

	plain := serve(t, jsonAnswer(200, statusAnswer("pending", "")))
	secure := httptest.NewTLSServer(redirect(307, plain.URL+"/v1"))
	defer secure.Close()
	o := options(t)
	o.Transport = secure.Client().Transport
	_, err = client(t, secure.URL+"/v1", o).Status(deadline(t), taskID)
	if !errors.Is(err, queue.ErrRedirected) || !strings.Contains(err.Error(), "from https to http") || len(plain.seen()) != 0 {
		t.Errorf("%v after %d requests", err, len(plain.seen()))
	}
}

// TestCompressed takes compressed answers, and is not blown up by them.
func TestCompressed(t *testing.T) {
	zip := func(parts ...string) string {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		for _, p := range parts {
			_, _ = io.WriteString(z, p)
		}
		_ = z.Close()
		return b.String()
	}
	status := func(answers ...http.HandlerFunc) (*server, error) {
		srv := serve(t, answers...)
		_, err := client(t, srv.URL+"/v1", options(t)).Status(deadline(t), taskID)
		return srv, err
	}
	gzipped := func(code int, body string) http.HandlerFunc {
		return withHeader("Content-Encoding", "gzip", jsonAnswer(code, body))
	}
	if _, err := status(gzipped(200, zip(statusAnswer("pending", "")))); err != nil {
		t.Error(err)
	}
	if _, err := status(gzipped(404, zip(`{"message":"packed"}`))); !errors.Is(err, queue.ErrNotFound) || !strings.Contains(err.Error(), "packed") {
		t.Error(err)
	}
	if _, err := status(gzipped(404, zip(strings.Repeat(" ", 8<<20)))); !errors.Is(err, queue.ErrNotFound) || len(err.Error()) > 500 {
		t.Error(err)
	}
	if srv, err := status(withHeader("Content-Encoding", "br", jsonAnswer(200, "x")), jsonAnswer(404, "")); !errors.Is(err, queue.ErrNotFound) || len(srv.seen()) != 2 {
		t.Error(err)
	}
	member := zip(strings.Repeat(" ", 1<<20))
	bomb := withHeader("Content-Encoding", "gzip", func(w http.ResponseWriter, _ *http.Request) {
		for { // without an end: only the client can make one
			if _, err := io.WriteString(w, member); err != nil {
				return
			}
		}
	})
	if srv, err := status(bomb); !errors.Is(err, queue.ErrTooLarge) || len(srv.seen()) != 4 {
		t.Error(err)
	}
}

// TestRefusals reads what answers say, at a bounded length and without their secrets.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{"Cannot GET /v1/nope\n", "Cannot GET /v1/nope"},
		{"SyntaxError: Unexpected token b\n    at Object.parse (native)", "SyntaxError: Unexpected token b"},
		{htmlPage, "502 Bad Gateway"},
		{"<html><body>x</body></html>", "a web page"},
		{"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", "AccessDenied: Request has expired"},
		{`{"message":"m","error":"Couldn't fetch: http://s.example/task.json"}`, "m: Couldn't fetch: http://s.example/task.json"},
		{`{"message":"m","error":"http://s.example/task.json?Signature=` + canary + `&x=1 failed"}`, "m: http://s.example/task.json?<redacted> failed"},
		{`{"message":"http:\/\/u:` + canary + `@s.example\/x%3FSignature%3D` + canary + `"}`, "http://<redacted>@s.example/x?<redacted>"},
		{`{"message":{"a":1},"error":[]}`, ""},
		{`{"message":"truncated`, `{"message":"truncated`},
		{"Signature=" + canary, "Signature=<redacted>"},
		{"a\x00b\x1b[31m\u202e" + strings.Repeat("é", 1000), "a b [31m " + strings.Repeat("é", 145) + "..."},
		{"\xff\xfe", ""},
	} {
		srv := serve(t, answer(400, "text/plain", tt.body))
		_, err := client(t, srv.URL+"/v1", options(t)).Status(deadline(t), taskID)
		var e *queue.Error
		if !errors.As(err, &e) || e.Message != tt.want {
			t.Errorf("%q: %q, want %q", tt.body, e.Message, tt.want)
		}
	}
}

func TestBaseURL(t *testing.T) {
	for _, bad := range []string{"", "queue.example/v1", "ftp://queue.example", "http://", "http:///v1", "http://u:" + canary + "@queue.example", "http://queue.example/?t=" + canary, "http://queue.example/#" + canary, "http://%zz?" + canary, "://"} {
		_, err := queue.New(bad, queue.Options{})
		_, serr := queue.NewStorage(bad, queue.Options{})
		var e *queue.URLError
		if !errors.As(err, &e) || !errors.As(serr, &e) || strings.Contains(err.Error()+serr.Error(), canary) || !strings.Contains(err.Error(), "https://queue.taskcluster.net/v1") {
			t.Errorf("%q: %v; %v", bad, err, serr)
		}
	}
	srv := serve(t, jsonAnswer(200, statusAnswer("pending", "")))
	for _, base := range []string{"", "/", "/v1", "/v1/", "/a%20b//"} {
		if _, err := client(t, srv.URL+base, options(t)).Status(deadline(t), "a b/../c?d#e%41"); err != nil {
			t.Fatal(err)
		}
		seen := srv.seen()
		if got, want := seen[len(seen)-1].Path, strings.TrimRight(base, "/")+"/task/a%20b%2F..%2Fc%3Fd%23e%2541/status"; got != want {
			t.Errorf("base %q: asked for %s, want %s", base, got, want)
		}
	}
	for _, id := range []schema.TaskID{"", ".", ".."} {
		n := len(srv.seen())
		if _, err := client(t, srv.URL, options(t)).Status(deadline(t), id); !errors.Is(err, queue.ErrRejected) || len(srv.seen()) != n {
			t.Errorf("task %q: %v", id, err)
		}
	}
}

// TestWrongRequest does not bother the queue with a document that it would refuse.
func TestWrongRequest(t *testing.T) {
	srv := serve(t, jsonAnswer(200, claimAnswer(taskID, "0")))
	_, err := client(t, srv.URL, options(t)).Claim(deadline(t), taskID, schema.Worker{WorkerGroup: "g", WorkerID: "a.b"})
	var d *schema.Error
	var e *queue.Error
	if !errors.As(err, &d) || !errors.As(err, &e) || e.Attempts != 0 || len(srv.seen()) != 0 {
		t.Errorf("%v after %d requests", err, len(srv.seen()))
	}
}
