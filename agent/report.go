package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// report tells the queue that the run is completed. It is called only when
// logs.json and result.json are stored.
func (r *Run) report(ctx context.Context, success bool) error {
	if err := r.lease.holds(); err != nil {
		return err // the process may have been asleep when the lease should have noticed
	}
	if err := r.folder.journal.Append(journal.Record{Step: journal.CompletedSent}); err != nil {
		return err
	}
	if err := r.lease.holds(); err != nil {
		return err // and the disk may have been slow
	}
	sending, stop := r.bound(ctx)
	_, err := r.q.Completed(sending, r.lease.taskID, schema.CompletedRequest{RunID: r.lease.runID, Success: success, Worker: r.lease.worker})
	stop()
	if err == nil {
		r.acknowledged()
		return nil
	}
	if ctx.Err() != nil { // amid the request, so it may have gone through
		r.inDoubt = true
		return fmt.Errorf("report run completed: %w: %w", ErrUnknownOutcome, err)
	}
	return r.settleReport(ctx, err)
}

// settleReport finds out what became of reports, the last of which failed with err; nil: the queue has recorded one.
// The queue answers "not found" to a repeated report too, and an earlier one may have gone through
// although its answer was lost.
func (r *Run) settleReport(ctx context.Context, err error) error {
	var refused *queue.Error
	definite := errors.As(err, &refused) && !refused.MaybeDone && !errors.Is(err, queue.ErrNotFound) && !r.inDoubt
	switch standing, asking := r.settler().ask(ctx); {
	case asking == nil && standing == completedByUs:
		r.acknowledged()
		return nil
	case asking == nil && standing == notOurs:
		return &ClaimLostError{TaskID: r.lease.taskID, RunID: r.lease.runID, Err: err}
	case asking == nil && standing == stillOurs && definite:
		return err
	default: // nobody knows, or the queue refuses a run that it says is ours
		r.inDoubt = true
		return fmt.Errorf("report run completed: %w: %w", ErrUnknownOutcome, err)
	}
}

// acknowledged notes that the queue has recorded the run. Where that fails the journal is dead, and
// whoever resumes the run asks the queue.
func (r *Run) acknowledged() {
	if err := r.folder.journal.Append(journal.Record{Step: journal.CompletedKnown}); err != nil {
		r.o.Logger.Warn("the report is not noted", "error", err)
	}
}

func (r *Run) settler() settler {
	return settler{q: r.q, storage: r.o.Storage, taskID: r.lease.taskID, runID: r.lease.runID, worker: r.lease.worker}
}
