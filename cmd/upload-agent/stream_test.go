package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// storedLogs is the logs.json of the one run that simulate keeps in dir, once there is one that ok likes.
func storedLogs(t *testing.T, dir string, ok func(logs map[string]string) bool) map[string]string {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for late := time.After(30 * time.Second); ; {
		found, _ := filepath.Glob(filepath.Join(dir, "*/runs/0/logs.json"))
		if len(found) == 1 {
			body, err := os.ReadFile(found[0])
			if doc, decodeErr := schema.Decode[schema.Logs]("logs.json", body); err == nil && decodeErr == nil && ok(doc.Logs) {
				return doc.Logs
			}
		}
		select {
		case <-poll.C:
		case <-late:
			t.Fatalf("no such logs.json in %s: %q", dir, found)
		}
	}
}

// background runs the program until it ends.
func background(args ...string) (ended <-chan int, stderr *bytes.Buffer) {
	done := make(chan int, 1)
	stderr = &bytes.Buffer{}
	go func() { done <- run(append([]string{"upload-agent"}, args...), nil, io.Discard, stderr) }()
	return done, stderr
}

func TestStreamFlagServesTheLogWhileTheCommandRuns(t *testing.T) {
	dir, seen := t.TempDir(), filepath.Join(t.TempDir(), "seen")
	ended, stderr := background("simulate", "--log-level", "debug", "--dir", dir, "--stream", "127.0.0.1:0", "--", "sh", "-c", "echo one; until test -e '"+seen+"'; do sleep 0.05; done; echo two")
	link := storedLogs(t, dir, func(logs map[string]string) bool { return logs["stream/terminal.log"] != "" })["stream/terminal.log"]
	if !strings.HasPrefix(link, "http://127.0.0.1:") {
		t.Errorf("the link is %s", schema.Redact(link))
	}
	resp, err := http.Get(link + "&follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line := make([]byte, 4)
	if _, err := io.ReadFull(resp.Body, line); string(line) != "one\n" || err != nil {
		t.Errorf("%s: %q, %v", resp.Status, line, err)
	}
	if err := os.WriteFile(seen, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(resp.Body); string(rest) != "two\n" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if status := <-ended; status != 0 {
		t.Errorf("status %d: %s", status, stderr)
	}
	if logs := storedLogs(t, dir, func(map[string]string) bool { return true }); len(logs) != 2 {
		t.Errorf("at the end logs.json has %v", logs)
	}
	_, signature, _ := strings.Cut(link, "signature=")
	if len(signature) != 43 || strings.Contains(stderr.String(), signature) {
		t.Errorf("%q is in %s", signature, stderr)
	}
}

func TestStreamURLIsWhereReadersAreSent(t *testing.T) {
	t.Setenv("UPLOAD_AGENT_STREAM", "127.0.0.1:0")
	dir, seen := t.TempDir(), filepath.Join(t.TempDir(), "seen")
	ended, stderr := background("simulate", "--dir", dir, "--stream-url", "https://proxy.example/worker-7", "--", "sh", "-c", "until test -e '"+seen+"'; do sleep 0.05; done")
	logs := storedLogs(t, dir, func(logs map[string]string) bool { return logs["stream/terminal.log"] != "" })
	if link := logs["stream/terminal.log"]; !strings.HasPrefix(link, "https://proxy.example/worker-7/") || !strings.Contains(link, "/0/terminal.log?") {
		t.Errorf("the link is %s", schema.Redact(link))
	}
	if err := os.WriteFile(seen, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if status := <-ended; status != 0 {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestStreamFlagsThatMakeNoSense(t *testing.T) {
	for _, row := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--stream-url", "http://worker.example"}, "--stream-url needs --stream"},
		{[]string{"--stream", ":0"}, "say with --stream-url"},
		{[]string{"--stream", "nowhere"}, "--stream: "},
		{[]string{"--stream", "127.0.0.1:0", "--stream-url", "ftp://worker.example"}, "--stream-url: "},
	} {
		for _, command := range [][]string{{"simulate", "--dir", t.TempDir()}, {"exec", "--queue", "http://127.0.0.1:1/v1", "--task-id", goodID, "--state", t.TempDir()}} {
			ended, stderr := background(append(append(command, row.flags...), "--", "true")...)
			if status := <-ended; status != statusUsage || !strings.Contains(stderr.String(), row.want) {
				t.Errorf("%s %q: status %d, %s", command[0], row.flags, status, stderr)
			}
		}
	}
}
