package agent_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

func TestLeaseReclaimsBeforeTheClaimLapses(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{ClaimLength: 2 * time.Second})
	run := r.start(t.Context())
	eventually(t, "three reclaims", func() bool { return r.count("reclaim", "") >= 3 })
	var last time.Time
	for _, request := range r.server.Requests() {
		if request.What != "reclaim" {
			continue
		}
		if pause := request.At.Sub(last); pause < 400*time.Millisecond { // signed URLs lose up to a second to rounding
			t.Errorf("reclaimed after %v, want half of what the latest claim lasts", pause)
		}
		last = request.At
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if r.state() != schema.Completed {
		t.Errorf("state = %s", r.state())
	}
	r.checkHistory()
}

func TestLeaseSurvivesAQueueThatIsAway(t *testing.T) {
	for _, kind := range []string{"503", "reset", "400", "lost"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{ClaimLength: 8 * time.Second})
			r.inject(agenttest.Fault{What: "reclaim", Kind: kind, Count: 2})
			run := r.start(t.Context())
			eventually(t, "a reclaim after two that went wrong", func() bool { return r.count("reclaim", "") >= 3 })
			if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
				t.Fatal(err)
			}
			r.checkHistory()
		})
	}
}

// claimLost checks all that must hold once a claim is lost.
func claimLost(t *testing.T, r *rig, run *agent.Run) {
	t.Helper()
	select {
	case <-run.Context().Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the run's context does not end")
	}
	var lost *agent.ClaimLostError
	if cause := context.Cause(run.Context()); !errors.Is(cause, agent.ErrClaimLost) || !errors.As(cause, &lost) || lost.TaskID != r.claim.Task() {
		t.Fatalf("cause = %v", cause)
	}
	puts := r.count("put", "")
	if err := run.AddArtifact("late", upload.Bytes([]byte("late")), agent.ArtifactOptions{}); !errors.Is(err, agent.ErrClaimLost) {
		t.Errorf("AddArtifact = %v", err)
	}
	fmt.Fprintln(run.Log("terminal.log"), "nobody will see this")
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); !errors.Is(err, agent.ErrClaimLost) {
		t.Errorf("Complete = %v", err)
	}
	if err := run.Close(); err != nil {
		t.Error(err)
	}
	if n := r.count("put", ""); n != puts {
		t.Errorf("%d uploads began after the claim was lost", n-puts)
	}
	if r.count("completed", "") != 0 || r.stored("result.json") != nil {
		t.Error("a run was reported after its claim was lost")
	}
}

func TestClaimLostWhenTheQueueSaysSo(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{ClaimLength: 2 * time.Second})
	run := r.start(t.Context())
	eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
	if err := r.server.LoseClaim(r.claim.Task()); err != nil {
		t.Fatal(err)
	}
	claimLost(t, r, run)
}

// The queue refuses an artifact's URL because the run is no longer ours: that is found out
// now, not at half time.
func TestClaimLostWhenURLsAreRefused(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
	if err := r.server.LoseClaim(r.claim.Task()); err != nil {
		t.Fatal(err)
	}
	r.inject(agenttest.Fault{What: "artifact-urls", Kind: "404", Path: string(r.claim.Task())}) // the first queue would grant it
	if err := run.AddArtifact("refused", upload.Bytes(nil), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	claimLost(t, r, run)
}

// Abandon does not wait for uploads that cannot be any more.
func TestAbandonAfterTheClaimIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{ClaimLength: 2 * time.Second})
	r.options.Uploader = upload.New(upload.Options{StallTimeout: time.Hour})
	r.inject(agenttest.Fault{What: "put", Kind: "stall", Path: "artifacts/"})
	run := r.start(t.Context())
	fmt.Fprintln(run.Log("terminal.log"), "stuck")
	eventually(t, "the stalled upload", func() bool { return r.count("put", "artifacts/") == 1 })
	if err := r.server.LoseClaim(r.claim.Task()); err != nil {
		t.Fatal(err)
	}
	if err := run.Abandon(r.ctx(), ""); !errors.Is(err, agent.ErrClaimLost) {
		t.Errorf("Abandon = %v", err)
	}
}

func TestClaimLostWhenTheQueueStaysAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{ClaimLength: 2 * time.Second})
	r.inject(agenttest.Fault{What: "reclaim", Kind: "503"})
	until := time.Now().Add(2 * time.Second)
	run := r.start(t.Context())
	claimLost(t, r, run)
	if late := time.Since(until); late > 20*time.Second {
		t.Errorf("noticed %v after the claim lapsed", late)
	}
}

// The claim is lost while an upload stands still: it is stopped, not waited for.
func TestClaimLostStopsUploads(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{ClaimLength: 2 * time.Second})
	r.options.Uploader = upload.New(upload.Options{StallTimeout: time.Hour})
	r.inject(agenttest.Fault{What: "put", Kind: "stall", Path: "artifacts/stuck"})
	run := r.start(t.Context())
	if err := run.AddArtifact("stuck", upload.Bytes([]byte("x")), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stalled upload", func() bool { return r.count("put", "stuck") == 1 })
	if err := r.server.LoseClaim(r.claim.Task()); err != nil {
		t.Fatal(err)
	}
	claimLost(t, r, run)
}

func TestExpiredDocumentURLsAreRenewedByReclaiming(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "put", Kind: "expired", Path: "result.json", Count: 2})
	run := r.start(t.Context())
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.count("reclaim", ""); n != 2 || summary.Result.Renewals != 2 {
		t.Errorf("%d reclaims, receipt %+v; want two renewals", n, summary.Result)
	}
	r.checkHistory()
}

func TestExpiredArtifactURLsAreAskedForAgain(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "put", Kind: "expired", Path: "artifacts/a", Count: 2})
	run := r.start(t.Context())
	if err := run.AddArtifact("a", upload.Bytes([]byte("a")), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := summary.Artifacts["a"]; got.Renewals != 2 || string(r.stored("artifacts/a")) != "a" {
		t.Errorf("receipt %+v, stored %q", got, r.stored("artifacts/a"))
	}
}

// A claim whose end seems to have passed may only mean that our clock is wrong: the queue is asked.
func TestClaimThatSeemsToHaveLapsedIsReclaimed(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{})
	r.lapse()
	run := r.start(t.Context())
	if _, err := run.Finish(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if r.count("reclaim", "") == 0 {
		t.Error("the queue was not asked")
	}
	r.checkHistory()
}
