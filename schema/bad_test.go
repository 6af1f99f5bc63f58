package schema_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/schema"
)

// One good document of each kind that the table below spoils.
const (
	goodTask = `{
  "version": "0.2.0",
  "provisionerId": "aws",
  "workerType": "b2g",
  "routing": "a.b",
  "retries": 2,
  "timeout": 60,
  "priority": 1.5,
  "created": "2014-04-26T12:00:00.000Z",
  "deadline": "2014-04-26T13:00:00Z",
  "payload": {"command": ["true"]},
  "metadata": {
    "name": "n",
    "description": "d",
    "owner": "a@example.com",
    "source": "http://example.com/src"
  },
  "tags": {"k": "v"}
}
`
	goodClaim = `{
  "status": {
    "taskId": "YpsYjqE5Q_-NIvzSmpNnFA",
    "provisionerId": "aws",
    "workerType": "b2g",
    "runs": [
      {"runId": 1, "workerGroup": "g", "workerId": "w"}
    ],
    "state": "running",
    "reason": "none",
    "routing": "",
    "timeout": 60,
    "retries": 1,
    "priority": 1,
    "created": "2014-04-26T12:00:00.000Z",
    "deadline": "2014-04-26T13:00:00.000Z",
    "takenUntil": "2014-04-26T12:01:00.000Z"
  },
  "runId": 1,
  "logsPutUrl": "https://s3.example.com/logs.json?Signature=abc",
  "resultPutUrl": "https://s3.example.com/result.json?Signature=abc",
  "workerGroup": "g",
  "workerId": "w"
}
`
	goodIndex = `{
  "version": "0.2.0",
  "size": 25,
  "complete": false,
  "pollAfterMs": 1000,
  "chunks": [
    {"offset": 0, "size": 10, "url": "http://e.com/0", "encoding": "identity"},
    {"offset": 10, "size": 10, "url": "http://e.com/10", "encoding": "gzip"}
  ],
  "tail": "aGVsbG8="
}
`
)

var good = map[string]string{
	"task": goodTask, "claim": goodClaim, "log-index": goodIndex,
	"logs":                 `{"version": "0.2.0", "logs": {"terminal.log": "http://e.com/l"}}`,
	"result":               `{"version": "0.2.0", "artifacts": {}, "statistics": {"started": "2014-04-26T12:00:00Z", "finished": "2014-04-26T12:00:00Z"}, "metadata": {"workerGroup": "g", "workerId": "w", "success": true}, "result": {"exitCode": 0}}`,
	"artifact-url-request": `{"runId": 1, "workerGroup": "g", "workerId": "w", "artifacts": {"a": {"contentType": "text/plain"}}}`,
	"define-tasks-request": `{"tasksRequested": 1}`,
	"define-tasks-response": `{"expires": "2014-04-26T12:00:00Z",
  "tasks": {"YpsYjqE5Q_-NIvzSmpNnFA": {"taskPutUrl": "http://e.com/t?Signature=abc"}}}`,
	"task-completed-request": `{"runId": 0, "success": true, "workerGroup": "g", "workerId": "w"}`,
	"error-response":         `{"message": "m", "error": {"a": [1]}}`,
}

func TestGoodDocuments(t *testing.T) {
	for name, text := range good {
		if err := schema.Validate(name, "", []byte(text)); err != nil {
			t.Error(err)
		}
	}
}

// Each row replaces old by new in the good document and gives the whole text of the error.
// An empty old replaces the whole document.
var bad = []struct{ doc, old, new, want string }{
	// What is no text of ours at all.
	{"logs", "", "", "doc.json: want a JSON object, got nothing (line 1)"},
	{"logs", "", " \n\t ", "doc.json: want a JSON object, got nothing (line 2)"},
	{"logs", "", "\xef\xbb\xbf{}", "doc.json: want UTF-8 text without a byte order mark, got a byte order mark (line 1)"},
	{"logs", "", "\xff\xfe{\x00", "doc.json: want UTF-8 text, got UTF-16 (line 1)"},
	{"logs", "", "\xfe\xff\x00{", "doc.json: want UTF-8 text, got UTF-16 (line 1)"},
	{"logs", "", "{\x00}\x00", "doc.json: want UTF-8 text, got UTF-16 (line 1)"},
	{"logs", "terminal", "\x00", "doc.json: want UTF-8 text, got a NUL byte (line 1)"},
	{"logs", "terminal", "\xff", "doc.json: want UTF-8 text, got the byte 0xff (line 1)"},
	{"logs", "terminal", "\xed\xa0\x80", "doc.json: want UTF-8 text, got the byte 0xed (line 1)"},
	// What is no JSON.
	{"logs", "", "{", "doc.json: want a member name in double quotes, got the end of the document (line 1)"},
	{"logs", "", `{"version"`, `doc.json: want ":" after a member name, got the end of the document (line 1)`},
	{"logs", "", `{"version":`, "doc.json: /version: want a JSON value, got the end of the document (line 1)"},
	{"logs", "", `{"version": "0.2.0"`, `doc.json: want "," or "}" after a member, got the end of the document (line 1)`},
	{"logs", "", `{"version": "0.2.0",`, "doc.json: want a member name in double quotes, got the end of the document (line 1)"},
	{"logs", "", `{"version": "0.2.0",}`, "doc.json: want a member name in double quotes, got '}' (line 1)"},
	{"logs", "", "{version: 1}", "doc.json: want a member name in double quotes, got 'v' (line 1)"},
	{"logs", "", "{'version': 1}", `doc.json: want a member name in double quotes, got '\'' (line 1)`},
	{"logs", "", `{"version" "0.2.0"}`, `doc.json: want ":" after a member name, got '"' (line 1)`},
	{"logs", "", `{"version": "0.2.0" "logs": {}}`, `doc.json: want "," or "}" after a member, got '"' (line 1)`},
	{"logs", "", `{"version": "0.2.0`, "doc.json: /version: want the closing quote of a string, got the end of the document (line 1)"},
	{"logs", "", "{\"version\": \"a\nb\"}", `doc.json: /version: want no control character inside a string, got '\n' (line 1)`},
	{"logs", "", `{"version": "\q"}`, "doc.json: /version: want an escape sequence of JSON, got another (line 1)"},
	{"logs", "", `{"version": "\u12"}`, "doc.json: /version: want an escape sequence of JSON, got another (line 1)"},
	{"logs", "", `{"version": "\ud800"}`, `doc.json: /version: want both halves of a surrogate pair, got \ud800 alone (line 1)`},
	{"logs", "", `{"version": "\ud800\u0041"}`, `doc.json: /version: want both halves of a surrogate pair, got \ud800 alone (line 1)`},
	{"logs", "", `{"version": "\udc00\ud800"}`, `doc.json: /version: want both halves of a surrogate pair, got \udc00 alone (line 1)`},
	{"logs", "", `{"ver\udead": 1}`, `doc.json: want both halves of a surrogate pair, got \udead alone (line 1)`},
	{"logs", "", `{"logs": [1 2]}`, `doc.json: /logs: want "," or "]" after an item, got '2' (line 1)`},
	{"logs", "", `{"logs": [1,]}`, "doc.json: /logs/1: want a JSON value, got ']' (line 1)"},
	{"logs", "", `{"logs": [`, "doc.json: /logs/0: want a JSON value, got the end of the document (line 1)"},
	{"logs", "", `{"logs": True}`, "doc.json: /logs: want a JSON value, got 'T' (line 1)"},
	{"logs", "", `{"logs": nul}`, "doc.json: /logs: want a JSON value, got 'n' (line 1)"},
	{"logs", "", `{"logs": NaN}`, "doc.json: /logs: want a JSON value, got 'N' (line 1)"},
	{"logs", "", "{\"logs\": // no\n1}", "doc.json: /logs: want a JSON value, got '/' (line 1)"},
	{"logs", "", `{"logs": 01}`, "doc.json: /logs: want no zero in front of a number, got '1' (line 1)"},
	{"logs", "", `{"logs": +1}`, "doc.json: /logs: want a JSON value, got '+' (line 1)"},
	{"logs", "", `{"logs": -}`, "doc.json: /logs: want a digit, got '}' (line 1)"},
	{"logs", "", `{"logs": .5}`, "doc.json: /logs: want a JSON value, got '.' (line 1)"},
	{"logs", "", `{"logs": 1.}`, "doc.json: /logs: want a digit after the point, got '}' (line 1)"},
	{"logs", "", `{"logs": 1e}`, "doc.json: /logs: want a digit in the exponent, got '}' (line 1)"},
	{"logs", "", `{"logs": 0x10}`, `doc.json: want "," or "}" after a member, got 'x' (line 1)`},
	{"logs", "", `{"logs": -1e400}`, "doc.json: /logs: want a number that fits into 64 bits of floating point, got -1e400 (line 1)"},
	{"logs", "", `{"logs": 1e-5000}`, "doc.json: /logs: want a number that fits into 64 bits of floating point, got 1e-5000 (line 1)"},
	{"logs", "", `{"logs": 1e99999999999999999999}`, "doc.json: /logs: want a number that fits into 64 bits of floating point, got 1e99999999999999999999 (line 1)"},
	{"logs", "", "[]", "doc.json: want an object, got an array (line 1)"},
	{"logs", "", "null", "doc.json: want an object, got null (line 1)"},
	{"logs", "", `"logs"`, `doc.json: want an object, got "logs" (line 1)`},
	{"logs", "", "1", "doc.json: want an object, got 1 (line 1)"},
	{"logs", "", "<!DOCTYPE html>", "doc.json: want a JSON value, got '<' (line 1)"},
	{"logs", "", "SyntaxError: Unexpected token b", "doc.json: want a JSON value, got 'S' (line 1)"},
	{"logs", "}}", "}} x", "doc.json: want the end of the document, got 'x' (line 1)"},
	{"logs", "}}", "}}\n\n{}", "doc.json: want the end of the document, got '{' (line 3)"},
	{"logs", "}}", "}}}", "doc.json: want the end of the document, got '}' (line 1)"},
	// A member twice, at any depth.
	{"logs", `"logs": `, `"version": "0.2.0", "logs": `, "doc.json: /version: want each member once, got this one again (line 1)"},
	{"logs", `{"terminal.log"`, `{"terminal\u002elog": "http://e.com/", "terminal.log"`, "doc.json: /logs/terminal.log: want each member once, got this one again (line 1)"},
	{"result", `"exitCode": 0`, `"a": [0, {"b": 1, "b": 1}]`, "doc.json: /result/a/1/b: want each member once, got this one again (line 1)"},
	{"claim", "\"workerId\": \"w\"\n}", "\"workerId\": \"w\",\n  \"runId\": 1\n}", "doc.json: /runId: want each member once, got this one again (line 24)"},
	// Members that are missing, unknown, or written otherwise.
	{"logs", "", "{}", "doc.json: /logs: want an object, got no such member (line 1) (and 1 more problem)"},
	{"claim", "  \"runId\": 1,\n", "", "doc.json: /runId: want an integer from 0 to 1000, got no such member (line 1)"},
	{"claim", "    \"state\": \"running\",\n", "", `doc.json: /status/state: want "pending", "running", "completed" or "failed", got no such member (line 2)`},
	{"claim", "\"runId\": 1,\n", "\"RunId\": 1,\n", "doc.json: /runId: want an integer from 0 to 1000, got no such member (line 1) (and 1 more problem)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": 1, \"RUNID\": 1,\n", `doc.json: /RUNID: want no unknown member (perhaps "runId" was meant), got "RUNID" (line 19)`},
	{"claim", `"logsPutUrl"`, `"logPutURL"`, "doc.json: /logsPutUrl: want a signed URL: absolute, with its scheme, got no such member (line 1) (and 1 more problem)"},
	{"claim", `"workerId": "w"}`, `"workerId": "w", "colour": "red"}`, `doc.json: /status/runs/0/colour: want no unknown member, got "colour" (line 7)`},
	{"task", `"name": "n"`, `"name": "n", "a/b~c": 1`, `doc.json: /metadata/a~1b~0c: want no unknown member, got "a/b~c" (line 13)`},
	{"task", `"owner"`, `"ovner"`, "doc.json: /metadata/owner: want an e-mail address of at most 255 characters, got no such member (line 12) (and 1 more problem)"},
	{"artifact-url-request", `"text/plain"`, `"text/plain", "size": 3`, `doc.json: /artifacts/a/size: want no unknown member, got "size" (line 1)`},
	{"artifact-url-request", `"text/plain"`, `"text/plain", "multipart": {}`, `doc.json: /artifacts/a/multipart/size: want an integer of at least 1, got no such member (line 1)`},
	{"artifact-url-request", `"text/plain"`, `"text/plain", "multipart": {"size": 1, "firstPart": 10001}`, `doc.json: /artifacts/a/multipart/firstPart: want an integer from 1 to 10000, got 10001 (line 1)`},
	{"artifact-url-request", `"contentType": "text/plain"`, "", "doc.json: /artifacts/a/contentType: want a string, got no such member (line 1)"},
	{"artifact-url-request", `, "artifacts": {"a": {"contentType": "text/plain"}}`, "", "doc.json: /artifacts: want an object, got no such member (line 1)"},
	{"define-tasks-response", `"YpsYjqE5Q_-NIvzSmpNnFA"`, `"short"`, `doc.json: /tasks/short: want a task id of 22 characters from A-Z a-z 0-9 _ - as name, got "short" (line 2)`},
	{"define-tasks-response", `"taskPutUrl"`, `"putUrl"`, "doc.json: /tasks/YpsYjqE5Q_-NIvzSmpNnFA/taskPutUrl: want a signed URL: absolute, with its scheme, got no such member (line 2) (and 1 more problem)"},
	{"logs", `"logs": {`, `"https://e.com/?Signature=s3cret": 1, "logs": {`, `doc.json: /https:~1~1e.com~1?<redacted>: want no unknown member, got "https://e.com/?<redacted>" (line 1)`},
	// Values of the wrong type.
	{"claim", "\"runId\": 1,\n", "\"runId\": \"1\",\n", `doc.json: /runId: want an integer from 0 to 1000, got "1" (line 19)`},
	{"claim", "\"runId\": 1,\n", "\"runId\": null,\n", "doc.json: /runId: want an integer from 0 to 1000, got null (line 19)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": true,\n", "doc.json: /runId: want an integer from 0 to 1000, got true (line 19)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": 1.0,\n", "doc.json: /runId: want an integer from 0 to 1000, in plain digits, got 1.0 (line 19)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": 1e2,\n", "doc.json: /runId: want an integer from 0 to 1000, in plain digits, got 1e2 (line 19)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": 1.5,\n", "doc.json: /runId: want an integer from 0 to 1000, got 1.5 (line 19)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": 1e400,\n", "doc.json: /runId: want a number that fits into 64 bits of floating point, got 1e400 (line 19)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": [1],\n", "doc.json: /runId: want an integer from 0 to 1000, got an array (line 19)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": {\"a\": 1},\n", "doc.json: /runId: want an integer from 0 to 1000, got an object (line 19)"},
	{"claim", "\"runs\": [\n      {\"runId\": 1, \"workerGroup\": \"g\", \"workerId\": \"w\"}\n    ]", `"runs": {}`, "doc.json: /status/runs: want an array, got an object (line 6)"},
	{"claim", `{"runId": 1, "workerGroup": "g", "workerId": "w"}`, "7", "doc.json: /status/runs/0: want an object, got 7 (line 7)"},
	{"claim", `"logsPutUrl": "https`, `"logsPutUrl": 5, "x": "https`, "doc.json: /logsPutUrl: want a signed URL: absolute, with its scheme, got 5 (line 20) (and 1 more problem)"},
	{"claim", `"priority": 1,`, `"priority": "1",`, `doc.json: /status/priority: want a number, got "1" (line 14)`},
	{"task-completed-request", "true", `"true"`, `doc.json: /success: want true or false, got "true" (line 1)`},
	{"task-completed-request", "true", "1", "doc.json: /success: want true or false, got 1 (line 1)"},
	{"task", `{"command": ["true"]}`, "[]", "doc.json: /payload: want an object, got an array (line 11)"},
	{"task", `{"k": "v"}`, `{"k": 1}`, "doc.json: /tags/k: want a string of at most 4096 characters, got 1 (line 18)"},
	{"logs", `{"terminal.log": "http://e.com/l"}`, `["http://e.com/l"]`, "doc.json: /logs: want an object, got an array (line 1)"},
	{"logs", `"http://e.com/l"`, "null", "doc.json: /logs/terminal.log: want an absolute URL, got null (line 1)"},
	// Values out of their limits.
	{"task", "0.2.0", "0.2.1", `doc.json: /version: want "0.2.0", got "0.2.1" (line 2)`},
	{"logs", `"0.2.0"`, "0.2", `doc.json: /version: want "0.2.0", got 0.2 (line 1)`},
	{"claim", "\"runId\": 1,\n", "\"runId\": -1,\n", "doc.json: /runId: want an integer from 0 to 1000, got -1 (line 19)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": 1001,\n", "doc.json: /runId: want an integer from 0 to 1000, got 1001 (line 19)"},
	{"claim", "\"runId\": 1,\n", "\"runId\": 18446744073709551617,\n", "doc.json: /runId: want an integer from 0 to 1000, got 18446744073709551617 (line 19)"},
	{"claim", "YpsYjqE5Q_-NIvzSmpNnFA", "YpsYjqE5Q_-NIvzSmpNnF", `doc.json: /status/taskId: want a task id of 22 characters from A-Z a-z 0-9 _ -, got "YpsYjqE5Q_-NIvzSmpNnF" (line 3)`},
	{"claim", "YpsYjqE5Q_-NIvzSmpNnFA", "YpsYjqE5Q+/NIvzSmpNnFA", `doc.json: /status/taskId: want a task id of 22 characters from A-Z a-z 0-9 _ -, got "YpsYjqE5Q+/NIvzSmpNnFA" (line 3)`},
	{"claim", `"running"`, `"Running"`, `doc.json: /status/state: want "pending", "running", "completed" or "failed", got "Running" (line 9)`},
	{"claim", `"none"`, `"because"`, `doc.json: /status/reason: want "none", "deadline-exceeded", "retries-exhausted", "canceled" or "rerun-requested", got "because" (line 10)`},
	{"claim", "\"workerId\": \"w\"\n", "\"workerId\": \"\"\n", `doc.json: /workerId: want an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -, got "" (line 23)`},
	{"claim", "\"workerId\": \"w\"\n", "\"workerId\": \"a.b\"\n", `doc.json: /workerId: want an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -, got "a.b" (line 23)`},
	{"claim", "\"workerId\": \"w\"\n", "\"workerId\": \"xxxxxxxxxxxxxxxxxxxxxxx\"\n", `doc.json: /workerId: want an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -, got "xxxxxxxxxxxxxxxxxxxxxxx" (line 23)`},
	{"claim", "\"workerId\": \"w\"\n", "\"workerId\": \"w\\n\"\n", `doc.json: /workerId: want an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -, got "w\n" (line 23)`},
	{"task", `"a.b"`, `"` + strings.Repeat("r", 129) + `"`, `doc.json: /routing: want a string of at most 128 characters, got "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr…" (129 characters) (line 5)`},
	{"task", `"retries": 2`, `"retries": 1000`, "doc.json: /retries: want an integer from 0 to 999, got 1000 (line 6)"},
	{"task", `"retries": 2`, `"retries": -1`, "doc.json: /retries: want an integer from 0 to 999, got -1 (line 6)"},
	{"task", `"timeout": 60`, `"timeout": 29`, "doc.json: /timeout: want an integer from 30 to 1200, got 29 (line 7)"},
	{"task", `"timeout": 60`, `"timeout": 1201`, "doc.json: /timeout: want an integer from 30 to 1200, got 1201 (line 7)"},
	{"task", "a@example.com", "example.com", `doc.json: /metadata/owner: want an e-mail address of at most 255 characters, got "example.com" (line 15)`},
	{"task", "a@example.com", "a@b@", `doc.json: /metadata/owner: want an e-mail address of at most 255 characters, got "a@b@" (line 15)`},
	{"task", "http://example.com/src", "/src", `doc.json: /metadata/source: want an absolute URL of at most 4096 characters, got "/src" (line 16)`},
	{"task", "http://example.com/src", "example.com/src", `doc.json: /metadata/source: want an absolute URL of at most 4096 characters, got "example.com/src" (line 16)`},
	{"task", "http://example.com/src", "http://%zz", `doc.json: /metadata/source: want an absolute URL of at most 4096 characters, got "<redacted URL>" (line 16)`},
	{"task", "2014-04-26T13:00:00Z", "tomorrow", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "tomorrow" (line 10)`},
	{"task", "2014-04-26T13:00:00Z", "2014-04-26", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "2014-04-26" (line 10)`},
	{"task", "2014-04-26T13:00:00Z", "2014-04-26T13:00:00", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "2014-04-26T13:00:00" (line 10)`},
	{"task", "2014-04-26T13:00:00Z", "2014-04-26T13:00:00+02:00", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "2014-04-26T13:00:00+02:00" (line 10)`},
	{"task", "2014-04-26T13:00:00Z", "2014-04-26T13:00:00-00:00", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "2014-04-26T13:00:00-00:00" (line 10)`},
	{"task", "2014-04-26T13:00:00Z", "2014-04-26t13:00:00z", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "2014-04-26t13:00:00z" (line 10)`},
	{"task", "2014-04-26T13:00:00Z", "2014-02-30T13:00:00Z", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "2014-02-30T13:00:00Z" (line 10)`},
	{"task", "2014-04-26T13:00:00Z", "2014-04-26T24:00:00Z", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "2014-04-26T24:00:00Z" (line 10)`},
	{"task", "2014-04-26T13:00:00Z", "2014-12-31T23:59:60Z", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "2014-12-31T23:59:60Z" (line 10)`},
	{"task", "2014-04-26T13:00:00Z", "2014-04-26 13:00:00Z", `doc.json: /deadline: want a time in UTC such as "2014-04-26T12:00:00.000Z", got "2014-04-26 13:00:00Z" (line 10)`},
	{"define-tasks-request", "1", "0", "doc.json: /tasksRequested: want an integer of at least 1, got 0 (line 1)"},
	{"define-tasks-request", "1", "4294967296", "doc.json: /tasksRequested: want an integer of at least 1 that fits into 32 bits, got 4294967296 (line 1)"},
	{"result", `"artifacts": {}`, `"artifacts": {"a b/ü": "nowhere"}`, `doc.json: /artifacts/a b~1ü: want an absolute URL, got "nowhere" (line 1)`},
	// Secrets and long texts are not shown.
	{"claim", "https://s3.example.com/logs.json?Signature=abc", "s3.example.com/logs.json?Signature=abc", "doc.json: /logsPutUrl: want a signed URL: absolute, with its scheme, got a string of 38 characters (line 20)"},
	{"claim", "https://s3.example.com/logs.json?Signature=abc", "https://%zz/?Signature=abc", "doc.json: /logsPutUrl: want a signed URL: absolute, with its scheme, got a string of 26 characters (line 20)"},
	{"claim", "\"workerId\": \"w\"\n", "\"workerId\": \"https://user:pw@s3.example.com/logs.json?Signature=abc\"\n", `doc.json: /workerId: want an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -, got "https://s3.example.com/logs.json?<redact…" (54 characters) (line 23)`},
	{"claim", "\"workerId\": \"w\"\n", "\"workerId\": \"X-Amz-Signature=abc\"\n", `doc.json: /workerId: want an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -, got "<redacted URL>" (line 23)`},
	{"claim", "\"workerId\": \"w\"\n", "\"workerId\": \"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"\n", `doc.json: /workerId: want an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -, got "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…" (63 characters) (line 23)`},
	{"logs", "http://e.com/l", "//e.com/l?X-Amz-Signature=abc", `doc.json: /logs/terminal.log: want an absolute URL, got "<redacted URL>" (line 1)`},
	// Problems that only the index of a log can have.
	{"log-index", `"offset": 0`, `"offset": 1`, "doc.json: /chunks/0/offset: want 0, where the chunk before it ends, got 1 (line 7) (and 1 more problem)"},
	{"log-index", `"offset": 10`, `"offset": 11`, "doc.json: /chunks/1/offset: want 10, where the chunk before it ends, got 11 (line 8)"},
	{"log-index", `"offset": 10`, `"offset": 9`, "doc.json: /chunks/1/offset: want 10, where the chunk before it ends, got 9 (line 8)"},
	{"log-index", `"offset": 0`, `"offset": -1`, "doc.json: /chunks/0/offset: want an integer of at least 0, got -1 (line 7)"},
	{"log-index", `"size": 10`, `"size": 0`, "doc.json: /chunks/0/size: want an integer of at least 1, got 0 (line 7)"},
	{"log-index", `"size": 10`, `"size": 9223372036854775807`, "doc.json: /chunks/0/size: want a chunk that ends before 8 EiB, got 9223372036854775807 (line 7)"},
	{"log-index", `"size": 10`, `"size": 9223372036854775808`, "doc.json: /chunks/0/size: want an integer of at least 1 that fits into 64 bits, got 9223372036854775808 (line 7)"},
	{"log-index", `"size": 25`, `"size": 24`, "doc.json: /size: want 25, the size of all chunks and of the tail, got 24 (line 3)"},
	{"log-index", `"size": 25`, `"size": -1`, "doc.json: /size: want an integer of at least 0, got -1 (line 3)"},
	{"log-index", `"gzip"`, `"br"`, `doc.json: /chunks/1/encoding: want "identity" or "gzip", got "br" (line 8)`},
	{"log-index", `"aGVsbG8="`, `"aGVsbG8"`, `doc.json: /tail: want at most 16384 bytes in base64, got "aGVsbG8" (line 10)`},
	{"log-index", `"aGVsbG8="`, `"*"`, `doc.json: /tail: want at most 16384 bytes in base64, got "*" (line 10)`},
	{"log-index", `"aGVsbG8="`, "null", "doc.json: /tail: want at most 16384 bytes in base64, got null (line 10)"},
	{"log-index", "1000", "0", "doc.json: /pollAfterMs: want more than 0 as long as the log has not ended, got 0 (line 5)"},
	{"log-index", "1000", "-1", "doc.json: /pollAfterMs: want an integer of at least 0, got -1 (line 5)"},
	{"log-index", "http://e.com/10", "10", `doc.json: /chunks/1/url: want an absolute URL, got "10" (line 8)`},
	{"log-index", `"chunks": [`, `"chunks": [1,`, "doc.json: /chunks/0: want an object, got 1 (line 6)"},
	// Several problems: the first in the document is shown.
	{"claim", `"status": {`, `"Status": {`, "doc.json: /status: want an object, got no such member (line 1) (and 1 more problem)"},
	{"task", "\"retries\": 2,\n  \"timeout\": 60", "\"retries\": -2,\n  \"timeout\": 1", "doc.json: /retries: want an integer from 0 to 999, got -2 (line 6) (and 1 more problem)"},
}

func TestBadDocuments(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range bad {
		text := row.new
		if row.old != "" {
			text = strings.Replace(good[row.doc], row.old, row.new, 1)
			if text == good[row.doc] {
				t.Errorf("%q is not in %s", row.old, row.doc)
				continue
			}
		}
		if key := row.doc + text; seen[key] {
			t.Errorf("%s twice: %s", row.doc, row.new)
		} else {
			seen[key] = true
		}
		err := schema.Validate(row.doc, "doc.json", []byte(text))
		var wrong *schema.Error
		if !errors.As(err, &wrong) || len(wrong.Problems) == 0 || wrong.Document != row.doc || wrong.File != "doc.json" {
			t.Errorf("%s with %s: got %#v", row.doc, row.new, err)
			continue
		}
		if got := err.Error(); got != row.want {
			t.Errorf("%s with %s\n got %s\nwant %s", row.doc, row.new, got, row.want)
		}
		if _, errDecode := codecs[row.doc].decode([]byte(text)); errDecode == nil ||
			strings.TrimPrefix(errDecode.Error(), "test.json") != strings.TrimPrefix(row.want, "doc.json") {
			t.Errorf("Validate says %s, but Decode %v", row.want, errDecode)
		}
	}
}
