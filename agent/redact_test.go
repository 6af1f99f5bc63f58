package agent_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// bodiesOf is a rig whose uploads are kept.
func bodiesOf(r *rig) *bodies {
	sent := &bodies{next: upload.NewTransport()}
	r.options.Uploader = upload.New(upload.Options{Transport: sent, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	r.t.Cleanup(r.options.Uploader.CloseIdleConnections)
	return sent
}

// readable is all that a reader can make of a body: the text within gzip, and the tail within an index.
func readable(t *testing.T, body string) string {
	t.Helper()
	if zipped, err := gzip.NewReader(strings.NewReader(body)); err == nil {
		text, err := io.ReadAll(zipped)
		if err != nil {
			t.Fatal(err)
		}
		body = string(text)
	}
	if index, err := schema.Decode[schema.LogIndex]("index", []byte(body)); err == nil {
		body += string(index.Tail)
	}
	return body
}

// A secret is in no object and in no file, also if it came later, in pieces or encoded.
func TestSecretsStayOutOfLogs(t *testing.T) {
	const known, added, late = "hunter2-known", "correct horse/battery", "another secret"
	r := newRig(t, agenttest.Options{})
	r.options.Redact = []string{known}
	r.options.Publish = livelog.PublishOptions{Interval: time.Millisecond, MaxInterval: 2 * time.Millisecond}
	sent := bodiesOf(r)
	run := r.start(t.Context())
	if err := run.Redact(added, "tiny"); !errors.Is(err, livelog.ErrShortSecret) {
		t.Errorf("Redact = %v", err)
	}
	var onDisk strings.Builder
	log, other := run.Log("terminal.log"), run.Log("other.log")
	write := func(w io.Writer, text string) {
		t.Helper()
		if n, err := io.WriteString(w, text); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
		leftBehind(t, r.options.StateDir, &onDisk)
	}
	write(log, "one "+known+"\ntwo ")
	for _, c := range known {
		write(log, string(c))
	}
	write(log, "\n"+base64.StdEncoding.EncodeToString([]byte("user:"+added))+"\n"+url.QueryEscape(added)+"\n")
	write(other, "x\n"+added[:9])
	write(other, added[9:]+" and\n")
	eventually(t, "the logs are published", func() bool {
		all := ""
		for _, body := range sent.all() {
			all += readable(t, body)
		}
		return strings.Contains(all, " and\n") && strings.Contains(all, "two "+livelog.Redacted+"\n")
	})
	if err := run.Redact(late); err != nil {
		t.Fatal(err)
	}
	write(log, late+" and hun") // the end may be the beginning of a secret
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"terminal.log": "one [redacted]\ntwo [redacted]\ndXNlcj[redacted]\n[redacted]\n[redacted] and hun",
		"other.log":    "x\n[redacted] and\n",
	} {
		if got := string(r.stored("artifacts/" + name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if n := strings.Count(onDisk.String(), livelog.Redacted); n < 2 {
		t.Errorf("%d marks on the disk: the test looks at too little", n)
	}
	seen := map[string]string{"the disk": onDisk.String(), "the agent's log": r.log.String()}
	for i, body := range sent.all() {
		seen[fmt.Sprintf("body %d", i)] = readable(t, body)
	}
	for where, text := range seen {
		for _, secret := range []string{known, added, late, known[3:], added[8:], url.QueryEscape(added)[8:], base64.StdEncoding.EncodeToString([]byte("user:" + added))[9:]} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %s:\n%s", secret, where, text)
			}
		}
	}
	r.checkHistory()
}

// What is held back of a log is there before its last line.
func TestAbandonedLogHoldsNothingBack(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.Redact = []string{"hunter2", "the reason"}
	run := r.start(t.Context())
	io.WriteString(run.Log("terminal.log"), "a line\nhun")
	if err := run.Abandon(r.ctx(), "this is the reason"); err != nil {
		t.Fatal(err)
	}
	if got := string(r.stored("artifacts/terminal.log")); got != "a line\nhun\nupload-agent: this is [redacted]\n" {
		t.Errorf("the log is %q", got)
	}
}

func TestRedactedWriterOfARun(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	var out bytes.Buffer
	w := run.Redacted(&out)
	if err := run.Redact("hunter2"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "hunter2 hun")
	if err := w.Close(); err != nil || out.String() != "[redacted] hun" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// A run that is told a secret too short to be kept does not begin, or go on, as if nothing were wrong.
func TestShortSecretIsRefused(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	good := r.options
	r.options.Redact = []string{"long enough", "tiny"}
	var short *livelog.ShortSecretError
	if _, err := agent.Start(t.Context(), r.queue, r.claim, r.options); !errors.As(err, &short) || short.Index != 1 {
		t.Errorf("Start = %v", err)
	}
	if left, err := os.ReadDir(r.options.StateDir); err != nil || len(left) > 0 {
		t.Errorf("there is a state folder: %v, %v", left, err)
	}
	run, err := agent.Start(t.Context(), r.queue, r.claim, good)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(run.Log("terminal.log"), "before\n")
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := agent.Unfinished(good.StateDir)
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	if _, err := agent.Resume(t.Context(), r.queue, left[0], r.options); !errors.As(err, &short) {
		t.Errorf("Resume = %v", err)
	}
	good.Redact = []string{"long enough"}
	if run, err = agent.Resume(t.Context(), r.queue, left[0], good); err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	io.WriteString(run.Log("terminal.log"), "it is long enough\n")
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if got := string(r.stored("artifacts/terminal.log")); got != "before\nit is [redacted]\n" {
		t.Errorf("the log is %q", got)
	}
}
