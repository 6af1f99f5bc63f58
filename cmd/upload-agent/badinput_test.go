package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	goodID     = "YpsYjqE5Q_-NIvzSmpNnFA"
	goodStatus = `{"taskId":"YpsYjqE5Q_-NIvzSmpNnFA","provisionerId":"p","workerType":"w","runs":[],"state":"running","reason":"none","routing":"","timeout":60,"retries":1,"priority":1,"created":"2014-04-01T00:00:00Z","deadline":"2014-04-01T01:00:00Z","takenUntil":"2014-04-01T00:01:00Z"}`
	goodClaim  = `{"status":` + goodStatus + `,"runId":0,"logsPutUrl":"http://127.0.0.1:1/logs.json?X=1","resultPutUrl":"http://127.0.0.1:1/result.json?X=1","workerGroup":"g","workerId":"w"}`
	goodResult = `{"version":"0.2.0","artifacts":{"a":"http://x/a"},"statistics":{"started":"2014-04-01T00:00:00Z","finished":"2014-04-01T00:00:01Z"},"metadata":{"workerGroup":"g","workerId":"w","success":true},"result":{}}`
	goodTask   = `{"version":"0.2.0","provisionerId":"p","workerType":"w","routing":"","retries":1,"timeout":60,"priority":1,"created":"2014-04-01T00:00:00Z","deadline":"2014-04-01T01:00:00Z","payload":{},"metadata":{"name":"n","owner":"a@example.com","source":"http://example.com"},"tags":{}}`
	goodIndex  = `{"version":"0.2.0","size":12,"complete":false,"pollAfterMs":1000,"chunks":[{"offset":0,"size":10,"url":"http://x/0-10","encoding":"identity"}],"tail":"aGk="}`
)

// Every bad input gets one clear line that names what is wrong, and its exit status.
func TestBadInput(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"good.json": goodResult, "claim.json": goodClaim, "file": "a file\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	type row struct {
		args   string // separated by spaces, or by | if there is one
		stdin  string
		status int
		want   string // what the line says, parts separated by …
	}
	doc := func(kind, good, old, new, want string) row {
		if !strings.Contains(good, old) {
			t.Fatalf("row is wrong: no %q in %s", old, good)
		}
		return row{"validate " + kind + " -", strings.Replace(good, old, new, 1), statusFailed, "stdin: …" + want}
	}
	claim := func(old, new, want string) row {
		r := doc("claim", goodClaim, old, new, want)
		r.args, r.status = "exec --queue http://127.0.0.1:1/v1 --claim - -- true", statusUsage
		r.want = "--claim: …" + want
		return r
	}
	rows := []row{
		// The command line itself.
		{"nonsense", "", 2, `no command "nonsense"`},
		{"simulate --nonsense", "", 2, "nonsense…help simulate"},
		{"simulate --dir", "", 2, "--dir"},
		{"simulate --grace soon -- true", "", 2, "grace"},
		{"simulate --grace -1s -- true", "", 2, "--grace -1s"},
		{"simulate --log-level loud -- true", "", 2, `--log-level "loud"…debug, info, warn or error`},
		{"simulate --log-format xml -- true", "", 2, `--log-format "xml"…text or json`},
		{"simulate --dir file -- true", "", 125, "file"},
		{"simulate --seed -1 -- true", "", 2, "seed"},
		{"simulate --seed x -- true", "", 2, "seed"},
		{"queue", "", 2, "dir"},
		{"queue --dir folder extra", "", 2, `no argument "extra"`},
		{"queue --dir folder --listen nowhere", "", 1, "nowhere"},
		{"version extra", "", 2, `no argument "extra"`},
		{"schema a b", "", 2, "one NAME"},
		{"schema nonsense", "", 2, "nonsense…result"},
		// --artifact
		{"simulate|--artifact||--|true", "", 2, "--artifact…empty"},
		{"simulate --artifact =x -- true", "", 2, `--artifact "=x"…empty`},
		{"simulate --artifact a= -- true", "", 2, "no path"},
		{"simulate --artifact ../a=x -- true", "", 2, ".."},
		{"simulate --artifact a/../b=x -- true", "", 2, ".."},
		{"simulate --artifact ./a=x -- true", "", 2, `"."`},
		{"simulate --artifact a//b=x -- true", "", 2, "empty"},
		{"simulate --artifact /a=x -- true", "", 2, "slash"},
		{"simulate --artifact a\\b=x -- true", "", 2, "backslash"},
		{"simulate|--artifact|a\nb=x|--|true", "", 2, "control"},
		{"simulate|--artifact|a\xff=x|--|true", "", 2, "UTF-8"},
		{"simulate --artifact " + strings.Repeat("n", 1025) + "=x -- true", "", 2, "1024"},
		{"simulate --artifact a=x --artifact a=y -- true", "", 2, "twice"},
		{"simulate --artifact terminal.log=x -- true", "", 2, "command's log"},
		{"simulate --artifact live/x=x -- true", "", 2, "live"},
		{"simulate --artifact [a -- true", "", 2, "not a glob"},
		{"simulate --artifact {a -- true", "", 2, "not a glob"},
		{"simulate --artifact /etc/* -- true", "", 2, "absolute"},
		{"simulate --artifact ../* -- true", "", 2, ".."},
		{"simulate --artifact p/= -- true", "", 2, "no path"},
		{"simulate --artifact p/=[a -- true", "", 2, "not a glob"},
		{"simulate --artifact p/=*/../x -- true", "", 2, ".."},
		{"simulate --artifact /=x -- true", "", 2, "empty"},
		{"simulate --artifact ../p/=x -- true", "", 2, `".."`},
		{"simulate --artifact live/=x -- true", "", 2, "live"},
		{"simulate --artifact live/x/=x -- true", "", 2, "live"},
		{"simulate --artifact terminal.log/=x -- true", "", 2, "command's log"},
		{"simulate|--exclude||--|true", "", 2, "--exclude…empty"},
		{"simulate --exclude [a -- true", "", 2, `--exclude "[a"…not a glob`},
		{"simulate --exclude /etc -- true", "", 2, "slash"},
		{"simulate --exclude ../x -- true", "", 2, ".."},
		{"simulate --symlinks all -- true", "", 2, `--symlinks "all"…inside, follow or skip`},
		{"simulate --gzip on -- true", "", 2, `--gzip "on"…auto or off`},
		// --fault
		{"simulate --fault put -- true", "", 2, "--fault: …put"},
		{"simulate --fault put= -- true", "", 2, "--fault: …put="},
		{"simulate --fault =503 -- true", "", 2, "--fault: …=503"},
		{"simulate --fault put=5o3 -- true", "", 2, `"5o3"…reset`},
		{"simulate --fault put=200 -- true", "", 2, `"200"…400`},
		{"simulate --fault put=600 -- true", "", 2, `"600"`},
		{"simulate --fault everything=503 -- true", "", 2, `"everything"…artifact-urls`},
		{"simulate --fault put=503:0 -- true", "", 2, `"0"`},
		{"simulate --fault put=503:2 -- true", "", 2, `"2"`},
		{"simulate --fault put=503:half -- true", "", 2, `"half"`},
		{"simulate --fault put=503:NaN -- true", "", 2, `"NaN"`},
		{"simulate --fault claim=expired -- true", "", 2, "expired"},
		{"simulate --fault put=503,,get=404 -- true", "", 2, "--fault"},
		{"queue --dir folder --fault put=5o3", "", 2, "5o3"},
		{"simulate --signature v3 -- true", "", 2, `--signature "v3"…v2 or v4`},
		{"queue --dir folder --signature 2", "", 2, "v2 or v4"},
		// exec and its claim
		{"exec --task-id " + goodID + " -- true", "", 2, "queue"},
		{"exec --queue nowhere --task-id " + goodID + " -- true", "", 2, "--queue: …http"},
		{"exec --queue ftp://x/v1 --task-id " + goodID + " -- true", "", 2, "--queue: …http"},
		{"exec --queue http:///v1 --task-id " + goodID + " -- true", "", 2, "--queue: "},
		{"exec --queue http://x/v1 --storage nowhere --task-id " + goodID + " -- true", "", 2, "--storage: …http"},
		{"exec --queue http://x/v1 --task-id " + goodID, "", 2, "needs a command"},
		{"exec --queue http://x/v1 -- true", "", 2, "either --task-id or --claim"},
		{"exec --queue http://x/v1 --task-id " + goodID + " --claim claim.json -- true", "", 2, "either --task-id or --claim"},
		{"exec --queue http://x/v1 --task-id short -- true", "", 2, `--task-id "short"…22 characters`},
		{"exec --queue http://x/v1 --worker-id a.b --task-id " + goodID + " -- true", "", 2, `--worker-id "a.b"`},
		{"exec --queue http://x/v1 --worker-group " + strings.Repeat("g", 23) + " --task-id " + goodID + " -- true", "", 2, "--worker-group"},
		{"exec --queue http://x/v1 --claim nowhere.json -- true", "", 2, "--claim: …nowhere.json"},
		{"exec --queue http://x/v1 --claim folder -- true", "", 2, "--claim: …folder"},
		{"exec --queue http://x/v1 --claim file -- true", "", 2, "--claim: file: …JSON"},
		claim(goodClaim, "", "nothing"),
		claim(`,"workerGroup":"g"`, "", "workerGroup"),
		claim(`"workerId":"w"`, `"workerId":""`, "/workerId"),
		claim(`"runId":0`, `"runId":"0"`, "/runId"),
		claim(`"runId":0`, `"runId":-1`, "/runId"),
		claim(`"runId":0`, `"runId":1001`, "/runId"),
		claim(`"http://127.0.0.1:1/logs.json?X=1"`, `"logs.json"`, "/logsPutUrl"),
		claim(`"http://127.0.0.1:1/logs.json?X=1"`, `7`, "/logsPutUrl"),
		claim(`"resultPutUrl":"http://127.0.0.1:1/result.json?X=1",`, ``, "resultPutUrl"),
		claim(`"state":"running"`, `"state":"walking"`, "/status/state"),
		{"exec --queue http://x/v1 --claim claim.json --state file/below -- true", "", 125, "file"},
		{"exec --queue http://x/v1 --claim claim.json --grace 0 -- true", "", 2, "--grace 0"},
		{"simulate --state folder -- true", "", 2, "state…help simulate"}, // there would be no queue to go on with
		// resume
		{"resume extra", "", 2, `no argument "extra"`},
		{"resume --nonsense", "", 2, "nonsense…help resume"},
		{"resume --queue nowhere", "", 2, "--queue: …http"},
		{"resume --storage nowhere", "", 2, "--storage: …http"},
		{"resume --grace soon", "", 2, "grace"},
		{"resume --grace -1s", "", 2, "--grace -1s"},
		{"resume --log-level loud", "", 2, `--log-level "loud"`},
		{"resume --state file", "", 1, "file"},
		// validate
		{"validate", "", 2, "NAME and FILE"},
		{"validate result", "", 2, "NAME and FILE"},
		{"validate result good.json good.json", "", 2, "NAME and FILE"},
		{"validate nonsense good.json", "", 2, "nonsense"},
		{"validate result nowhere.json", "", 1, "nowhere.json"},
		{"validate result folder", "", 1, "folder"},
		{"validate logs good.json", "", 1, "good.json: "},
		doc("result", goodResult, goodResult, "", "nothing"),
		doc("result", goodResult, goodResult, "not json", "JSON"),
		doc("result", goodResult, goodResult, "[]", "object"),
		doc("result", goodResult, goodResult, "null", "object"),
		doc("result", goodResult, goodResult, goodResult+"{}", "line 1"),
		doc("result", goodResult, goodResult, goodResult[:50], "line 1"),
		doc("result", goodResult, goodResult, "\xef\xbb\xbf"+goodResult, "byte order mark"),
		doc("result", goodResult, goodResult, "{\x00\"\x00", "UTF-16"),
		doc("result", goodResult, `{"a":`, "{\"a\xff\":", "UTF-8"),
		doc("result", goodResult, `"version":"0.2.0"`, `"version":"0.3.0"`, "/version"),
		doc("result", goodResult, `"version":"0.2.0",`, ``, "version"),
		doc("result", goodResult, `"result":{}`, `"result":{},"result":{}`, "/result"),
		doc("result", goodResult, `"result":{}`, `"result":{},"extra":1`, "extra"),
		doc("result", goodResult, `"result":{}`, `"result":[]`, "/result"),
		doc("result", goodResult, `"success":true`, `"success":"true"`, "/metadata/success"),
		doc("result", goodResult, `"success":true`, `"Success":true`, "/metadata/success"),
		doc("result", goodResult, `http://x/a`, `x/a`, "/artifacts/a"),
		doc("result", goodResult, `"2014-04-01T00:00:00Z"`, `"yesterday"`, "/statistics/started"),
		doc("result", goodResult, `"2014-04-01T00:00:00Z"`, `"2014-04-01T00:00:00+02:00"`, "/statistics/started"),
		doc("result", goodResult, `"workerId":"w"`, `"workerId":"w.x"`, "/metadata/workerId"),
		doc("task", goodTask, `"timeout":60`, `"timeout":29`, "/timeout"),
		doc("task", goodTask, `"timeout":60`, `"timeout":1201`, "/timeout"),
		doc("task", goodTask, `"retries":1`, `"retries":1000`, "/retries"),
		doc("task", goodTask, `"routing":""`, `"routing":"`+strings.Repeat("r", 129)+`"`, "/routing"),
		doc("task", goodTask, `a@example.com`, `nobody`, "/metadata/owner"),
		doc("task", goodTask, `"provisionerId":"p"`, `"provisionerId":"a.b"`, "/provisionerId"),
		doc("task", goodTask, `"tags":{}`, `"tags":{"k":1}`, "/tags/k"),
		doc("log-index", goodIndex, `"offset":0`, `"offset":5`, "/chunks/0/offset"),
		doc("log-index", goodIndex, `"size":12`, `"size":13`, "/size"),
		doc("log-index", goodIndex, `"aGk="`, `"%%%"`, "/tail"),
		doc("log-index", goodIndex, `"identity"`, `"br"`, "/chunks/0/encoding"),
		// readers
		{"inspect", "", 2, "TASKID"},
		{"inspect short", "", 2, "TASKID"},
		{"inspect " + goodID + " more", "", 2, "TASKID"},
		{"inspect --storage nowhere " + goodID, "", 2, "--storage"},
		{"tail", "", 2, "TASKID"},
		{"tail a b", "", 2, "TASKID"},
		{"tail short", "", 2, "22 characters"},
		{"tail " + goodID + "/x", "", 2, `run "x"`},
		{"tail " + goodID + "/1001", "", 2, "1001"},
		{"tail " + goodID + "/0/../x", "", 2, ".."},
		{"tail ftp://example.com/log", "", 2, "http and https"},
		{"tail http://", "", 2, "http and https"},
		{"tail -n 1 --offset 2 " + goodID, "", 2, "exclude each other"},
		{"tail -n 0 --offset 0 " + goodID, "", 2, "exclude each other"},
		{"tail -n x " + goodID, "", 2, "flag -n"},
		{"tail --lines=-1 " + goodID, "", 2, "--lines -1"},
		{"tail --lines 99999999999 " + goodID, "", 2, "--lines"},
		{"tail --offset=-1 " + goodID, "", 2, "--offset -1"},
		{"tail --give-up-after 0s " + goodID, "", 2, "--give-up-after"},
		{"tail --queue ftp://x " + goodID, "", 2, "--queue"},
	}
	for _, row := range rows {
		separator := " "
		if strings.Contains(row.args, "|") {
			separator = "|"
		}
		args := append([]string{"upload-agent"}, strings.Split(row.args, separator)...)
		var stdout, stderr bytes.Buffer
		status := run(args, strings.NewReader(row.stdin), &stdout, &stderr)
		shown := row.args
		if row.stdin != "" {
			shown += " < " + row.stdin[:min(len(row.stdin), 60)]
		}
		if status != row.status {
			t.Errorf("%s: status %d, want %d\n\t%s", shown, status, row.status, stderr.String())
		}
		if line, ok := strings.CutSuffix(stderr.String(), "\n"); !ok || strings.Contains(line, "\n") || !strings.HasPrefix(line, "upload-agent: ") {
			t.Errorf("%s: want one line of error, got %q", shown, stderr.String())
		}
		rest := stderr.String()
		for _, part := range strings.Split(row.want, "…") {
			_, after, found := strings.Cut(rest, part)
			if !found {
				t.Errorf("%s:\n\tgot  %q\n\twant %q", shown, stderr.String(), row.want)
				break
			}
			rest = after
		}
		if stdout.Len() > 0 {
			t.Errorf("%s: something on stdout: %q", shown, stdout.String())
		}
	}
	if left, _ := filepath.Glob("*"); len(left) != 4 {
		t.Errorf("something was left behind: %v", left)
	}
	t.Logf("%d bad inputs", len(rows))
}
