package socket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
	"github.com/taskcluster/upload-agent/livelog"
)

// A value that was taken is kept out of what is written next, whatever its bytes are, and shows up nowhere else.
func TestRedact(t *testing.T) {
	run := newRun()
	var logged bytes.Buffer
	server, client := served(t, run, socket.Options{Logger: logTo(&logged)})
	const binary = "\xff\x00canary\xfe"
	if err := client.Redact(soon(t), "canary-1", binary); err != nil {
		t.Fatal(err)
	}
	if got := run.redacted("a canary-1 b " + binary + " c"); got != "a [redacted] b [redacted] c" {
		t.Errorf("written: %q", got)
	}
	err := client.Redact(soon(t), "nib", "canary-2")
	if !errors.Is(err, livelog.ErrShortSecret) || strings.Contains(err.Error(), "nib") {
		t.Errorf("too short: %v", err)
	}
	if got := run.redacted("canary-2"); got != "[redacted]" {
		t.Errorf("what came with it: %q", got)
	}
	err = client.Redact(soon(t), strings.Repeat("canary-3", socket.MaxRedaction/8+1))
	if err == nil || !strings.Contains(err.Error(), "may have 65536") || strings.Contains(err.Error(), "canary") {
		t.Errorf("too long: %v", err)
	}
	if err := client.Redact(soon(t)); err == nil {
		t.Error("no value at all is fine")
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(logged.String(), "canary") || !strings.Contains(logged.String(), "more is redacted") {
		t.Errorf("logged:\n%s", logged.String())
	}
}

func TestStatus(t *testing.T) {
	run := newRun()
	server, client := served(t, run, socket.Options{})
	dir := t.TempDir()
	write(t, dir, map[string]int{"b": 5, "a": 1, "c": 1})
	if _, err := uploaded(t, client, socket.Upload{Dir: dir, Specs: []string{"b"}}); err != nil {
		t.Fatal(err)
	}
	describe := func(s socket.Status) string {
		text := fmt.Sprintf("%s/%d %s", s.TaskID, s.RunID, s.Ended)
		for _, l := range s.Logs {
			text += fmt.Sprintf(" %s:%d", l.Name, l.Size)
		}
		for _, f := range s.Artifacts {
			text += fmt.Sprintf(" %s=%s", f.Name, f.State)
		}
		return text
	}
	if s, err := client.Status(soon(t)); err != nil || describe(s) != taskID+"/3  terminal.log:12 b=stored before=missing" {
		t.Errorf("status %s, %v", describe(s), err)
	}
	// Who watches sees each change, and the end.
	var seen []string
	err := client.Watch(soon(t), func(s socket.Status) error {
		seen = append(seen, describe(s))
		switch len(seen) {
		case 1:
			_, err := uploaded(t, client, socket.Upload{Dir: dir, Specs: []string{"a"}})
			return err
		case 2:
			run.end(agent.ErrEnded)
		}
		return nil
	})
	if err != nil || len(seen) != 3 || !strings.Contains(seen[1], " a=stored") || !strings.Contains(seen[2], "run has ended") {
		t.Errorf("watched %q, %v", seen, err)
	}
	run.end(nil)
	if err := client.Watch(soon(t), func(socket.Status) error { go server.Close(); return nil }); err != nil {
		t.Errorf("watched to the end of the server: %v", err)
	}
}

func TestWhichRun(t *testing.T) {
	server, _ := served(t, newRun(), socket.Options{})
	for who, want := range map[socket.Caller]error{
		{}:                                       nil,
		{TaskID: taskID, RunID: 3}:               nil,
		{TaskID: taskID, RunID: 4}:               socket.ErrNoRun,
		{TaskID: "BBBBBBBBBBBBBBBBBBBBBB&run=3"}: socket.ErrNoRun,
	} {
		client, err := socket.Connect(server.Path(), who)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Status(soon(t)); !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", who, err, want)
		}
		client.Close()
	}
}

// raw asks without the package's client.
func raw(t *testing.T, path string, change func(*http.Request), body io.Reader) (int, string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(soon(t), "POST", "http://agent/v1/redactions", body)
	if err != nil {
		t.Fatal(err)
	}
	change(request)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

// Without the token nothing is done, and what is asked for is bounded.
func TestAdmission(t *testing.T) {
	run := newRun()
	server, _ := served(t, run, socket.Options{})
	token, err := os.ReadFile(filepath.Join(filepath.Dir(server.Path()), "token"))
	if err != nil || len(token) != 64 {
		t.Fatalf("token %q, %v", token, err)
	}
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	for name, row := range map[string]struct {
		change func(*http.Request)
		body   string
		status int
	}{
		"no token":      {func(*http.Request) {}, `{"values":["canary"]}`, 401},
		"empty token":   {bearer(""), `{"values":["canary"]}`, 401},
		"half a token":  {bearer(string(token[:32])), `{"values":["canary"]}`, 401},
		"another token": {bearer(strings.Repeat("0", 64)), `{"values":["canary"]}`, 401},
		"no JSON":       {bearer(string(token)), `canary`, 400},
		"unknown":       {bearer(string(token)), `{"values":["canary"],"more":1}`, 400},
		"bad run":       {func(r *http.Request) { bearer(string(token))(r); r.URL.RawQuery = "task=x&run=-1" }, `{"values":["canary"]}`, 404},
		"huge body":     {bearer(string(token)), `{"values":["` + strings.Repeat("x", socket.MaxRequest) + `"]}`, 413},
		"huge header":   {func(r *http.Request) { bearer(strings.Repeat("x", 1<<20))(r) }, `{}`, 431},
		"elsewhere":     {func(r *http.Request) { bearer(string(token))(r); r.URL.Path = "/" }, `{}`, 404},
	} {
		if status, text := raw(t, server.Path(), row.change, strings.NewReader(row.body)); status != row.status || strings.Contains(text, "canary") {
			t.Errorf("%s: %d %s, want %d", name, status, text, row.status)
		}
	}
	if got := run.redacted("canary"); got != "canary" {
		t.Errorf("one of them was heard: %q", got)
	}
	if status, text := raw(t, server.Path(), bearer(string(token)), strings.NewReader(`{"values":["canary"]}`)); status != 204 || run.redacted("canary") != "[redacted]" {
		t.Errorf("with the token: %d %s", status, text)
	}
}

// More callers than there may be wait for their turn.
func TestConnectionsAreBounded(t *testing.T) {
	run := newRun()
	server, first := served(t, run, socket.Options{Connections: 1})
	second, err := socket.Connect(server.Path(), socket.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	answered := make(chan string, 1)
	looks := 0
	err = first.Watch(soon(t), func(socket.Status) error {
		switch looks++; looks {
		case 1:
			go func() {
				status, err := second.Status(soon(t))
				answered <- fmt.Sprint(status.Ended, err)
			}()
			run.mu.Lock()
			run.missing["more"] = "so that there is another look"
			run.mu.Unlock()
		case 2:
			run.end(agent.ErrEnded) // which a caller who had no turn before sees
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if got := <-answered; got != agent.ErrEnded.Error()+"<nil>" {
		t.Errorf("the second was served at the same time: %q", got)
	}
}
