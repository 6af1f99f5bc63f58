package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Run is one run of a task, from its claim until it is completed or given up.
// Its methods are safe for concurrent use.
type Run struct {
	o        Options
	q        *queue.Client
	uploads  *upload.Client
	folder   *stateFolder
	redactor *livelog.Redactor
	started  time.Time

	ctx        context.Context // of everything in the background; ends with a cause
	end        context.CancelCauseFunc
	goroutines sync.WaitGroup
	ending     sync.Mutex
	ended      bool // nothing more is started in the background
	closing    sync.Once
	closeErr   error

	lease        *lease
	grants       *grants
	logsDocument *logsDocument
	logGrants    chan grantedLogs // where the logs of Start will be; taken by the keeper of logs.json. nil: nobody has asked
	early        chan earlyLogs   // the same for the logs.json that was put at once; closed
	artifacts    *artifacts
	packer       packer

	logsEnded  chan struct{} // closed once the journal knows that the logs have ended
	endingLogs sync.Once

	mu     sync.Mutex
	logs   map[string]*runLog
	sealed time.Time // when the logs ended; zero before

	finishing sync.Mutex       // held by Finish, Complete, Conclude and Abandon
	settled   *journal.Outcome // what the worker has said of the run; nil before
	summary   *Summary         // frozen when result.json is made
	result    []byte           // the bytes of result.json, the same at every attempt
	continued map[string]int64 // of a resumed run: the bytes of each log that were stored before
	inDoubt   bool             // a report may have gone through
	over      bool             // there is nothing left to resume
}

// Start begins a run that the worker has claimed from the queue q: it opens the run's
// state folder and its journal, keeps the claim from now on, and stores logs.json in the background.
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
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	lease := newLease(q, claim, o.Logger)
	redactor, err := livelog.NewRedactor(o.Redact...)
	if err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}

	// 2. The state folder with its journal, the lease, and logs.json at once: the queue is asked where the logs will be,
	// and logs.json is put, while the disk makes the folder last.
	r := newRun(ctx, q, lease, redactor, o)
	r.started = time.Now()
	r.askForLogs(o.Logs)
	folder, err := makeStateFolder(o.disk, o.StateDir, lease.journalled(q.URL()))
	if err != nil {
		r.end(ErrEnded)
		r.goroutines.Wait()
		return nil, fmt.Errorf("start run: %w", err)
	}
	r.keepIn(folder)
	r.background(r.keepLease)

	// 3. and 4. A spool and a live publisher for each log (log.go).
	for _, name := range o.Logs {
		if _, err := r.log(name); err != nil {
			r.over = true
			return nil, errors.Join(fmt.Errorf("start run: %w", err), r.Close())
		}
	}
	r.background(func() { r.logsDocument.keep(r.ctx) })
	return r, nil
}

// newRun is a run with nothing under way yet, and without a state folder: see keepIn.
func newRun(ctx context.Context, q *queue.Client, lease *lease, redactor *livelog.Redactor, o Options) *Run {
	r := &Run{o: o, q: q, uploads: o.Uploader, redactor: redactor, lease: lease, logsEnded: make(chan struct{}), logs: map[string]*runLog{}}
	if r.uploads == nil {
		r.uploads = upload.New(upload.Options{Logger: o.Logger})
	}
	r.ctx, r.end = context.WithCancelCause(ctx)
	r.lease.note = r.claimRenewed
	r.grants = &grants{lease: r.lease, pool: o.Pool, giveUpAfter: o.GiveUpAfter}
	r.logsDocument = newLogsDocument(r.putLogsDocument)
	r.artifacts = newArtifacts(o.Uploads, r.background, r.grantArtifacts, r.putArtifact, r)
	r.artifacts.pooled = o.Pool != nil
	return r
}

// keepIn gives the run its state folder, watches over the journal there, and renews links to streams.
func (r *Run) keepIn(folder *stateFolder) {
	r.folder = folder
	r.background(r.watchJournal)
	if r.o.Stream != nil {
		r.background(r.keepLinks)
	}
}

// String names the run. A Run prints as no more than that: what is inside is in use.
func (r *Run) String() string {
	return fmt.Sprintf("run %d of task %s", r.lease.runID, r.lease.taskID)
}

// GoString is String.
func (r *Run) GoString() string { return r.String() }

// Context ends when the run does. Run the task under it: its cause is a [ClaimLostError]
// when the claim is lost, a [StateError] when the disk cannot keep the journal, and [ErrEnded] after Complete, Abandon or Close.
func (r *Run) Context() context.Context { return r.ctx }

// AddArtifact uploads an artifact in the background, while the task goes on.
// The name is checked now; whatever goes wrong later shows up in the [Summary] and in
// result.json as the reason why the artifact is missing.
//
// The source has to stay as it is until the run has ended: a file that changes while
// it is uploaded is not stored under false pretences but listed as missing. What is written again later can take its own place: see
// [ArtifactOptions].Replace. A file survives the end of
// the process, see [Resume]; what is only in memory does not.
func (r *Run) AddArtifact(name string, source upload.Source, o ArtifactOptions) error {
	// 5. Artifacts, at any time before the end (artifacts.go).
	if err := context.Cause(r.ctx); err != nil {
		return fmt.Errorf("add artifact %q: %w", name, err)
	}
	return r.artifacts.add(artifact{name: name, options: o, source: source})
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
// The first outcome stands: from then on the run can be resumed to its end, and another outcome is an error.
// If ctx ends first, Finish returns its cause and may be called again, with the same outcome.
// Any other error means that the run must not be reported: errors.Is finds [ErrClaimLost] where
// the claim is lost. Artifacts that are missing are no error: see [Summary].
func (r *Run) Finish(ctx context.Context, outcome Outcome) (*Summary, error) {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	if err := r.finish(ctx, outcome, false); err != nil {
		return nil, fmt.Errorf("finish run: %w", err)
	}
	r.over = true
	return r.summary.shown(), nil
}

// 7. The end: the outcome, then logs, artifacts, logs.json, result.json, in this order.
func (r *Run) finish(ctx context.Context, outcome Outcome, report bool) error {
	if err := outcome.check(); err != nil {
		return err
	}
	ctx, stop := r.bound(ctx)
	defer stop()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := r.settle(outcome, report); err != nil {
		return err
	}
	if r.summary == nil {
		if err := r.gather(ctx, outcome); err != nil {
			return err
		}
	}
	if r.summary.Result.Attempts > 0 {
		return nil // stored by an earlier call
	}
	receipt, err := r.putDocument(ctx, "result.json", r.result, resultPutURL)
	if err == nil {
		err = r.folder.journal.Append(journal.Record{Step: journal.ResultStored, Receipt: journalled(receipt)})
	}
	if err == nil {
		r.summary.Result, r.result = receipt, nil
	}
	return err
}

// settle ends the logs, takes no more artifacts, and fixes the outcome.
func (r *Run) settle(outcome Outcome, report bool) error {
	said, err := outcome.journalled(report)
	if err != nil {
		return err
	}
	if r.settled != nil && !sameOutcome(said, *r.settled) {
		return errors.New("settle outcome: an earlier call has said otherwise of this run, and that stands")
	}
	if err := r.artifacts.close(); err != nil {
		return err
	}
	r.sealLogs()
	if r.settled != nil {
		return nil
	}
	said.Logs = r.sealedLogs()
	if err := r.folder.journal.Append(journal.Record{Step: journal.OutcomeKnown, At: r.sealed, Outcome: &said}); err != nil {
		return err
	}
	r.settled = &said
	r.endLogs()
	return nil
}

// gather waits for all that result.json will name, then freezes it: whatever happens from there on, these are its bytes.
func (r *Run) gather(ctx context.Context, outcome Outcome) error {
	if err := r.waitLogs(ctx); err != nil {
		return err
	}
	if err := r.artifacts.wait(ctx); err != nil {
		return err
	}
	if err := context.Cause(r.ctx); err != nil {
		return err // what was under way has ended for that reason only
	}
	logs, first, err := r.logsDocument.wait(ctx)
	if err != nil {
		return err
	}
	if err := r.recordLogs(); err != nil {
		return err
	}
	stored, missing, skipped := r.artifacts.outcome()
	s := &Summary{
		TaskID: r.lease.taskID, RunID: r.lease.runID, Success: outcome.Success,
		Started: r.started, Finished: r.sealed,
		Logs: logs, LogsAfter: first.Sub(r.started),
		Artifacts: stored, Missing: missing, Incomplete: incompleteOf(r.sealedLogs(), stored),
		Skipped: skipped, Continued: r.continued,
	}
	body, err := schema.Encode(s.result(r.lease.worker, outcome))
	if err != nil {
		return err
	}
	if err := r.folder.freeze(body); err != nil {
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
	err := r.finish(ctx, outcome, true)
	switch {
	case err == nil:
		err = r.report(ctx, r.summary.Success)
	case r.inDoubt && errors.Is(err, ErrClaimLost): // perhaps because an earlier report went through
		err = r.settleReport(ctx, err)
	}
	if err != nil {
		if lost := (*ClaimLostError)(nil); errors.As(err, &lost) && !errors.Is(err, ErrUnknownOutcome) {
			r.end(lost)
		}
		return nil, fmt.Errorf("complete run: %w", err)
	}
	r.summary.Reported, r.over = true, true
	return r.summary.shown(), r.Close()
}

// Abandon ends a run without a result, so that the queue gives it to another worker when the
// claim lapses. What was logged so far is still published, for as long as ctx allows:
// often it says why. The reason, if there is one, becomes the last line of every log.
func (r *Run) Abandon(ctx context.Context, reason string) error {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	if reason != "" {
		r.markLogs("upload-agent: " + reason + "\n")
	}
	if err := r.endLogsEarly(); err != nil {
		return errors.Join(fmt.Errorf("abandon run: %w", err), r.Close())
	}
	waiting, stop := r.bound(ctx)
	err := r.waitLogs(waiting)
	if err == nil {
		_, _, err = r.logsDocument.wait(waiting) // without it nobody finds the logs
	}
	stop()
	r.over = ctx.Err() == nil
	return errors.Join(err, r.Close())
}

// Close ends the run at once and waits for everything in the background. It reports nothing.
//
// The state folder is removed if there is nothing left to do for this run: after Complete, Abandon or Finish, and
// when the claim is lost. Else, if Options.StateDir was given, it stays for [Resume].
func (r *Run) Close() error {
	r.end(ErrEnded)
	r.ending.Lock()
	r.ended = true
	r.ending.Unlock()
	r.goroutines.Wait()
	r.closing.Do(func() { r.closeErr = r.release() })
	return r.closeErr
}

// release closes what is open on the local disk, and removes what nobody needs any more.
func (r *Run) release() error {
	r.endStreams() // first, so that nobody takes the end of a run that is given up for that of its logs
	r.sealLogs()
	errs := []error{r.releaseLogs()}
	if r.o.Uploader == nil {
		r.uploads.CloseIdleConnections()
	}
	if r.over || r.folder.temporary || errors.Is(context.Cause(r.ctx), ErrClaimLost) {
		errs = append(errs, r.folder.remove())
	} else {
		errs = append(errs, r.folder.close())
	}
	if err := errors.Join(errs...); err != nil {
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
