package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// The queue answers 404 to a report that went through before, just as to an unknown one.
func TestReportWhoseAnswerIsLost(t *testing.T) {
	for name, noStorage := range map[string]bool{"settled by the resolution": false, "settled by the status": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, agenttest.Options{})
			if noStorage {
				r.options.Storage = nil
			}
			r.inject(agenttest.Fault{What: "completed", Kind: "lost", Count: 1})
			run := r.start(t.Context())
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil || !summary.Reported {
				t.Fatalf("Complete = %+v, %v", summary, err)
			}
			if n := r.count("completed", ""); n != 2 {
				t.Errorf("%d reports, want the lost one and its repeat", n)
			}
			r.checkHistory()
		})
	}
}

func TestReportIsRepeatedUntilTheQueueTakesIt(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "completed", Kind: "503", Count: 3})
	r.inject(agenttest.Fault{What: "completed", Kind: "reset", Count: 2})
	run := r.start(t.Context())
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: false}); err != nil {
		t.Fatal(err)
	}
	if r.state() != schema.Completed {
		t.Errorf("state = %s", r.state())
	}
	resolution, err := r.storage.Resolution(r.ctx(), r.claim.Task())
	if err != nil || resolution.Success || r.result().Metadata.Success {
		t.Errorf("resolution = %+v, %v, result %+v; the task has failed", resolution, err, r.result().Metadata)
	}
	r.checkHistory()
}

// A report that another run has made impossible is a lost claim, not a success.
func TestReportAfterTheRunWasGivenAway(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	if _, err := run.Finish(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.server.LoseClaim(r.claim.Task()); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); !errors.Is(err, agent.ErrClaimLost) {
		t.Errorf("Complete = %v, want a lost claim", err)
	}
}

func TestNoReportWithoutLogsDocument(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "put", Kind: "400", Code: "InvalidRequest", Path: "logs.json"})
	run := r.start(t.Context())
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err == nil {
		t.Error("completed without logs.json")
	}
	if r.count("completed", "") != 0 || r.stored("result.json") != nil {
		t.Error("reported without logs.json")
	}
}

func TestNoReportWithoutResultDocument(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "put", Kind: "400", Code: "InvalidRequest", Path: "result.json"})
	run := r.start(t.Context())
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err == nil {
		t.Error("completed without result.json")
	}
	if r.count("completed", "") != 0 {
		t.Error("reported without result.json")
	}
}

// After a 404 to the report, the record decides: whose run it names, and nothing else.
func TestReportIsSettledByTheRecord(t *testing.T) {
	type run = schema.Run
	ours := run{RunID: firstRun(), Worker: schema.Worker{WorkerGroup: "group", WorkerID: "worker"}}
	laterOfOurs := run{RunID: firstRun() + 1, Worker: ours.Worker}
	ofAnother := run{RunID: firstRun(), Worker: schema.Worker{WorkerGroup: "group", WorkerID: "another"}}
	const completed, unknown, lost = "completed", "unknown", "lost"
	for name, row := range map[string]struct {
		resolution *run // that completed the task; nil: there is none
		state      schema.TaskState
		runs       []run
		otherTask  bool
		want       string
	}{
		"resolution names us":                 {resolution: &ours, want: completed},
		"resolution names a later run":        {resolution: &laterOfOurs, state: schema.Completed, runs: []run{ours, laterOfOurs}, want: lost},
		"resolution names another worker":     {resolution: &ofAnother, state: schema.Completed, runs: []run{ofAnother}, want: lost},
		"resolution of before a rerun":        {resolution: &ofAnother, state: schema.Completed, runs: []run{ofAnother, ours}, want: completed},
		"foreign resolution, no status":       {resolution: &ofAnother, want: unknown},
		"status: completed, our run":          {state: schema.Completed, runs: []run{ours}, want: completed},
		"status: completed by a later run":    {state: schema.Completed, runs: []run{ours, laterOfOurs}, want: lost},
		"status: completed by another worker": {state: schema.Completed, runs: []run{ofAnother}, want: lost},
		"status: completed, but no run":       {state: schema.Completed, want: lost},
		"status: running, our run":            {state: schema.Running, runs: []run{ours}, want: unknown},
		"status: running, a later run":        {state: schema.Running, runs: []run{ours, laterOfOurs}, want: lost},
		"status: running, another worker":     {state: schema.Running, runs: []run{ofAnother}, want: lost},
		"status: pending again":               {state: schema.Pending, runs: []run{ours}, want: lost},
		"status: failed":                      {state: schema.Failed, runs: []run{ours}, want: lost},
		"status of another task":              {state: schema.Completed, runs: []run{ours}, otherTask: true, want: unknown},
		"no status":                           {want: unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{})
			status, err := r.queue.Status(r.ctx(), r.claim.Task())
			if err != nil {
				t.Fatal(err)
			}
			status.State, status.Runs = row.state, append([]run{}, row.runs...)
			if row.otherTask {
				status.TaskID = "AAAAAAAAAAAAAAAAAAAAAA"
			}
			r.between(func(w http.ResponseWriter, req *http.Request) bool {
				switch {
				case strings.HasSuffix(req.URL.Path, "/completed"):
					http.NotFound(w, req)
				case strings.HasSuffix(req.URL.Path, "/status") && row.state == "":
					http.NotFound(w, req)
				case strings.HasSuffix(req.URL.Path, "/status"):
					fmt.Fprint(w, asJSON(t, schema.StatusAnswer{Status: status}))
				default:
					return false
				}
				return true
			})
			storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if row.resolution == nil {
					http.NotFound(w, req)
					return
				}
				status := status
				status.State, status.Runs = schema.Completed, []run{*row.resolution}
				fmt.Fprint(w, asJSON(t, schema.Resolution{
					Version: schema.Version, Status: status, RunID: row.resolution.RunID, Worker: row.resolution.Worker, Success: true,
					ResultURL: "http://storage.example/result.json", LogsURL: "http://storage.example/logs.json",
				}))
			}))
			defer storage.Close()
			if r.options.Storage, err = queue.NewStorage(storage.URL, queue.Options{MinBackoff: time.Millisecond}); err != nil {
				t.Fatal(err)
			}

			summary, err := r.start(t.Context()).Complete(r.ctx(), agent.Outcome{Success: true})
			got := "error"
			switch {
			case err == nil && summary.Reported:
				got = completed
			case errors.Is(err, agent.ErrUnknownOutcome):
				got = unknown
			case errors.Is(err, agent.ErrClaimLost):
				got = lost
			}
			if got != row.want {
				t.Errorf("Complete: %s (%v), want %s", got, err, row.want)
			}
		})
	}
}

// The claim is lost while the report is on its way: it is not sent again and again.
func TestClaimLostWhileReporting(t *testing.T) {
	for name, went := range map[string]bool{"before it went through": false, "because it went through": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{ClaimLength: 2 * time.Second})
			if went {
				r.inject(agenttest.Fault{What: "completed", Kind: "lost", Count: 1})
				r.inject(agenttest.Fault{What: "reclaim", Kind: "503"}) // so that the claim lapses
			}
			r.inject(agenttest.Fault{What: "completed", Kind: "503"})
			run := r.start(t.Context())
			type answer struct {
				summary *agent.Summary
				err     error
			}
			ended := make(chan answer, 1)
			go func() {
				summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
				ended <- answer{summary, err}
			}()
			eventually(t, "two reports", func() bool { return r.count("completed", "") >= 2 })
			if !went {
				if err := r.server.LoseClaim(r.claim.Task()); err != nil {
					t.Fatal(err)
				}
			}
			got := <-ended
			if went && (got.err != nil || !got.summary.Reported) {
				t.Errorf("Complete = %+v, %v; the resolution names our run", got.summary, got.err)
			}
			if !went && !errors.Is(got.err, agent.ErrClaimLost) {
				t.Errorf("Complete = %v, want a lost claim", got.err)
			}
		})
	}
}

// A report that was cut short may have gone through: the error says so, and another call settles it.
func TestReportThatIsCutShort(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "completed", Kind: "stall", Count: 1})
	run := r.start(t.Context())
	ctx, cancel := context.WithCancelCause(r.ctx())
	why := errors.New("the worker shuts down")
	ended := make(chan error, 1)
	go func() {
		_, err := run.Complete(ctx, agent.Outcome{Success: true})
		ended <- err
	}()
	eventually(t, "the report", func() bool { return r.count("completed", "") == 1 })
	cancel(why)
	if err := <-ended; !errors.Is(err, agent.ErrUnknownOutcome) || !errors.Is(err, why) {
		t.Fatalf("Complete = %v, want an unknown outcome and the cause", err)
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil || !summary.Reported {
		t.Errorf("second Complete = %+v, %v", summary, err)
	}
	r.checkHistory()
}

// The first call to Finish decides what the run says of itself; another outcome is refused.
func TestResultIsFrozen(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	outcome := agent.Outcome{Success: true, Result: map[string]any{"text": "one", "number": 1}}
	if _, err := run.Finish(r.ctx(), outcome); err != nil {
		t.Fatal(err)
	}
	first := r.stored("result.json")
	for _, other := range []agent.Outcome{{Success: true}, {Success: false, Result: outcome.Result}, {Success: true, Result: map[string]any{"text": "another", "number": 1}}} {
		if _, err := run.Finish(r.ctx(), other); err == nil || !contains(err.Error(), "said otherwise") {
			t.Errorf("Finish with %+v = %v", other, err)
		}
		if _, err := run.Complete(r.ctx(), other); err == nil || !contains(err.Error(), "said otherwise") {
			t.Errorf("Complete with %+v = %v", other, err)
		}
	}
	summary, err := run.Complete(r.ctx(), outcome)
	if err != nil || !summary.Success {
		t.Fatalf("Complete = %+v, %v", summary, err)
	}
	if again := r.stored("result.json"); !bytes.Equal(first, again) || r.count("put", "result.json") != 1 {
		t.Errorf("result.json was stored %d times:\n%s\n%s", r.count("put", "result.json"), first, again)
	}
	if resolution, err := r.storage.Resolution(r.ctx(), r.claim.Task()); err != nil || !resolution.Success {
		t.Errorf("resolution = %+v, %v: reported otherwise than stored", resolution, err)
	}
	r.checkHistory()
}

// A result that could not be stored at first is stored later with the same bytes.
func TestResultKeepsItsBytesAcrossAttempts(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	sent := &bodies{next: upload.NewTransport(), path: "/result.json"}
	r.options.Uploader = upload.New(upload.Options{Transport: sent, MinBackoff: time.Millisecond})
	r.inject(agenttest.Fault{What: "put", Kind: "400", Code: "InvalidRequest", Path: "result.json", Count: 1})
	run := r.start(t.Context())
	if _, err := run.Finish(r.ctx(), agent.Outcome{Success: true}); err == nil {
		t.Fatal("Finish without a result")
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := sent.all(); len(got) != 2 || got[0] != got[1] || !summary.Success {
		t.Errorf("sent as result.json: %q", got)
	}
	r.checkHistory()
}
