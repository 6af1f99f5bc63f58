package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// exchange is a line of queue-http.jsonl: what a queue of April 2014 was asked and said.
type exchange struct {
	Label, Method, URL string
	ReqHeaders         map[string]string
	ReqBody            string
	Status             int
	RespHeaders        [][2]string
	RespBody           string
}

// notOurs are the recorded exchanges that this client never makes, by label, and why.
var notOurs = map[string]string{
	"pending-tasks":                   "no method for it",
	"artifact-urls no artifacts key":  "the schema wants one",
	"artifact-urls no contentType":    "the schema wants one",
	"artifact-urls extra field":       "not a member",
	"artifact-urls missing worker":    "the schema wants one",
	"completed success as string":     "a bool here",
	"claim no body":                   "always one",
	"claim not json":                  "always JSON",
	"claim JSON without content-type": "always with",
	"claim ct text/plain":             "always JSON",
	"claim extra field":               "not a member",
	"claim long workerId":             "the schema refuses it",
	"claim dotted workerId":           "the schema refuses it",
	"claim json charset":              "never a charset",
	"claim chunked":                   "never chunked",
	"new: bad deadline":               "a time here",
	"new: missing tags":               "the schema wants them",
	"unknown route":                   "no method for it",
	"wrong method":                    "no method for it",
}

func exchanges(t *testing.T) []exchange {
	var all []exchange
	for line := range strings.Lines(recorded(t)) {
		var x exchange
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(x.URL, "/") { // the others are PUTs of the worker
			all = append(all, x)
		}
	}
	if len(all) < 60 {
		t.Fatalf("only %d recorded exchanges", len(all))
	}
	return all
}

// TestRecorded makes every recorded call that this client can make, against a server that answers as recorded.
func TestRecorded(t *testing.T) {
	unused := maps.Clone(notOurs)
	for _, x := range exchanges(t) {
		if _, ok := unused[x.Label]; ok {
			delete(unused, x.Label)
			continue
		}
		t.Run(x.Label, func(t *testing.T) { replay(t, x) })
	}
	for label := range unused {
		t.Errorf("no recorded exchange %q", label)
	}
}

func replay(t *testing.T, x exchange) {
	errEnough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(deadline(t))
	defer cancel(nil)
	requests := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		checkRequest(t, x, r, body)
		if requests++; requests == 3 {
			cancel(errEnough) // a 500 is tried again for ever
		}
		for _, h := range x.RespHeaders {
			if h[0] != "Connection" && h[0] != "Transfer-Encoding" {
				w.Header().Set(h[0], h[1])
			}
		}
		w.WriteHeader(x.Status)
		_, _ = io.WriteString(w, x.RespBody)
	}))
	defer srv.Close()

	got, want, err := makeCall(t, ctx, srv.URL, x)
	var e *queue.Error
	switch {
	case x.Status == http.StatusOK:
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("answer (-recorded +got):\n%s", diff)
		}
		return
	case !errors.As(err, &e):
		t.Fatalf("error %v, want a *queue.Error", err)
	case e.Status != x.Status:
		t.Errorf("status %d of %v, want %d", e.Status, err, x.Status)
	}
	var refusal struct {
		Message string
		Error   any
	}
	if x.RespBody != "" {
		if err := json.Unmarshal([]byte(x.RespBody), &refusal); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(err.Error(), refusal.Message) {
		t.Errorf("error %v does not say %q", err, refusal.Message)
	}
	kind, attempts := map[int]error{204: queue.ErrNoWork, 400: queue.ErrRejected, 404: queue.ErrNotFound, 500: errEnough}[x.Status], 1
	if x.Status == 500 {
		attempts = 3
		if id, _ := refusal.Error.(map[string]any)["incidentId"].(string); id == "" || e.IncidentID != id {
			t.Errorf("incident %q, want %q", e.IncidentID, id)
		}
	}
	if problems, ok := refusal.Error.([]any); ok && e.Pointer != problems[0].(map[string]any)["instanceContext"] {
		t.Errorf("pointer %q of %v", e.Pointer, err)
	}
	if !errors.Is(err, kind) || e.Attempts != attempts || requests != attempts {
		t.Errorf("error %v (%d attempts, %d requests), want %v after %d", err, e.Attempts, requests, kind, attempts)
	}
}

// checkRequest compares our request with the recorded one.
func checkRequest(t *testing.T, x exchange, r *http.Request, body []byte) {
	if r.Method != x.Method || r.RequestURI != x.URL {
		t.Errorf("asked %s %s, recorded %s %s", r.Method, r.RequestURI, x.Method, x.URL)
	}
	if !strings.HasSuffix(x.URL, ".log") && r.Header.Get("Accept") != "application/json" {
		t.Errorf("Accept %q", r.Header.Get("Accept"))
	}
	if len(r.TransferEncoding) > 0 || r.ContentLength != int64(len(body)) {
		t.Errorf("length %d, encoding %v of a body of %d bytes", r.ContentLength, r.TransferEncoding, len(body))
	}
	if got, want := r.Header.Get("Content-Type"), x.ReqHeaders["Content-Type"]; got != want {
		t.Errorf("Content-Type %q, recorded %q", got, want)
	}
	if diff := cmp.Diff(document(t, x.ReqBody), document(t, string(body))); diff != "" {
		t.Errorf("body (-recorded +ours):\n%s", diff)
	}
}

func document(t *testing.T, text string) (v any) {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("body %q: %v", text, err)
	}
	return v
}

// recordedAs reads a recorded body without the help of package schema's decoder.
func recordedAs[T any](t *testing.T, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil && text != "" {
		t.Fatal(err)
	}
	return v
}

// makeCall makes the recorded call, and returns the answer and what was recorded.
func makeCall(t *testing.T, ctx context.Context, base string, x exchange) (got, want any, err error) {
	c, s := client(t, base+"/v1/", options(t)), storage(t, base+"/tasks.taskcluster.net", options(t))
	part := strings.Split(strings.Trim(x.URL, "/"), "/")
	id, last := schema.TaskID(part[min(2, len(part)-1)]), part[len(part)-1]
	if part[0] != "v1" {
		return readCall(t, ctx, s, base, x, part)
	}
	if x.Status == http.StatusOK {
		want = recordedAs[schema.StatusAnswer](t, x.RespBody).Status
	}
	switch {
	case last == "new":
		got, err = c.CreateTask(ctx, recordedAs[schema.Task](t, x.ReqBody))
	case last == "schedule":
		got, err = c.Schedule(ctx, id)
	case last == "status":
		got, err = c.Status(ctx, id)
	case last == "rerun":
		got, err = c.Rerun(ctx, id)
	case last == "completed":
		got, err = c.Completed(ctx, id, recordedAs[schema.CompletedRequest](t, x.ReqBody))
	case last == "claim":
		r := recordedAs[schema.ClaimRequest](t, x.ReqBody)
		want = schema.Claim{ClaimAnswer: recordedAs[schema.ClaimAnswer](t, x.RespBody), Worker: r.Worker, TaskID: id}
		if r.RunID == nil {
			got, err = c.Claim(ctx, id, r.Worker)
		} else {
			got, err = c.Reclaim(ctx, id, *r.RunID, r.Worker)
		}
	case part[1] == "claim-work":
		r, a := recordedAs[schema.ClaimRequest](t, x.ReqBody), recordedAs[schema.ClaimAnswer](t, x.RespBody)
		want = schema.Claim{ClaimAnswer: a, Worker: r.Worker, TaskID: "q9r7nZAHQwmHwv9q6cJiGw"}
		got, err = c.ClaimWork(ctx, part[2], part[3], r.Worker)
	case last == "artifact-urls":
		want = recordedAs[schema.ArtifactURLsAnswer](t, x.RespBody)
		got, err = c.ArtifactURLs(ctx, id, recordedAs[schema.ArtifactURLsRequest](t, x.ReqBody))
	case last == "amqp-connection-string":
		want = recordedAs[schema.AMQPAnswer](t, x.RespBody).URL
		got, err = c.AMQPConnectionString(ctx)
	case last == "define-tasks":
		want = recordedAs[schema.DefineTasksAnswer](t, x.RespBody)
		got, err = c.DefineTasks(ctx, recordedAs[schema.DefineTasksRequest](t, x.ReqBody).TasksRequested)
	default:
		t.Fatalf("no method for %s %s", x.Method, x.URL)
	}
	return got, want, err
}

func readCall(t *testing.T, ctx context.Context, s *queue.Storage, base string, x exchange, part []string) (got, want any, err error) {
	id, last := schema.TaskID(part[1]), part[len(part)-1]
	var run schema.RunID
	if i := slices.Index(part, "runs"); i > 0 {
		n, _ := strconv.Atoi(part[i+1])
		run = schema.RunID(n)
	}
	switch last {
	case "task.json":
		want = recordedAs[schema.Task](t, x.RespBody)
		got, err = s.Task(ctx, id)
	case "resolution.json":
		want = recordedAs[schema.Resolution](t, x.RespBody)
		got, err = s.Resolution(ctx, id)
	case "logs.json":
		want = recordedAs[schema.Logs](t, x.RespBody)
		got, err = s.Logs(ctx, id, run)
	case "result.json":
		want = recordedAs[schema.Result](t, x.RespBody)
		got, err = s.Result(ctx, id, run)
	default:
		o, err := s.Open(ctx, base+x.URL)
		if err != nil {
			return nil, nil, err
		}
		defer o.Close()
		body, err := io.ReadAll(o)
		kind, _, _ := mime.ParseMediaType(o.ContentType)
		return []any{string(body), kind, o.Size}, []any{x.RespBody, "text/plain", int64(len(x.RespBody))}, err
	}
	return got, want, err
}
