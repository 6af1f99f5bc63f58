package main

import (
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// A queue that does not answer is not waited for for ever; the run is kept, and resumed when it does.
func TestResumeWithoutAQueue(t *testing.T) {
	server, err := agenttest.New(t.TempDir(), agenttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	q, err := queue.New(server.QueueURL(), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	claim, err := server.PostAndClaim(schema.Worker{})
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	run, err := agent.Start(t.Context(), q, claim, agent.Options{StateDir: state})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Close(); err != nil { // with nothing done
		t.Fatal(err)
	}
	if err := server.Inject(agenttest.Fault{What: "reclaim", Kind: "stall", Count: 1}); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	r := resumer{
		io: &stdio{out: io.Discard, err: io.Discard}, logger: logger, uploads: upload.New(upload.Options{Logger: logger}),
		wait: 100 * time.Millisecond, progress: noProgress(), queues: map[string]*queue.Client{},
	}
	defer r.uploads.CloseIdleConnections()
	folder := filepath.Join(state, string(claim.Task())+"-0")
	if got := r.resume(t.Context(), folder); got.State != stateNotResumed || !strings.Contains(got.Error, server.QueueURL()+" has not answered within 100ms") {
		t.Errorf("the queue is silent: %v", got)
	}
	r.wait = time.Minute
	if got := r.resume(t.Context(), folder); got.State != stateClosed || !isGone(folder) {
		t.Errorf("the queue is back: %v", got)
	}
}
