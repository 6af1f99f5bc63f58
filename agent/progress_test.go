package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// Whoever has added an artifact can wait until it is stored, or learns why it is not.
func TestWaitArtifact(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	if _, err := run.WaitArtifact(t.Context(), "unheard of"); !errors.Is(err, agent.ErrNotAdded) {
		t.Errorf("an artifact that nobody has added: %v", err)
	}
	for name, source := range map[string]upload.Source{"small": upload.Bytes([]byte("abc")), "gone": upload.File(t.TempDir() + "/gone")} {
		if err := run.AddArtifact(name, source, agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if receipt, err := run.WaitArtifact(r.ctx(), "small"); err != nil || receipt.Size != 3 || string(r.stored("artifacts/small")) != "abc" {
		t.Errorf("small: %+v, %v", receipt, err)
	}
	missing := (*agent.MissingError)(nil)
	if _, err := run.WaitArtifact(r.ctx(), "gone"); !errors.As(err, &missing) || !strings.Contains(missing.Reason, "no such file") {
		t.Errorf("gone: %v", err)
	}
}

// A look at the progress tells what there is.
func TestProgress(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.between(func(_ http.ResponseWriter, req *http.Request) bool { // the queue grants it late
		if body, _ := io.ReadAll(req.Body); bytes.Contains(body, []byte(`"slow"`)) {
			<-req.Context().Done()
		} else {
			req.Body = io.NopCloser(bytes.NewReader(body))
		}
		return false
	})
	run := r.start(t.Context())
	if _, err := io.WriteString(run.Log(agent.DefaultLog), "a line\n"); err != nil {
		t.Fatal(err)
	}
	if err := run.AddMissing("never", "there was none"); err != nil {
		t.Fatal(err)
	}
	add := func(name string) {
		if err := run.AddArtifact(name, upload.Bytes([]byte("abc")), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	add("quick")
	if _, err := run.WaitArtifact(r.ctx(), "quick"); err != nil {
		t.Fatal(err)
	}
	add("slow")
	p := run.Progress()
	if p.TaskID != r.claim.Task() || p.Started.IsZero() || !p.TakenUntil.After(time.Now()) || p.Err != nil {
		t.Errorf("the run: %+v", p)
	}
	if p.Stored["quick"].Size != 3 || len(p.Stored) != 1 || p.Missing["never"] != "there was none" || len(p.Missing) != 1 || p.Waiting != 1 || p.Queue[0] != "slow" {
		t.Errorf("artifacts: %+v", p)
	}
	waiting := make(chan error)
	go func() {
		_, err := run.WaitArtifact(context.Background(), "slow")
		waiting <- err
	}()
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, agent.ErrEnded) {
		t.Errorf("who waited to the end: %v", err)
	}
	if p = run.Progress(); !errors.Is(p.Err, agent.ErrEnded) {
		t.Errorf("when it has ended: %v", p.Err)
	}
	if receipt, err := run.WaitArtifact(r.ctx(), "quick"); err != nil || receipt.Size != 3 {
		t.Errorf("what was stored before: %+v, %v", receipt, err)
	}
}
