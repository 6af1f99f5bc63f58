package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Run is one run of a task, from its claim until it is completed or given up.
// Its methods are safe for concurrent use.
type Run struct {
	o       Options
	q       *queue.Client
	uploads *upload.Client
	dir     string // the state folder
	started time.Time

	ctx        context.Context // of everything in the background; ends with a cause
	end        context.CancelCauseFunc
	goroutines sync.WaitGroup
	ending     sync.Mutex
	ended      bool // nothing more is started in the background

	lease        *lease
	grants       *grants
	logsDocument *logsDocument
	artifacts    *artifacts

	mu     sync.Mutex
	logs   map[string]*runLog
	sealed time.Time // when the logs ended; zero before

	finishing sync.Mutex // held by Finish, Complete and Abandon
	summary   *Summary   // frozen when result.json is made
	result    []byte     // the bytes of result.json, the same at every attempt
}

// Start begins a run that the worker has claimed from the queue q: it opens the run's
// state folder, keeps the claim from now on, and stores logs.json in the background.
// It does not wait for the network.
//
// ctx is the life of the run: when it ends, uploads stop and nothing is reported. To end
// a run gracefully use [Run.Complete] or [Run.Abandon]. Whoever starts a run must
// Close it. The error is about the claim, the options or the local disk.
func Start(ctx context.Context, q *queue.Client, claim schema.Claim, o Options) (*Run, error) {
	// 1. The claim: whose run it is, and until when.
	if err := checkClaim(claim); err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	o = o.withDefaults()

	// 2. The state folder, the lease, and logs.json at once.
	dir, err := makeStateFolder(o.StateDir, claim)
	if err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	r := &Run{o: o, q: q, uploads: o.Uploader, dir: dir, started: time.Now(), logs: map[string]*runLog{}}
	if r.uploads == nil {
		r.uploads = upload.New(upload.Options{Logger: o.Logger})
	}
	r.ctx, r.end = context.WithCancelCause(ctx)
	r.lease = newLease(q, claim, o.Logger)
	r.grants = &grants{lease: r.lease}
	r.logsDocument = newLogsDocument(r.putLogsDocument)
	r.artifacts = newArtifacts(o.Uploads, r.background, r.putArtifact)
	r.background(r.keepLease)

	// 3. and 4. A spool and a live publisher for each log (log.go).
	for _, name := range o.Logs {
		if _, err := r.log(name); err != nil {
			return nil, errors.Join(fmt.Errorf("start run: %w", err), r.Close())
		}
	}
	r.background(func() { r.logsDocument.keep(r.ctx) })
	return r, nil
}

// String names the run. A Run prints as no more than that: what is inside is in use.
func (r *Run) String() string {
	return fmt.Sprintf("run %d of task %s", r.lease.runID, r.lease.taskID)
}

// GoString is String.
func (r *Run) GoString() string { return r.String() }

// Context ends when the run does. Run the task under it: its cause is a [ClaimLostError]
// when the claim is lost, and [ErrEnded] after Complete, Abandon or Close.
func (r *Run) Context() context.Context { return r.ctx }

// AddArtifact uploads an artifact in the background, while the task goes on.
// The name is checked now; whatever goes wrong later shows up in the [Summary] and in
// result.json as the reason why the artifact is missing.
//
// The source has to stay as it is until the run has ended: a file that changes while
// it is uploaded is not stored under false pretences but listed as missing.
func (r *Run) AddArtifact(name string, source upload.Source, o ArtifactOptions) error {
	// 5. Artifacts, at any time before the end (artifacts.go).
	if err := context.Cause(r.ctx); err != nil {
		return fmt.Errorf("add artifact %q: %w", name, err)
	}
	return r.artifacts.add(artifact{name: name, contentType: o.ContentType, source: source})
}

// AddMissing lists an artifact that there should have been, with the reason why there is none.
// Its name may be one that no artifact can have.
func (r *Run) AddMissing(name, reason string) error {
	return r.artifacts.addMissing(name, reason)
}

// 6. The lease (lease.go). When it is lost, everything in the background stops.
func (r *Run) keepLease() {
	if err := r.lease.keep(r.ctx); err != nil {
		r.end(err)
	}
}

// Finish stores all that a completed run leaves behind, but does not report it: for a
// worker that reports by itself. It seals the logs and waits until they and the
// artifacts are stored or given up, logs.json is up to date, and result.json is stored.
// The claim is kept until Close.
//
// If ctx ends first, Finish returns its cause and may be called again, with the same outcome.
// Any other error means that the run must not be reported: errors.Is finds [ErrClaimLost] where
// the claim is lost. Artifacts that are missing are no error: see [Summary].
func (r *Run) Finish(ctx context.Context, outcome Outcome) (*Summary, error) {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	if err := r.finish(ctx, outcome); err != nil {
		return nil, fmt.Errorf("finish run: %w", err)
	}
	return r.summary.clone(), nil
}

// 7. The end: logs, artifacts, logs.json, result.json, in this order.
func (r *Run) finish(ctx context.Context, outcome Outcome) error {
	if err := outcome.check(); err != nil {
		return err
	}
	ctx, stop := r.bound(ctx)
	defer stop()
	if err := context.Cause(ctx); err != nil {
		return err
	}

	r.artifacts.close()
	r.sealLogs()
	if err := r.waitLogs(ctx); err != nil {
		return err
	}
	if err := r.artifacts.wait(ctx); err != nil {
		return err
	}
	receipt, first, err := r.logsDocument.wait(ctx)
	if err != nil {
		return err
	}
	if r.summary == nil {
		if err := r.freeze(outcome, receipt, first); err != nil {
			return err
		}
	}
	if r.summary.Result.Attempts > 0 {
		return nil // stored by an earlier call
	}
	r.summary.Result, err = r.putDocument(ctx, "result.json", r.result, resultPutURL)
	return err
}

// freeze fixes the result: whatever happens from here on, these are its bytes.
func (r *Run) freeze(outcome Outcome, logs upload.Receipt, first time.Time) error {
	stored, missing := r.artifacts.outcome()
	s := &Summary{
		TaskID: r.lease.taskID, RunID: r.lease.runID, Success: outcome.Success,
		Started: r.started, Finished: r.sealed,
		Logs: logs, LogsAfter: first.Sub(r.started),
		Artifacts: stored, Missing: missing,
	}
	body, err := schema.Encode(s.result(r.lease.worker, outcome))
	if err != nil {
		return err
	}
	r.summary, r.result = s, body
	return nil
}

// Complete finishes the run as Finish does, then reports it completed, and ends it.
// After an error nothing has been reported, unless it is [ErrUnknownOutcome];
// if only ctx has ended, Complete may be called again.
func (r *Run) Complete(ctx context.Context, outcome Outcome) (*Summary, error) {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	if err := r.finish(ctx, outcome); err != nil {
		return nil, fmt.Errorf("complete run: %w", err)
	}
	if err := r.report(ctx, r.summary.Success); err != nil {
		return nil, fmt.Errorf("complete run: %w", err)
	}
	r.summary.Reported = true
	return r.summary.clone(), r.Close()
}

// Abandon ends a run without a result, so that the queue gives it to another worker when the
// claim lapses. What was logged so far is still published, for as long as ctx allows:
// often it says why.
func (r *Run) Abandon(ctx context.Context) error {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	r.sealLogs()
	waiting, stop := r.bound(ctx)
	err := r.waitLogs(waiting)
	if err == nil {
		_, _, err = r.logsDocument.wait(waiting) // without it nobody finds the logs
	}
	stop()
	return errors.Join(err, r.Close())
}

// Close ends the run at once, waits for everything in the background, and removes the
// state folder. It reports nothing. After Complete or Abandon it does nothing.
func (r *Run) Close() error {
	r.end(ErrEnded)
	r.ending.Lock()
	r.ended = true
	r.ending.Unlock()
	r.goroutines.Wait()
	r.sealLogs()
	var errs []error
	for _, log := range r.allLogs() {
		if err := log.spool.Remove(); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if r.o.Uploader == nil {
		r.uploads.CloseIdleConnections()
	}
	if err := errors.Join(append(errs, os.RemoveAll(r.dir))...); err != nil {
		return fmt.Errorf("close run: %w", err)
	}
	return nil
}

// background runs f in a goroutine that Close waits for. After Close it does not.
func (r *Run) background(f func()) bool {
	r.ending.Lock()
	defer r.ending.Unlock()
	if r.ended {
		return false
	}
	r.goroutines.Go(f)
	return true
}

// bound is ctx, ended early when the run ends. The function has to be called, once.
func (r *Run) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	hooked := make(chan struct{})
	unhook := context.AfterFunc(r.ctx, func() { defer close(hooked); cancel(context.Cause(r.ctx)) })
	if r.ctx.Err() != nil {
		cancel(context.Cause(r.ctx)) // at once, not when AfterFunc comes to it
	}
	return ctx, func() {
		if !unhook() {
			<-hooked
		}
		cancel(nil)
	}
}

func (s *Summary) clone() *Summary {
	c := *s
	c.Artifacts, c.Missing = maps.Clone(s.Artifacts), maps.Clone(s.Missing)
	return &c
}

func checkClaim(c schema.Claim) error {
	if !c.Task().Valid() {
		return fmt.Errorf("check claim: taskId %q is not 22 characters of A-Z a-z 0-9 - _", c.Task())
	}
	if c.WorkerGroup == "" || c.WorkerID == "" {
		return errors.New("check claim: workerGroup and workerId are missing; add them to the queue's answer")
	}
	for member, u := range map[string]schema.SignedURL{"logsPutUrl": c.LogsPutURL, "resultPutUrl": c.ResultPutURL} {
		p, err := url.Parse(u.Reveal())
		if err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
			return fmt.Errorf("check claim: %s is not an http or https URL", member)
		}
	}
	return nil
}
