package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// settleTime bounds how long a report is looked into after the claim was lost under it.
const settleTime = 30 * time.Second

// report tells the queue that the run is completed. It is called only when
// logs.json and result.json are stored.
func (r *Run) report(ctx context.Context, success bool) error {
	if err := r.lease.holds(); err != nil {
		return err // the process may have been asleep when the lease should have noticed
	}
	sending, stop := r.bound(ctx)
	_, err := r.q.Completed(sending, r.lease.taskID, schema.CompletedRequest{RunID: r.lease.runID, Success: success, Worker: r.lease.worker})
	stop()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // amid the request, so it may have gone through
		return fmt.Errorf("report run completed: %w: %w", ErrUnknownOutcome, err)
	}
	if !errors.Is(err, queue.ErrNotFound) && !errors.Is(err, ErrClaimLost) {
		return err
	}
	// The queue answers "not found" to a repeated report too, and an earlier
	// attempt may have gone through although its answer was lost.
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	mine, known := r.completedByUs(ctx)
	switch {
	case mine:
		return nil
	case known:
		return &ClaimLostError{TaskID: r.lease.taskID, RunID: r.lease.runID, Err: err}
	default:
		return fmt.Errorf("report run completed: %w: %w", ErrUnknownOutcome, err)
	}
}

// completedByUs looks for the record of our report: in the task's resolution, which
// names the run and its worker, or else in the task's status, which names its runs.
func (r *Run) completedByUs(ctx context.Context) (mine, known bool) {
	if r.o.Storage != nil {
		reading, cancel := context.WithTimeout(ctx, settleTime/2) // leaves time to ask the queue
		mine, _, err := r.o.Storage.CompletedBy(reading, r.lease.taskID, r.lease.runID, r.lease.worker)
		cancel()
		if err == nil && mine {
			return true, true
		}
		// Another run's resolution says little: it may be older than this run, if the task was rerun.
	}
	status, err := r.q.Status(ctx, r.lease.taskID)
	if err != nil || status.TaskID != r.lease.taskID {
		return false, false
	}
	run := schema.Run{RunID: r.lease.runID, Worker: r.lease.worker}
	last := len(status.Runs) - 1
	ours := last >= 0 && status.Runs[last] == run
	switch {
	case status.State == schema.Completed:
		// Only the last run of a task can have been completed, if no rerun was asked for.
		return ours, true
	case status.State == schema.Running && ours:
		return false, false // the queue refuses a run that it says is ours
	default:
		return false, true
	}
}
