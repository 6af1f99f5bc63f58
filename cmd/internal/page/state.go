package page

import (
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// State is how a task or a run stands, for people.
type State string

// The states. A task is never Finishing, Lost or Superseded, a run never Pending.
const (
	Pending    State = "pending"    // waits for a worker
	Running    State = "running"    // a worker has it
	Finishing  State = "finishing"  // its result is stored, and not reported yet
	Success    State = "success"    // completed, and the task succeeded
	Failure    State = "failure"    // completed, and the task itself failed
	Exception  State = "exception"  // the infrastructure could not run it to completion
	Lost       State = "lost"       // the worker was lost, or lost its claim
	Superseded State = "superseded" // its result is stored, but another run counts
	Unresolved State = "unresolved" // the deadline has passed, and nobody resolved it
)

// evidence is what is known of a task.
type evidence struct {
	status     *schema.TaskStatus // nil: the queue was not asked, or knows nothing
	resolution *schema.Resolution // nil: there is none
	deadline   time.Time          // zero: unknown
	ran        bool               // there is a run
}

// task tells the state of the task.
func (e evidence) task(now time.Time) State {
	state := schema.TaskState("")
	if e.status != nil {
		state = e.status.State
	}
	switch {
	case state == schema.Pending:
		return Pending
	case state == schema.Running:
		return Running
	case state == schema.Failed:
		return Exception
	case e.resolution != nil:
		return completed(e.resolution.Success)
	case !e.deadline.IsZero() && now.After(e.deadline):
		return Unresolved
	case e.ran:
		return Running
	}
	return Pending
}

func completed(success bool) State {
	if success {
		return Success
	}
	return Failure
}

// run tells the state of a run of a task in state task; latest says that no other run came after it.
func (e evidence) run(id schema.RunID, latest, stored bool, task State) State {
	switch {
	case e.resolution != nil && e.resolution.RunID == id:
		return completed(e.resolution.Success)
	case stored && latest && task == Running:
		return Finishing
	case stored && (!latest || task == Success || task == Failure):
		return Superseded
	case !latest, task == Pending, task == Success, task == Failure:
		return Lost
	}
	return task // Running, Exception or Unresolved
}

// over says that a run in this state will not go on, and that nobody has said how it ended: its log may never end either.
func (s State) over() bool { return s == Lost || s == Exception || s == Unresolved || s == Superseded }
