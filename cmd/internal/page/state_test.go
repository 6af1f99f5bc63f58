package page

import (
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

func TestStates(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	status := func(state schema.TaskState) *schema.TaskStatus { return &schema.TaskStatus{State: state} }
	resolved := func(run schema.RunID, success bool) *schema.Resolution {
		return &schema.Resolution{RunID: run, Success: success}
	}
	before, after := now.Add(-time.Second), now.Add(time.Second)
	for name, row := range map[string]struct {
		evidence
		stored [2]bool // whether run 0 and run 1 have a result.json
		task   State
		runs   [2]State
	}{
		"nothing yet":                      {evidence{deadline: after}, [2]bool{}, Pending, [2]State{Lost, Lost}},
		"queue: pending again":             {evidence{status: status(schema.Pending), ran: true}, [2]bool{}, Pending, [2]State{Lost, Lost}},
		"queue: running":                   {evidence{status: status(schema.Running), ran: true}, [2]bool{}, Running, [2]State{Lost, Running}},
		"queue: running, result stored":    {evidence{status: status(schema.Running), ran: true}, [2]bool{true, true}, Running, [2]State{Superseded, Finishing}},
		"queue: failed":                    {evidence{status: status(schema.Failed), ran: true}, [2]bool{}, Exception, [2]State{Lost, Exception}},
		"queue: failed, result stored":     {evidence{status: status(schema.Failed), ran: true}, [2]bool{false, true}, Exception, [2]State{Lost, Exception}},
		"success":                          {evidence{status: status(schema.Completed), resolution: resolved(1, true), ran: true}, [2]bool{false, true}, Success, [2]State{Lost, Success}},
		"the task failed":                  {evidence{resolution: resolved(1, false), ran: true}, [2]bool{false, true}, Failure, [2]State{Lost, Failure}},
		"a stale worker after the end":     {evidence{resolution: resolved(0, true), ran: true}, [2]bool{true, false}, Success, [2]State{Success, Lost}},
		"a stale worker stored its result": {evidence{resolution: resolved(0, true), ran: true}, [2]bool{true, true}, Success, [2]State{Success, Superseded}},
		"rerun":                            {evidence{status: status(schema.Running), resolution: resolved(0, true), ran: true}, [2]bool{true, false}, Running, [2]State{Success, Running}},
		"no queue, before the deadline":    {evidence{deadline: after, ran: true}, [2]bool{}, Running, [2]State{Lost, Running}},
		"no queue, after the deadline":     {evidence{deadline: before, ran: true}, [2]bool{}, Unresolved, [2]State{Lost, Unresolved}},
		"no queue, no definition":          {evidence{ran: true}, [2]bool{}, Running, [2]State{Lost, Running}},
	} {
		task := row.evidence.task(now)
		if task != row.task {
			t.Errorf("%s: the task is %s, want %s", name, task, row.task)
		}
		for run, want := range row.runs {
			if got := row.evidence.run(schema.RunID(run), run == 1, row.stored[run], task); got != want {
				t.Errorf("%s: run %d is %s, want %s", name, run, got, want)
			}
		}
	}
}

func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"https://example.com/a?b=c&d=e":   "https://example.com/a?b=c&d=e",
		"https://user:pass@example.com/a": "https://<redacted>@example.com/a",
		"http://s/a?X-Amz-Date=1&X-Amz-Signature":     "http://s/a?<redacted>",
		"http://s/a?b=c&Signature=S&d=e end":          "http://s/a?<redacted> end",
		"http://s/a?AWSAccessKeyId=K&Expires=1":       "http://s/a?<redacted>",
		"http://s/log?expires=1&signature=S":          "http://s/log?<redacted>",
		"http://s/?to=http%3A%2F%2Fx%3FSignature%3DS": "http://s/?<redacted>",
		"Signature=S":                "<redacted>",
		"my design=blue, token wise": "my design=blue, token wise",
	} {
		if got := redact(text); got != want {
			t.Errorf("redact(%q) = %q, want %q", text, got, want)
		}
		if linkable(text) && want != text {
			t.Errorf("%q would be a link", text)
		}
	}
	for raw, want := range map[string]bool{
		"https://example.com/a b": true, "http://s/x?y": true,
		"javascript:alert(1)": false, "data:text/html,x": false, "file:///etc/passwd": false, "//example.com/": false, "http://": false, "x": false,
		"http://s/x?Signature=S": false, "http://u@s/": false,
	} {
		if got := linkable(raw); got != want {
			t.Errorf("linkable(%q) = %v", raw, got)
		}
	}
}

// A document keeps its order and its spelling, whatever is redacted in it, and even if it is broken.
func TestReadable(t *testing.T) {
	for document, want := range map[string]string{
		`{"b":1.50,"a":"\u00fc\/"}`:                             "{\n  \"b\": 1.50,\n  \"a\": \"\\u00fc\\/\"\n}",
		`["http:\/\/s\/x?Signature\u003dSECRET","a\\","\"<b>"]`: "[\n  \"http://s/x?<redacted>\",\n  \"a\\\\\",\n  \"\\\"<b>\"\n]",
		`{"http://s/?token=SECRET":{}}`:                         "{\n  \"http://s/?<redacted>\": {}\n}",
		`{"broken":"http:\/\/s\/x?Signature\u003dSECRET"`:       `{"broken":"http://s/x?<redacted>"`,
		"\xff": "\uFFFD",
	} {
		if got := readable([]byte(document)); got != want {
			t.Errorf("%s is shown as %q, want %q", document, got, want)
		}
	}
}
