package agent_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Under concurrent claims the first queue answers with another task's status. The run is the claimed task's all the same.
func TestClaimWithAnotherTasksStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newSimNetwork()
		server, err := agenttest.New(t.TempDir(), agenttest.Options{Listen: network.listen, Quirks2014: true, Signature: "v2"})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		var ids [2]schema.TaskID
		for i := range ids {
			status, err := server.PostTask(schema.Task{})
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = status.TaskID
		}
		transport := network.transport()
		defer transport.CloseIdleConnections()
		held := &heldClaim{next: transport, path: string(ids[0]) + "/claim", release: make(chan struct{})}
		q, err := queue.New(server.QueueURL(), queue.Options{Transport: held})
		if err != nil {
			t.Fatal(err)
		}
		worker := schema.Worker{WorkerGroup: "group", WorkerID: "worker"}
		claims := make(chan schema.Claim, 1)
		go func() {
			claim, err := q.Claim(t.Context(), ids[0], worker)
			if err != nil {
				t.Error(err)
			}
			claims <- claim
		}()
		synctest.Wait() // its request has arrived, but for its body
		if _, err := q.Claim(t.Context(), ids[1], worker); err != nil {
			t.Fatal(err)
		}
		close(held.release)
		claim := <-claims
		if claim.Status.TaskID != ids[1] {
			t.Fatalf("the status is that of %s: nothing is tested", claim.Status.TaskID)
		}

		run, err := agent.Start(t.Context(), q, claim, agent.Options{StateDir: t.TempDir(), Uploader: upload.New(upload.Options{Transport: transport})})
		if err != nil {
			t.Fatal(err)
		}
		defer run.Close()
		if _, err := run.Complete(t.Context(), agent.Outcome{Success: true}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []schema.TaskState{schema.Completed, schema.Running} {
			if status, err := server.Status(ids[i]); err != nil || status.State != want {
				t.Errorf("task %d is %s, want %s, %v", i, status.State, want, err)
			}
		}
		if v := server.Violations(); len(v) > 0 {
			t.Errorf("order of reports violated: %q", v)
		}
	})
}

// heldClaim holds back the body of requests to a path.
type heldClaim struct {
	next    http.RoundTripper
	path    string
	release chan struct{}
}

func (h *heldClaim) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, h.path) {
		r = r.Clone(r.Context())
		r.Body = &heldBody{ReadCloser: r.Body, release: h.release}
	}
	return h.next.RoundTrip(r)
}

type heldBody struct {
	io.ReadCloser
	release chan struct{}
}

func (b *heldBody) Read(p []byte) (int, error) {
	<-b.release
	return b.ReadCloser.Read(p)
}
