package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/upload"
)

// Part of the log is lost: nothing is reported, and what there is of the log can be read.
func TestLostLogIsNotReported(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	server, err := agenttest.New(t.TempDir(), agenttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var stderr bytes.Buffer
	run := taskRun{io: &stdio{in: strings.NewReader(""), out: io.Discard, err: &stderr}, logger: slog.New(slog.DiscardHandler), grace: time.Second, uploads: upload.New(upload.Options{}), progress: noProgress()}
	if err := run.claimFrom(t.Context(), server, nil); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	run.work = func(_ context.Context, _ <-chan os.Signal, r *agent.Run) (exit, error) {
		fmt.Fprintln(r.Log(agent.DefaultLog), "the first line")
		return exit{}, full
	}
	var status *statusError
	if err := run.run(t.Context()); !errors.Is(err, full) || !errors.As(err, &status) || status.status != statusAgentFailed {
		t.Errorf("run = %v, want status %d", err, statusAgentFailed)
	}
	folder := string(run.claim.Task()) + "/runs/0/"
	if text, err := server.Object(folder + "artifacts/terminal.log"); err != nil || string(text) != "the first line\nupload-agent: "+abandoned+"\n" {
		t.Errorf("the log is %q, %v", text, err)
	}
	if _, err := server.Object(folder + "result.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a result: %v", err)
	}
	for _, request := range server.Requests() {
		if request.What == "completed" {
			t.Error("reported")
		}
	}
}

// failing is a log on a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestOutputThatCannotBeKept(t *testing.T) {
	for name, argv := range map[string][]string{
		"output of the command": {"sh", "-c", "echo a line"},
		"why it did not start":  {"no-such-program"},
	} {
		c := child{argv: argv, io: &stdio{in: strings.NewReader(""), out: io.Discard, err: io.Discard}, log: failing{}, redacted: new(livelog.Redactor).Writer, grace: time.Second}
		if _, err := c.run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChildEnvironment(t *testing.T) {
	got := childEnvironment([]string{"PATH=/bin", "UPLOAD_AGENT_CLAIM=x", "UPLOAD_AGENTS=3", "TASK_ID=other", "UPLOAD_AGENT_SOCKET=outer", "NOTIFY_SOCKET=/run/n", "LISTEN_FDS=1"}, goodID, 7, "/tmp/s")
	if want := "PATH=/bin UPLOAD_AGENTS=3 TASK_ID=other TASK_ID=" + goodID + " RUN_ID=7 UPLOAD_AGENT_SOCKET=/tmp/s"; strings.Join(got, " ") != want { // the last one counts
		t.Errorf("environment = %q, want %q", got, want)
	}
}

func TestStatusOfAFailedRun(t *testing.T) {
	lost := &agent.ClaimLostError{TaskID: goodID}
	for _, row := range []struct {
		err  error
		want int
	}{
		{errors.New("disk full"), statusAgentFailed},
		{fmt.Errorf("run not completed: %w", lost), statusClaimLost},
		{errors.Join(errors.New("log lost"), lost), statusClaimLost},
		{agent.ErrUnknownOutcome, statusAgentFailed},
		{fmt.Errorf("%w: %w", agent.ErrUnknownOutcome, lost), statusAgentFailed}, // perhaps it was reported
	} {
		if got := runFailure(row.err); got.status != row.want || !errors.Is(got, row.err) {
			t.Errorf("status of %v = %d, want %d", row.err, got.status, row.want)
		}
	}
}
