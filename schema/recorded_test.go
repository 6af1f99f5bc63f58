package schema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/schema"
)

// exchange is one line of queue-http.jsonl: what a queue of April 2014 was asked, and what it answered.
type exchange struct {
	Label, Method, URL string
	ReqBody, RespBody  string
	Status             int
}

func (e exchange) String() string { return e.Label + ": " + e.Method + " " + schema.Redact(e.URL) }

func readLines[T any](t *testing.T, file string) []T {
	t.Helper()
	data, err := os.ReadFile("testdata/recorded/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	for line := range bytes.Lines(data) {
		var one T
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// documents names the document asked with and the one answered with; "" is none of ours.
func (e exchange) documents() (request, answer string) {
	path, _, _ := strings.Cut(e.URL, "?")
	last := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case strings.HasSuffix(last, ".json"): // of the task storage
		name := strings.TrimSuffix(last, ".json")
		if e.Method == "PUT" {
			return name, ""
		}
		return "", name
	case strings.Contains(path, "/artifacts/"), last == "nope", last == "rig-prov":
		return "", "" // no documents, an unknown route, a list that this package has no use for
	case last == "new":
		return "task", "task-status-response"
	case last == "claim", strings.Contains(path, "/claim-work/"):
		return "task-claim-request", "task-claim-response"
	case last == "artifact-urls":
		return "artifact-url-request", "artifact-url-response"
	case last == "completed":
		return "task-completed-request", "task-status-response"
	case last == "define-tasks":
		return "define-tasks-request", "define-tasks-response"
	case last == "amqp-connection-string":
		return "", "amqp-connection-string-response"
	case last == "status", last == "rerun", last == "schedule":
		return "", "task-status-response"
	}
	return "", ""
}

// The requests that the queue and this package do not agree on, and why.
var (
	tooStrict = map[string]string{
		"artifact-urls no artifacts key": "the queue took a missing member for an empty one",
		"claim chunked":                  "the recorded body is still in chunks",
	}
	tooLenient = map[string]string{
		"claim JSON without content-type": "the body was fine, its content type was missing",
		"claim ct text/plain":             "the body was fine, its content type was another",
		"artifact-urls runId 0":           "the queue numbered runs from 1, the documents say from 0",
		"claim runId 0":                   "as above",
		"completed runId 0":               "as above",
	}
)

func TestRecordedRequests(t *testing.T) {
	accepted, refused := 0, 0
	for _, e := range readLines[exchange](t, "queue-http.jsonl") {
		name, _ := e.documents()
		if name == "" || e.ReqBody == "" {
			continue
		}
		err := schema.Validate(name, e.Label, []byte(e.ReqBody))
		switch {
		case e.Status == 400 && err == nil && tooLenient[e.Label] == "":
			t.Errorf("%s: the queue refused what we accept: %s", e, e.ReqBody)
		case e.Status != 400 && err != nil && tooStrict[e.Label] == "":
			t.Errorf("%s: the queue accepted (%d) what we refuse: %v", e, e.Status, err)
		case e.Status != 400 && err == nil && tooStrict[e.Label] != "",
			e.Status == 400 && err != nil && tooLenient[e.Label] != "":
			t.Errorf("%s: no longer an exception", e)
		}
		if err == nil {
			accepted++
		} else {
			refused++
		}
	}
	if accepted < 30 || refused < 10 {
		t.Errorf("accepted %d and refused %d requests: not all were looked at", accepted, refused)
	}
}

func TestRecordedAnswers(t *testing.T) {
	seen := map[string]int{}
	for _, e := range readLines[exchange](t, "queue-http.jsonl") {
		_, name := e.documents()
		if e.Status >= 400 {
			name = "error-response"
			if !strings.HasPrefix(e.RespBody, "{") {
				if _, err := codecs[name].lenient([]byte(e.RespBody)); err == nil {
					t.Errorf("%s: plain text decodes", e)
				}
				continue
			}
		}
		if name == "" || e.RespBody == "" {
			continue
		}
		seen[name]++
		strict, err := codecs[name].decode([]byte(e.RespBody))
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		lenient, err := codecs[name].lenient([]byte(e.RespBody))
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		if diff := cmp.Diff(strict, lenient); diff != "" {
			t.Errorf("%s: -strict +lenient:\n%s", e, diff)
		}
		again, err := schema.Encode(strict)
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		if diff := cmp.Diff(canonical(t, []byte(e.RespBody)), canonical(t, again)); diff != "" {
			t.Errorf("%s: -recorded +encoded:\n%s", e, diff)
		}
	}
	for _, name := range []string{
		"task", "logs", "result", "resolution", "task-status-response", "task-claim-response", "artifact-url-response",
		"define-tasks-response", "amqp-connection-string-response", "error-response",
	} {
		if seen[name] == 0 {
			t.Errorf("no recorded %s was looked at", name)
		}
	}
}

// canonical makes documents comparable that differ in spaces and in the order of members.
func canonical(t *testing.T, data []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The first queue numbered runs from 1, and its claim answered with the status from before it.
func TestRecordedClaim(t *testing.T) {
	for _, e := range readLines[exchange](t, "queue-http.jsonl") {
		if _, name := e.documents(); name != "task-claim-response" || e.Status != 200 {
			continue
		}
		answer, err := schema.Decode[schema.ClaimAnswer]("", []byte(e.RespBody))
		if err != nil {
			t.Fatal(err)
		}
		if answer.RunID < 1 {
			t.Errorf("%s: run %d", e, answer.RunID)
		}
		if e.Label == "claim" && (answer.Status.State != schema.Pending || answer.Status.TakenUntil.Unix() != 0) {
			t.Errorf("%s: status %+v", e, answer.Status)
		}
		claim := schema.Claim{ClaimAnswer: answer}
		if want := strings.Split(answer.LogsPutURL.Reveal(), "/")[4]; string(claim.Task()) != want {
			t.Errorf("%s: task %s, want %s", e, claim.Task(), want)
		}
	}
}

func TestRecordedMessages(t *testing.T) {
	type message struct{ Exchange, RoutingKey, RawBody string }
	seen := map[string]int{}
	for _, m := range readLines[message](t, "events-amqp.jsonl") {
		name := strings.TrimPrefix(m.Exchange, "queue/v1/") + "-message"
		seen[name]++
		got, err := codecs[name].decode([]byte(m.RawBody))
		if err != nil {
			t.Errorf("%s: %v", m.RoutingKey, err)
			continue
		}
		again, err := schema.Encode(got)
		if err != nil {
			t.Errorf("%s: %v", m.RoutingKey, err)
			continue
		}
		if diff := cmp.Diff(canonical(t, []byte(m.RawBody)), canonical(t, again)); diff != "" {
			t.Errorf("%s: -recorded +encoded:\n%s", m.RoutingKey, diff)
		}
	}
	for _, name := range []string{"task-pending-message", "task-running-message", "task-completed-message"} {
		if seen[name] == 0 {
			t.Errorf("no recorded %s", name)
		}
	}
}
