package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// The answer says that the claim is lost: it is not asked again, uploads stop, nothing is reported.
func TestReclaimAnswers404Or409(t *testing.T) {
	for _, status := range []string{"404", "409"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{ClaimLength: 3 * time.Second})
			r.options.Uploader = upload.New(upload.Options{StallTimeout: time.Hour})
			r.inject(agenttest.Fault{What: "put", Kind: "stall", Path: "artifacts/stuck"})
			r.inject(agenttest.Fault{What: "reclaim", Kind: status})
			run := r.start(t.Context())
			fmt.Fprintln(run.Log("terminal.log"), "a line")
			if err := run.AddArtifact("stuck", upload.Bytes([]byte("x")), agent.ArtifactOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the stalled upload, and the log", func() bool {
				return r.count("put", "stuck") == 1 && r.stored("artifacts/terminal.log") != nil
			})
			var lost *agent.ClaimLostError
			if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); !errors.As(err, &lost) || !errors.Is(context.Cause(run.Context()), agent.ErrClaimLost) {
				t.Errorf("Complete = %v, cause %v; want a lost claim", err, context.Cause(run.Context()))
			}
			if n := r.count("reclaim", ""); n != 1 {
				t.Errorf("%d reclaims, want 1", n)
			}
			if r.count("completed", "") != 0 || r.stored("result.json") != nil || r.stored("artifacts/stuck") != nil {
				t.Error("something was stored or reported after the claim was lost")
			}
			if got := string(r.stored("artifacts/terminal.log")); got != "a line\n" {
				t.Errorf("the log is %q", got)
			}
		})
	}
}

// A reclaim that fails for another reason is tried again. The claim holds meanwhile, and ends only when it lapses.
func TestReclaimFailsForAnotherReason(t *testing.T) {
	for _, kind := range []string{"500", "503", "429", "400", "reset", "lost"} {
		t.Run(kind+" twice", func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{ClaimLength: 12 * time.Second})
			r.inject(agenttest.Fault{What: "reclaim", Kind: kind, Count: 2})
			r.inject(agenttest.Fault{What: "put", Kind: "expired", Path: "result.json", Count: 1}) // wants a reclaim now
			run := r.start(t.Context())
			fmt.Fprintln(run.Log("terminal.log"), "a line")
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil || summary.Result.Renewals != 1 {
				t.Fatalf("Complete = %+v, %v", summary, err)
			}
			if n := r.count("reclaim", ""); n != 3 {
				t.Errorf("%d reclaims, want two that failed and one more", n)
			}
			if got := string(r.stored("artifacts/terminal.log")); got != "a line\n" {
				t.Errorf("the log is %q", got)
			}
			r.checkHistory()
		})
	}
	for _, kind := range []string{"503", "400"} {
		t.Run(kind+" for ever", func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{ClaimLength: 5 * time.Second})
			r.inject(agenttest.Fault{What: "reclaim", Kind: kind})
			until, ok := upload.Expiry(r.claim.LogsPutURL)
			run := r.start(t.Context())
			fmt.Fprintln(run.Log("terminal.log"), "a line")
			eventually(t, "the log", func() bool { return r.stored("artifacts/terminal.log") != nil })
			<-run.Context().Done()
			if early := time.Until(until); !ok || early > 500*time.Millisecond {
				t.Errorf("given up %v before the claim lapses", early)
			}
			if !errors.Is(context.Cause(run.Context()), agent.ErrClaimLost) {
				t.Errorf("cause = %v, want a lost claim", context.Cause(run.Context()))
			}
			if n := r.count("reclaim", ""); n < 2 {
				t.Errorf("%d reclaims, want several", n)
			}
			if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); !errors.Is(err, agent.ErrClaimLost) {
				t.Errorf("Complete = %v, want a lost claim", err)
			}
			if r.count("completed", "") != 0 || r.stored("result.json") != nil {
				t.Error("reported after the claim had lapsed")
			}
			if got := string(r.stored("artifacts/terminal.log")); got != "a line\n" {
				t.Errorf("the log is %q", got)
			}
		})
	}
}

// A 404 to the report may be the answer to an earlier one that went through. It is not repeated: the records tell.
func TestCompletedAnswers404(t *testing.T) {
	for name, row := range map[string]struct {
		fault   agenttest.Fault
		reports int
		want    error
	}{
		"because the first report went through":   {agenttest.Fault{What: "completed", Kind: "lost", Count: 1}, 2, nil},
		"while the queue says that the run is on": {agenttest.Fault{What: "completed", Kind: "404"}, 1, agent.ErrUnknownOutcome},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{})
			r.inject(row.fault)
			run := r.start(t.Context())
			fmt.Fprintln(run.Log("terminal.log"), "a line")
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if !errors.Is(err, row.want) || err == nil && !summary.Reported {
				t.Errorf("Complete = %+v, %v; want %v", summary, err, row.want)
			}
			if n := r.count("completed", ""); n != row.reports {
				t.Errorf("%d reports, want %d", n, row.reports)
			}
			if n := r.count("put", "result.json"); n != 1 || r.result().Artifacts["terminal.log"] == "" || string(r.stored("artifacts/terminal.log")) != "a line\n" {
				t.Errorf("result.json was put %d times: %s", n, r.stored("result.json"))
			}
			r.checkHistory()
		})
	}
}

// changes makes a change when a part of an object has been sent.
type changes struct {
	next   http.RoundTripper
	path   string // in the object's URL
	change func() error
}

func (c changes) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.Contains(req.URL.Path, c.path) {
		body := req.Body
		req = req.Clone(req.Context())
		req.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(body, 1000), onRead(c.change), body), body}
	}
	return c.next.RoundTrip(req)
}

// onRead is an empty reader that does something.
type onRead func() error

func (f onRead) Read([]byte) (int, error) {
	if err := f(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// A file that shrinks or changes while it is uploaded is tried once, and then missing with that reason: result.json never names it.
func TestArtifactShrinksOrChangesDuringTheUpload(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"shrinks": func(file string) error { return os.Truncate(file, 10) },
		"changes": func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte("x"), 100_000), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, agenttest.Options{})
			file := filepath.Join(t.TempDir(), "file")
			then := time.Now().Add(-time.Hour)
			if err := errors.Join(os.WriteFile(file, make([]byte, 100_000), 0o600), os.Chtimes(file, then, then)); err != nil {
				t.Fatal(err)
			}
			r.options.Uploader = upload.New(upload.Options{Transport: changes{upload.NewTransport(), "artifacts/restless", func() error { return change(file) }}})
			t.Cleanup(r.options.Uploader.CloseIdleConnections)
			run := r.start(t.Context())
			for name, source := range map[string]upload.Source{"restless": upload.File(file), "good": upload.Bytes([]byte("good"))} {
				if err := run.AddArtifact(name, source, agent.ArtifactOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil || !strings.Contains(summary.Missing["restless"], "changed while it was uploaded") {
				t.Fatalf("Complete = %+v, %v", summary, err)
			}
			if n := r.count("put", "artifacts/restless"); n != 1 {
				t.Errorf("%d uploads, want 1", n)
			}
			if _, named := r.result().Artifacts["restless"]; named || r.missing()["restless"] == nil || string(r.stored("artifacts/good")) != "good" {
				t.Errorf("result.json: %s", r.stored("result.json"))
			}
			r.checkHistory()
		})
	}
}
