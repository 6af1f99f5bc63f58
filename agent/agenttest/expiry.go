package agenttest

import (
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// expireClaims takes expired claims away and fails tasks past their deadline, each at its time, until done.
func (q *queue) expireClaims(done <-chan struct{}) {
	for {
		q.mu.Lock()
		now := q.now()
		next := q.sweep(now)
		q.mu.Unlock()
		var due <-chan time.Time
		if !next.IsZero() {
			due = time.After(next.Sub(now))
		}
		select {
		case <-due:
		case <-q.changed:
		case <-done:
			return
		}
	}
}

// nudge has expireClaims look again.
func (q *queue) nudge() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// sweep expires what is due and tells when the next thing is; zero for never. q.mu is held.
func (q *queue) sweep(now time.Time) (next time.Time) {
	for _, t := range q.all {
		q.expire(t, now)
		if due := q.due(t); !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	return next
}

// due is when the task has to be looked at; zero for a resolved one.
func (q *queue) due(t *task) time.Time {
	until := t.status.TakenUntil.Add(q.quirks.lingers(t.claim))
	switch s := &t.status; {
	case s.State == schema.Running && until.Before(s.Deadline):
		return until
	case s.State == schema.Running || s.State == schema.Pending:
		return s.Deadline
	}
	return time.Time{}
}

// expire fails a task past its deadline, and takes an expired claim away; q.mu is held.
func (q *queue) expire(t *task, now time.Time) {
	due := q.due(t)
	switch {
	case due.IsZero() || now.Before(due):
	case due.Equal(t.status.Deadline):
		q.fail(t, schema.ReasonDeadlineExceeded)
	default:
		q.takeAway(t)
	}
}

// takeAway ends a run for which its worker did nothing wrong or was silent: somebody else may try. q.mu is held.
func (q *queue) takeAway(t *task) {
	q.endUploads(t.status.TaskID, t.run().RunID)
	left, again := q.quirks.afterLoss(t.status.Retries)
	if !again {
		q.fail(t, schema.ReasonRetriesExhausted)
		return
	}
	t.status.Retries = left
	t.status.State, t.status.TakenUntil = schema.Pending, epoch
	q.publishPending(t)
	q.nudge()
}

// fail resolves a task that could not be run to completion; q.mu is held.
func (q *queue) fail(t *task, why schema.Reason) {
	var run *schema.Run // that was cut short; a pending task has none
	if t.status.State == schema.Running {
		run = t.run()
		q.endUploads(t.status.TaskID, run.RunID)
	}
	t.status.State, t.status.Reason = schema.Failed, why
	status := t.snapshot()
	message := schema.FailedMessage{Version: schema.Version, Status: status}
	if run != nil {
		id := run.RunID
		message.RunID, message.WorkerGroup, message.WorkerID = &id, run.WorkerGroup, run.WorkerID
	}
	q.publish("failed", message, status, run)
}

func (q *queue) publishPending(t *task) {
	status := t.snapshot()
	q.publish("pending", schema.PendingMessage{Version: schema.Version, Status: status}, status, nil)
}

func (q *queue) publish(what string, message schema.Document, status schema.TaskStatus, run *schema.Run) {
	body, err := schema.Encode(message)
	if err != nil {
		q.logger.Error("event not published", "event", what, "task", string(status.TaskID), "err", err)
		return
	}
	q.events.publish(Event{
		Exchange: "queue/v1/task-" + what, RoutingKey: routingKey(status, run),
		Body: body, At: q.now(), Message: message,
	})
}
