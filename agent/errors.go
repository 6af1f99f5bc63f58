package agent

import (
	"errors"
	"fmt"

	"github.com/taskcluster/upload-agent/schema"
)

var (
	// ErrClaimLost is what [ClaimLostError] is.
	ErrClaimLost = errors.New("claim lost")
	// ErrEnded is the cause of a run's context after Complete, Abandon or Close.
	ErrEnded = errors.New("run has ended")
	// ErrArtifactName says that a name is taken by another artifact or log of the run.
	ErrArtifactName = errors.New("name is taken")
	// ErrUnknownOutcome says that the queue cannot tell whether the report went through.
	ErrUnknownOutcome = errors.New("cannot tell whether the run was completed")
	// ErrNoOutcome says that a run was closed without a result: its task died with the agent, and nobody knows its outcome.
	ErrNoOutcome = errors.New("the task died with the agent, and its outcome with it")
	// ErrCompleted says that there was nothing left to resume: the run is completed.
	ErrCompleted = errors.New("the run is completed already")
	// ErrNotBegun says that a state folder holds no journal: the process ended before the run had begun, or when it was over.
	ErrNotBegun = errors.New("no journal: the run had not begun, or was over")
	// ErrInUse says that another process works on the run.
	ErrInUse = errors.New("in use by another process")
)

// StateError says why the state folder of a run cannot be used, or could not be kept. What it holds is left as it is.
type StateError struct {
	Dir string // the state folder
	Err error  // ErrInUse, or what is wrong with its files
}

// Error names the folder and the cause.
func (e *StateError) Error() string { return fmt.Sprintf("state folder %s: %v", e.Dir, e.Err) }

// Unwrap gives the cause.
func (e *StateError) Unwrap() error { return e.Err }

// ClaimLostError says that the run is no longer this worker's.
// It is the cause of the run's context, and errors.Is finds [ErrClaimLost] in it.
type ClaimLostError struct {
	TaskID schema.TaskID
	RunID  schema.RunID
	Err    error // how it was noticed
}

func (e *ClaimLostError) Error() string {
	return fmt.Sprintf("claim of task %s run %d is lost: %v; stop the task, the queue has given it to another worker or will", e.TaskID, e.RunID, e.Err)
}

// Is makes errors.Is(err, ErrClaimLost) true.
func (e *ClaimLostError) Is(target error) bool { return target == ErrClaimLost }

func (e *ClaimLostError) Unwrap() error { return e.Err }
