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
)

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
