package queue_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	taskID  = schema.TaskID("YpsYjqE5Q_-NIvzSmpNnFA")
	otherID = schema.TaskID("Do0kXVbdTvaXumFR-kbbMA")
	canary  = "CANARYsecret"
)

var worker = schema.Worker{WorkerGroup: "rig-group", WorkerID: "rig-w1"}

// request is what a test server was asked.
type request struct {
	Method, Path, Body string
	Header             http.Header
	Length             int64
	Encoding           []string
}

// server answers the n-th request with the n-th handler, and every further one with the last.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

func serve(t *testing.T, answers ...http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(s.handler(answers))
	t.Cleanup(s.Close)
	return s
}

func (s *server) handler(answers []http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		n := min(len(s.requests), len(answers)-1)
		s.requests = append(s.requests, request{r.Method, r.URL.EscapedPath(), string(body), r.Header, r.ContentLength, r.TransferEncoding})
		s.mu.Unlock()
		answers[n](w, r)
	})
}

func (s *server) seen() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]request(nil), s.requests...)
}

// options are quick ones, with a transport that is closed after the test.
func options(t *testing.T) queue.Options {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return queue.Options{Transport: tr, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, AttemptTimeout: 20 * time.Second}
}

func client(t *testing.T, base string, o queue.Options) *queue.Client {
	t.Helper()
	c, err := queue.New(base, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func storage(t *testing.T, base string, o queue.Options) *queue.Storage {
	t.Helper()
	s, err := queue.NewStorage(base, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// deadline is a context that no test waits for unless it hangs.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// answer answers with a status, a content type and a body.
func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func jsonAnswer(status int, body string) http.HandlerFunc {
	return answer(status, "application/json", body)
}

func redirect(status int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	}
}

// reset breaks the connection off instead of answering; the server has taken the request by then.
func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// cut announces more than it sends.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "5000")
	_, _ = io.WriteString(w, `{"status": {`)
}

func statusBody(id schema.TaskID, state string, runs string) string {
	return `{"taskId":"` + string(id) + `","runs":[` + runs + `],"provisionerId":"p","workerType":"w","state":"` + state + `","reason":"none",
	"routing":"","retries":1,"timeout":60,"priority":1,"created":"2026-11-22T14:12:40.771Z","deadline":"2026-11-22T15:12:40.771Z","takenUntil":"2026-11-22T14:13:40.771Z"}`
}

func statusAnswer(state string, runs string) string {
	return `{"status":` + statusBody(taskID, state, runs) + `}`
}

// claimAnswer is a claim of a run of taskID whose status is that of statusOf, with the canary in its signed URLs.
func claimAnswer(statusOf schema.TaskID, run string) string {
	at := "http://storage.example/" + string(taskID) + "/runs/" + run + "/"
	signed := "?AWSAccessKeyId=K&Expires=1795356820&Signature=" + canary
	return `{"status":` + statusBody(statusOf, "running", "") + `,"runId":` + run + `,"logsPutUrl":"` + at + `logs.json` + signed + `","resultPutUrl":"` + at + `result.json` + signed + `"}`
}

func recorded(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../schema/testdata/recorded/queue-http.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}
