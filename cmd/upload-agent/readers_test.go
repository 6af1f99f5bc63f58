package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/schema"
)

// storageOf serves documents by their paths below the task.
func storageOf(t *testing.T, docs map[string]string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := docs[strings.TrimPrefix(r.URL.Path, "/"+goodID+"/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, strings.ReplaceAll(body, "STORAGE", "http://"+r.Host))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func logsOf(members string) string { return `{"version":"0.2.0","logs":{` + members + `}}` }

func TestTailFindsTheLog(t *testing.T) {
	const resolution = `{"version":"0.2.0","status":` + goodStatus + `,"runId":1,"success":true,"resultUrl":"http://x/r","logsUrl":"http://x/l","workerGroup":"g","workerId":"w"}`
	url := storageOf(t, map[string]string{
		"task.json": goodTask, "resolution.json": resolution, "text": "of run 1\n",
		"runs/0/logs.json": logsOf(`"terminal.log":"http://127.0.0.1:1/never"`),
		"runs/1/logs.json": logsOf(`"terminal.log":"STORAGE/` + goodID + `/text","bell\u0007":"http://x/b"`),
	})
	for _, row := range []struct {
		target         string
		status         int
		stdout, stderr string
	}{
		{goodID, 0, "of run 1\n", ""},
		{goodID + "/1", 0, "of run 1\n", ""},
		{goodID + "/1/other.log", 1, "", "it has: bell\uFFFD, terminal.log"},
		{goodID + "/7", 1, "", "run 7 of task " + goodID + " has declared no logs"}, // the task is resolved: there never will be any
	} {
		var stdout, stderr bytes.Buffer
		status := run([]string{"upload-agent", "tail", "--storage", url, row.target}, nil, &stdout, &stderr)
		if status != row.status || stdout.String() != row.stdout || !strings.Contains(stderr.String(), row.stderr) {
			t.Errorf("tail %s: status %d, stdout %q, stderr %q; want %+v", row.target, status, stdout.String(), stderr.String(), row)
		}
	}
}

// What is stored may come from anybody: it does not steer the terminal.
func TestInspectShowsAllAndSteersNothing(t *testing.T) {
	result := strings.NewReplacer(`"a":"http://x/a"`, `"art\u001b":"http://x/a"`, `"result":{}`, `"result":{"missingArtifacts":{"gone\u001b":"no \u001bfile"}}`).Replace(goodResult)
	url := storageOf(t, map[string]string{
		"task.json":        strings.Replace(goodTask, `"name":"n"`, `"name":"n\u001b\u202e"`, 1),
		"runs/0/logs.json": logsOf(`"log\u001b":"http://x/l"`), "runs/0/result.json": result,
	})
	var stdout, stderr bytes.Buffer
	if status := run([]string{"upload-agent", "inspect", "--storage", url, goodID}, nil, &stdout, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, stderr.String())
	}
	for _, want := range []string{": n\uFFFD\uFFFD\n", "artifact art\uFFFD  http://x/a", "log log\uFFFD  http://x/l", "missing gone\uFFFD: no \uFFFDfile"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, stdout.String())
		}
	}
	if strings.ContainsAny(stdout.String(), "\x1b\u202e") {
		t.Errorf("an escape is printed: %q", stdout.String())
	}
	if status := run([]string{"upload-agent", "inspect", "--\x1b]0;title\x07"}, nil, &stdout, &stderr); status != statusUsage || strings.Contains(stderr.String(), "\x1b") {
		t.Errorf("status %d, an error that is printed: %q", status, stderr.String())
	}
}

// endless is an input that is no document: it never ends.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.read > 2*schema.MaxBytes {
		return 0, fmt.Errorf("%d bytes were read", e.read)
	}
	e.read += int64(len(p))
	return copy(p, bytes.Repeat([]byte(" "), len(p))), nil
}

func TestEndlessInputIsRefused(t *testing.T) {
	var stdin endless
	var stdout, stderr bytes.Buffer
	if status := run([]string{"upload-agent", "validate", "result", "-"}, &stdin, &stdout, &stderr); status != statusFailed || stdin.read > schema.MaxBytes+1<<20 {
		t.Errorf("status %d after %d bytes: %s", status, stdin.read, stderr.String())
	}
}
