package schema_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/taskcluster/upload-agent/schema"
)

// codec is the public API of one document type, without its type parameter.
type codec struct {
	example schema.Document
	decode  func(data []byte) (schema.Document, error)
	lenient func(data []byte) (schema.Document, error)
}

func of[T schema.Document](example T) codec {
	return codec{
		example: example,
		decode:  func(data []byte) (schema.Document, error) { return schema.Decode[T]("test.json", data) },
		lenient: func(data []byte) (schema.Document, error) { return schema.DecodeLenient[T]("test.json", data) },
	}
}

const (
	taskID = "YpsYjqE5Q_-NIvzSmpNnFA"
	putURL = "https://tasks.example.com/" + taskID + "/runs/0/logs.json?AWSAccessKeyId=AKID&Expires=1&Signature=c2VjcmV0"
	getURL = "https://tasks.example.com/" + taskID + "/runs/0/"
)

var (
	noon   = time.Date(2014, 4, 26, 12, 0, 0, 7e6, time.UTC)
	worker = schema.Worker{WorkerGroup: "us-west-2c", WorkerID: "i-0_f"}
	run    = schema.RunID(3)
	status = schema.TaskStatus{
		TaskID: taskID, ProvisionerID: "aws-provisioner", WorkerType: "b2g-test",
		Runs:  []schema.Run{{RunID: 0, Worker: worker}, {RunID: 1000, Worker: worker}},
		State: schema.Running, Reason: schema.ReasonNone, Routing: "try.b2g", Timeout: 30, Retries: 999, Priority: -2.5,
		Created: noon, Deadline: noon.Add(time.Hour), TakenUntil: noon.Add(time.Minute),
	}
	answer = schema.ClaimAnswer{
		Status: status, RunID: 3, LogsPutURL: schema.NewSignedURL(putURL), ResultPutURL: schema.NewSignedURL(putURL + "&x=<>"),
	}
)

// codecs has an example of every document, with every member set.
var codecs = map[string]codec{
	"task": of(schema.Task{
		Version: schema.Version, ProvisionerID: "aws-provisioner", WorkerType: "b2g-test", Routing: "", Retries: 0, Timeout: 1200,
		Priority: 5, Created: noon, Deadline: noon.Add(time.Hour),
		Payload: map[string]any{"image": "ubuntu", "command": []any{"echo", "a<b>&c\u2028\x00"}, "big": json.Number("12345678901234567890.50"), "none": nil},
		Metadata: schema.TaskMetadata{
			Name: "Näme", Description: "what\nfor", Owner: "jonas@example.com", Source: "https://example.com/task.yml#L1", TaskGraphID: taskID,
		},
		Tags: map[string]string{"purpose": "test", "": ""},
	}),
	"task-status": of(status),
	"logs":        of(schema.Logs{Version: schema.Version, Logs: map[string]string{"terminal.log": getURL + "terminal.log"}}),
	"result": of(schema.Result{
		Version: schema.Version, Artifacts: map[string]string{"public/a b.zip": getURL + "artifacts/public/a%20b.zip"},
		Statistics: schema.Statistics{Started: noon, Finished: noon.Add(time.Second)},
		Metadata:   schema.ResultMetadata{Worker: worker, Success: true},
		Result:     map[string]any{"exitCode": json.Number("0"), "missingArtifacts": map[string]any{}},
	}),
	"resolution": of(schema.Resolution{
		Version: schema.Version, Status: status, RunID: 3, Success: true, ResultURL: getURL + "result.json", LogsURL: getURL + "logs.json", Worker: worker,
	}),
	"claim":               of(schema.Claim{ClaimAnswer: answer, Worker: worker, TaskID: taskID}),
	"task-claim-request":  of(schema.ClaimRequest{Worker: worker, RunID: &run}),
	"task-claim-response": of(answer),
	"artifact-url-request": of(schema.ArtifactURLsRequest{
		RunID: 3, Worker: worker, Artifacts: map[string]schema.ArtifactRequest{
			"a.txt": {ContentType: "text/plain; charset=utf-8"}, "b": {},
			"big": {Multipart: &schema.MultipartRequest{Size: 1 << 40, ContentEncoding: "gzip", UploadID: "1.2/3", FirstPart: 10_000}},
			"new": {Multipart: &schema.MultipartRequest{Size: 1}},
		},
	}),
	"artifact-url-response": of(schema.ArtifactURLsAnswer{
		Status: status, Expires: noon, Artifacts: map[string]schema.ArtifactURLs{
			"a.txt": {ArtifactPutURL: schema.NewSignedURL(putURL), ArtifactURL: getURL + "a.txt", ContentType: "text/plain"},
			"b":     {ArtifactPutURL: schema.NewSignedURL(putURL + "2"), ArtifactURL: getURL + "b"},
			"big": {ArtifactPutURL: schema.NewSignedURL(putURL + "3"), ArtifactURL: getURL + "big", Multipart: &schema.MultipartURLs{
				UploadID: "1.2/3", PartSize: 5 << 20, FirstPart: 7, CompleteURL: schema.NewSignedURL(putURL + "&c"), AbortURL: schema.NewSignedURL(putURL + "&a"),
				PartPutURLs: []schema.SignedURL{schema.NewSignedURL(putURL + "&partNumber=7"), schema.NewSignedURL(putURL + "&partNumber=8")},
			}},
		},
		Multipart: &schema.MultipartOffer{From: 64 << 20},
	}),
	"task-completed-request": of(schema.CompletedRequest{RunID: 3, Success: true, Worker: worker}),
	"task-status-response":   of(schema.StatusAnswer{Status: status}),
	"define-tasks-request":   of(schema.DefineTasksRequest{TasksRequested: 2}),
	"define-tasks-response": of(schema.DefineTasksAnswer{
		Expires: noon, Tasks: map[schema.TaskID]schema.TaskPutURLs{taskID: {TaskPutURL: schema.NewSignedURL(putURL)}},
	}),
	"amqp-connection-string-response": of(schema.AMQPAnswer{URL: schema.NewSignedURL("amqp://guest:guest@localhost:5672")}),
	"error-response":                  of(schema.ErrorAnswer{Message: "no", Error: []any{map[string]any{"n": json.Number("1e2")}}}),
	"task-pending-message":            of(schema.PendingMessage{Version: schema.Version, Status: status}),
	"task-running-message": of(schema.RunningMessage{
		Version: schema.Version, Status: status, RunID: 3, LogsURL: getURL + "logs.json", Worker: worker,
	}),
	"task-completed-message": of(schema.CompletedMessage{
		Version: schema.Version, Status: status, RunID: 3, ResultURL: getURL + "result.json", LogsURL: getURL + "logs.json", Worker: worker,
	}),
	"task-failed-message": of(schema.FailedMessage{
		Version: schema.Version, Status: status, RunID: &run, WorkerGroup: worker.WorkerGroup, WorkerID: worker.WorkerID,
	}),
	"finish": of(schema.Finish{Success: true, Result: map[string]any{"exitCode": json.Number("0")}}),
	"status": of(schema.Status{
		Version: schema.Version, Phase: schema.PhaseRunning, Reason: "why", Updated: noon, TaskID: taskID, RunID: &run,
		Logs: map[string]int64{"terminal.log": 1 << 40}, Stored: map[string]int64{"a b": 0}, Waiting: 2,
		Missing: map[string]string{"c": "it is a folder"}, Problems: map[string]string{"logs/x": "it is a FIFO"},
	}),
	"log-index": of(schema.LogIndex{
		Version: schema.Version, Size: 16404, PollAfterMs: 1000, Tail: []byte("\x00 tail\xff"),
		Chunks: []schema.Chunk{
			{Offset: 0, Size: 16384, URL: getURL + "0-16384", Encoding: "identity"},
			{Offset: 16384, Size: 13, URL: getURL + "16384-13", Encoding: "gzip"},
		},
	}),
	"agent-status": of(schema.AgentStatus{
		Version: schema.Version, Agent: "v1.0.0", State: schema.AgentReady, Healthy: true, Started: noon,
		Runs:   []schema.AgentRun{{Name: "a", TaskID: taskID, RunID: &run, Phase: "running", TakenUntil: noon, LogBytes: 5}, {Name: "b", Phase: "refused", Problem: "no claim"}},
		Totals: schema.AgentTotals{RunsOpen: 1},
	}),
	"config": of(schema.Config{
		ConfigLog: schema.ConfigLog{LogLevel: "info"}, Queue: getURL + "v1", Grace: "1m30s", LogLimit: "1.5 GiB", Exclude: []string{"*.tmp"},
		Commands: schema.ConfigCommands{Tail: schema.ConfigTail{Follow: true, Lines: 10}, Exec: schema.ConfigExec{ConfigRun: schema.ConfigRun{Symlinks: "skip"}}},
	}),
}

func TestEveryDocumentHasAnExample(t *testing.T) {
	for _, name := range schema.Names() {
		if _, ok := codecs[name]; !ok {
			t.Errorf("%s has no example", name)
		}
	}
	for name, c := range codecs {
		if got := c.example.SchemaName(); got != name {
			t.Errorf("SchemaName of %T = %q, want %q", c.example, got, name)
		}
	}
	if len(codecs) != len(schema.Names()) {
		t.Errorf("%d examples for %d documents", len(codecs), len(schema.Names()))
	}
}

func TestRoundTrip(t *testing.T) {
	for name, c := range codecs {
		t.Run(name, func(t *testing.T) {
			data, err := schema.Encode(c.example)
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(name, "", data); err != nil {
				t.Fatal(err)
			}
			for mode, decode := range map[string]func([]byte) (schema.Document, error){"strict": c.decode, "lenient": c.lenient} {
				got, err := decode(data)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.example, got); diff != "" {
					t.Errorf("%s: -want +got:\n%s", mode, diff)
				}
			}
		})
	}
}

// Documents without their optional members are fine, and nothing else may be left out.
func TestEveryOtherMemberIsRequired(t *testing.T) {
	optional := map[string]bool{
		"task/metadata/description": true, "task/metadata/taskGraphId": true, "claim/taskId": true, "task-claim-request/runId": true,
		"finish/result": true, "status/reason": true, "status/taskId": true, "status/runId": true,
		"error-response/error": true, "task-failed-message/runId": true, "task-failed-message/workerGroup": true, "task-failed-message/workerId": true,
		"artifact-url-response/multipart": true,
	}
	for name, c := range codecs {
		data, err := schema.Encode(c.example)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		var drop func(in map[string]any, pointer string)
		drop = func(in map[string]any, pointer string) {
			for member, v := range in {
				at := pointer + "/" + member
				if strings.HasSuffix(pointer, "/payload") || strings.HasSuffix(at, "/result/exitCode") || strings.HasPrefix(at, "status/") && strings.Count(at, "/") > 1 || strings.Contains(at, "missing") ||
					strings.HasPrefix(at, "error-response/error/") || strings.Contains(at, "/tags/") || strings.HasPrefix(at, "logs/logs/") ||
					strings.Contains(at, ".zip") || strings.HasSuffix(pointer, "/artifacts") || strings.HasSuffix(pointer, "/tasks") {
					continue // free-form, or a map
				}
				delete(in, member)
				changed, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				if err := schema.Validate(name, "", changed); (err == nil) != (optional[at] || name == "config") {
					t.Errorf("without %s: %v", at, err)
				}
				in[member] = v
				if inner, ok := v.(map[string]any); ok {
					drop(inner, at)
				}
			}
		}
		drop(doc, name)
	}
}

func TestDecodeLenientSkipsUnknownMembers(t *testing.T) {
	for name, c := range codecs {
		data, err := schema.Encode(c.example)
		if err != nil {
			t.Fatal(err)
		}
		grown := []byte(`{"newMember":{"a":[1]},"RunId":7,"STATUS":null,` + strings.ReplaceAll(string(data[1:]), `"state":`, `"State":1,"state":`))
		got, err := c.lenient(grown)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.example, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if _, err := c.decode(grown); err == nil {
			t.Errorf("%s: the strict decoder accepts unknown members", name)
		}
		for what, bad := range map[string]string{
			"a duplicate": `{"x":1,"x":1,` + string(data[1:]), "trailing data": string(data) + "{}", "nothing": "", "another type": "[]",
		} {
			if _, err := c.lenient([]byte(bad)); err == nil {
				t.Errorf("%s: the lenient decoder accepts %s", name, what)
			}
		}
	}
}

func TestDecodeTimes(t *testing.T) {
	data := `{"version":"0.2.0","artifacts":{},"statistics":{"started":"2014-04-26T12:00:00+00:00","finished":"2014-04-26T12:00:00.123987654Z"},
		"metadata":{"workerGroup":"g","workerId":"w","success":true},"result":{}}`
	got, err := schema.Decode[schema.Result]("", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	want := schema.Statistics{
		Started:  time.Date(2014, 4, 26, 12, 0, 0, 0, time.UTC),
		Finished: time.Date(2014, 4, 26, 12, 0, 0, 123e6, time.UTC),
	}
	if got.Statistics != want {
		t.Errorf("got %v, want %v", got.Statistics, want)
	}
}

func TestDecodeIntoPointer(t *testing.T) {
	got, err := schema.Decode[*schema.DefineTasksRequest]("", []byte(`{"tasksRequested":1}`))
	if err != nil || got.TasksRequested != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := schema.Decode[*schema.DefineTasksRequest]("", []byte(`{}`)); got != nil || err == nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestEncode(t *testing.T) {
	zone := time.FixedZone("", 3600)
	got, err := schema.Encode(schema.Result{
		Version: schema.Version, Metadata: schema.ResultMetadata{Worker: worker},
		Statistics: schema.Statistics{Started: noon.In(zone), Finished: noon.Add(999 * time.Microsecond)},
		Result:     map[string]any{"a": "<&>", "b": schema.NewSignedURL(putURL), "c": 1.5, "d": []string{"x"}, "e": map[string]int{"y": 1}, "f": []any{nil, true, noon}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":"0.2.0","artifacts":{},"statistics":{"started":"2014-04-26T12:00:00.007Z","finished":"2014-04-26T12:00:00.007Z"},` +
		`"metadata":{"workerGroup":"us-west-2c","workerId":"i-0_f","success":false},` +
		`"result":{"a":"<&>","b":"https://tasks.example.com/YpsYjqE5Q_-NIvzSmpNnFA/runs/0/logs.json?\u003credacted\u003e",` +
		`"c":1.5,"d":["x"],"e":{"y":1},"f":[null,true,"2014-04-26T12:00:00.007Z"]}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, err = schema.Encode(&schema.LogIndex{Version: schema.Version, Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"version":"0.2.0","size":0,"complete":true,"pollAfterMs":0,"chunks":[],"tail":""}`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, err = schema.Encode(schema.ClaimAnswer{Status: status, LogsPutURL: schema.NewSignedURL(putURL), ResultPutURL: schema.NewSignedURL(putURL)})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(got), `"`+putURL+`"`); n != 2 {
		t.Errorf("want two signed URLs as they are, got %d in %s", n, got)
	}
}

type stranger struct{}

func (stranger) SchemaName() string { return "task" }

func TestUnknownDocuments(t *testing.T) {
	_, errSchema := schema.JSONSchema("nope")
	_, errDecode := schema.Decode[stranger]("", []byte("{}"))
	_, errNone := schema.Decode[schema.Document]("", []byte("{}"))
	_, errEncode := schema.Encode(stranger{})
	_, errNil := schema.Encode(nil)
	_, errNilTask := schema.Encode((*schema.Task)(nil))
	for what, err := range map[string]error{
		"JSONSchema": errSchema, "Validate": schema.Validate("nope", "", []byte("{}")), "Decode": errDecode,
		"Decode of no type": errNone, "Encode": errEncode, "Encode of nil": errNil, "Encode of a nil task": errNilTask,
	} {
		if _, ok := err.(*schema.UnknownError); !ok || !strings.Contains(err.Error(), "task-claim-request, task-claim-response") {
			t.Errorf("%s: got %v, want an UnknownError that lists the names", what, err)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	deep := map[string]any{}
	deep["in"] = deep
	result := func(change func(*schema.Result)) schema.Result {
		r := codecs["result"].example.(schema.Result)
		change(&r)
		return r
	}
	index := func(change func(*schema.LogIndex)) schema.LogIndex {
		i := codecs["log-index"].example.(schema.LogIndex)
		change(&i)
		return i
	}
	for _, test := range []struct {
		doc  schema.Document
		want string
	}{
		{schema.CompletedRequest{RunID: 1001, Worker: worker}, `task-completed-request: /runId: want an integer from 0 to 1000, got 1001`},
		{schema.CompletedRequest{RunID: -1}, `task-completed-request: /runId: want an integer from 0 to 1000, got -1 (and 2 more problems)`},
		{schema.StatusAnswer{}, `task-status-response: /status/taskId: want a task id of 22 characters from A-Z a-z 0-9 _ -, got "" (and 5 more problems)`},
		{schema.AMQPAnswer{}, `amqp-connection-string-response: /url: want a signed URL: absolute, with its scheme, got a string of 0 characters`},
		{result(func(r *schema.Result) { r.Result = map[string]any{"a": []any{"\xff"}} }), `result: /result/a/0: want UTF-8 text, got a string with other bytes`},
		{result(func(r *schema.Result) { r.Result = map[string]any{"\xff": 1} }), `result: /result/\xff: want UTF-8 text, got a string with other bytes`},
		{result(func(r *schema.Result) { r.Result = map[string]any{"a/~": func() {}} }), `result: /result/a~1~0: want a value that JSON can hold, got a Go value of type func()`},
		{result(func(r *schema.Result) { r.Result = map[string]any{"a": math.NaN()} }), `result: /result/a: want a value that JSON can hold, got a Go value of type float64`},
		{result(func(r *schema.Result) { r.Result = map[string]any{"a": json.Number("1e999")} }), `result: /result/a: want a number that fits into 64 bits of floating point, got 1e999`},
		{result(func(r *schema.Result) { r.Result = deep }), `result: /result` + strings.Repeat("/in", 99) + `: want at most 100 levels of arrays and objects, got one more`},
		{result(func(r *schema.Result) { r.Artifacts = map[string]string{"a": ""} }), `result: /artifacts/a: want an absolute URL, got ""`},
		{result(func(r *schema.Result) { r.Statistics.Started = time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC) }), `result: /statistics/started: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "12345-01-01T00:00:00.000Z"`},
		{index(func(i *schema.LogIndex) { i.Size++ }), `log-index: /size: want 16404, the size of all chunks and of the tail, got 16405`},
		{index(func(i *schema.LogIndex) { i.PollAfterMs = 0 }), `log-index: /pollAfterMs: want more than 0 as long as the log has not ended, got 0`},
		{index(func(i *schema.LogIndex) { i.Tail = make([]byte, 16385); i.Size = 16397 + 16385 }), `log-index: /tail: want at most 16384 bytes in base64, got 16385`},
		{index(func(i *schema.LogIndex) { i.Tail = make([]byte, 20000) }), `log-index: /tail: want at most 16384 bytes in base64, got "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA…" (26668 characters)`},
	} {
		data, err := schema.Encode(test.doc)
		if err == nil || data != nil {
			t.Errorf("want %s, got %s", test.want, data)
			continue
		}
		if _, ok := err.(*schema.Error); !ok || err.Error() != test.want {
			t.Errorf("got  %T %v\nwant %s", err, err, test.want)
		}
	}
}

func TestLogIndexHoldsAFullTail(t *testing.T) {
	want := schema.LogIndex{Version: schema.Version, Size: 16384, PollAfterMs: 1, Tail: make([]byte, 16384)}
	data, err := schema.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := schema.Decode[schema.LogIndex]("", data)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestDecodedContainersAreNeverNil(t *testing.T) {
	index, err := schema.Decode[schema.LogIndex]("", []byte(`{"version":"0.2.0","size":0,"complete":true,"pollAfterMs":0,"chunks":[],"tail":""}`))
	if err != nil || index.Chunks == nil || index.Tail == nil {
		t.Errorf("got %#v, %v", index, err)
	}
	logs, err := schema.Decode[schema.Logs]("", []byte(`{"version":"0.2.0","logs":{}}`))
	if err != nil || logs.Logs == nil {
		t.Errorf("got %#v, %v", logs, err)
	}
}

func TestNoDocumentExportsAnotherPackagesType(t *testing.T) {
	for name, c := range codecs {
		for m := range reflect.TypeOf(c.example).Methods() {
			if m.Name != "SchemaName" && m.Name != "Task" {
				t.Errorf("%s has the method %s", name, m.Name)
			}
		}
	}
}
