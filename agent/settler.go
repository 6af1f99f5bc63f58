package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// settler finds out how a run stands where the queue's last answer does not tell: after a report whose answer
// was lost, and after a time in which no agent was there. It only reads.
type settler struct {
	q       *queue.Client
	storage *queue.Storage // nil: the queue alone is asked
	taskID  schema.TaskID
	runID   schema.RunID
	worker  schema.Worker
}

// standing is how a run stands.
type standing int

const (
	unknown       standing = iota
	stillOurs              // it is running, and this worker's
	completedByUs          // it was reported completed, by this worker
	notOurs                // anything else: another run has begun or will, or the task is resolved otherwise
)

// settleTime bounds how long is asked.
const settleTime = 30 * time.Second

// ask looks for the record of a report: in the task's resolution, which names the run and its worker,
// or else in the task's status, which names its runs. It gives an error, and unknown, where the queue gives none.
func (s settler) ask(ctx context.Context) (standing, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if s.storage != nil {
		reading, cancel := context.WithTimeout(ctx, settleTime/2) // leaves time to ask the queue
		mine, _, err := s.storage.CompletedBy(reading, s.taskID, s.runID, s.worker)
		cancel()
		if err == nil && mine {
			return completedByUs, nil
		}
		// Another run's resolution says little: it may be older than this run, if the task was rerun.
	}
	status, err := s.q.Status(ctx, s.taskID)
	if err != nil {
		return unknown, err
	}
	if status.TaskID != s.taskID {
		return unknown, fmt.Errorf("ask how task %s stands: the queue answers with task %s", s.taskID, status.TaskID)
	}
	last := len(status.Runs) - 1
	ours := last >= 0 && status.Runs[last] == (schema.Run{RunID: s.runID, Worker: s.worker})
	switch {
	case status.State == schema.Completed && ours:
		return completedByUs, nil // only the last run of a task can have been completed, if no rerun was asked for
	case status.State == schema.Running && ours:
		return stillOurs, nil
	}
	return notOurs, nil
}
