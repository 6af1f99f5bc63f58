package main

import (
	"errors"

	"github.com/taskcluster/upload-agent/agent"
)

// The exit statuses, besides those of the command that exec and simulate run.
const (
	statusOK            = 0
	statusFailed        = 1
	statusUsage         = 2   // bad flags, arguments or input files
	statusClaimLost     = 7   // the run is no longer ours; nothing was reported
	statusTimeout       = 124 // the command has run for longer than --timeout
	statusAgentFailed   = 125 // exec and simulate: the result was not stored or not reported
	statusNotExecutable = 126
	statusNotFound      = 127
	statusSignal        = 128 // plus the number of the signal that ended the command
)

// statusError is an error with the exit status that it means. Without an error
// there is nothing left to say: the command has said it.
type statusError struct {
	status int
	err    error
	hint   string // what the user can do next; "" for nothing
}

func (e *statusError) Error() string {
	if e.err == nil {
		return "exit status"
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

func usageError(err error) *statusError { return &statusError{status: statusUsage, err: err} }
func failure(err error) *statusError    { return &statusError{status: statusFailed, err: err} }

// runFailure is what a run that did not get to its end means.
func runFailure(err error) *statusError {
	if errors.Is(err, agent.ErrClaimLost) && !errors.Is(err, agent.ErrUnknownOutcome) {
		return &statusError{status: statusClaimLost, err: err}
	}
	return &statusError{status: statusAgentFailed, err: err}
}
