package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/schema"
)

// resumption is what became of one unfinished run.
type resumption struct {
	StateFolder string        `json:"stateFolder"`
	TaskID      schema.TaskID `json:"taskId,omitempty"` // as the folder's name says; "" if it says none
	RunID       schema.RunID  `json:"runId"`
	State       resumeState   `json:"state"`
	Error       string        `json:"error,omitempty"`

	// Of a run that was completed.
	Success       *bool             `json:"success,omitempty"`
	Artifacts     int               `json:"artifacts,omitempty"`     // stored, the logs among them
	AlreadyStored []string          `json:"alreadyStored,omitempty"` // those of them that were not uploaded again
	Missing       map[string]string `json:"missing,omitempty"`
	Incomplete    map[string]string `json:"incomplete,omitempty"` // logs in which bytes are missing
	Continued     map[string]int64  `json:"continued,omitempty"`  // the bytes of logs that were published before, if not all of them

	closing error // what went wrong afterwards
}

// resumeState is how a resumption ended.
type resumeState string

const (
	stateCompleted        resumeState = "completed"
	stateCompletedAlready resumeState = "completed already"
	stateClosed           resumeState = "closed"
	stateNotBegun         resumeState = "not begun"
	stateInUse            resumeState = "in use"
	stateClaimLost        resumeState = "claim lost"
	stateNotResumed       resumeState = "not resumed"
	stateNotCompleted     resumeState = "not completed"
)

// status is the exit status that a resumption stands for.
func (r resumption) status() int {
	switch r.State {
	case stateNotResumed, stateNotCompleted:
		return statusFailed
	case stateClaimLost:
		return statusClaimLost
	}
	return statusOK
}

// notResumed is a run that could not be taken up.
func notResumed(folder string, err error) resumption {
	return newResumption(folder, stateNotResumed, err)
}

// concluded is a run that was taken up, with what Conclude says of it.
func concluded(folder string, s *agent.Summary, err error) resumption {
	if s == nil {
		return newResumption(folder, stateNotCompleted, err)
	}
	r := newResumption(folder, stateCompleted, nil)
	r.Success, r.Artifacts, r.Missing = &s.Success, len(s.Artifacts), s.Missing
	r.Incomplete = s.Incomplete
	r.AlreadyStored, r.Continued = slices.Sorted(slices.Values(s.Skipped)), maps.Clone(s.Continued)
	maps.DeleteFunc(r.Continued, func(log string, at int64) bool { return at == 0 || at == s.Artifacts[log].Size })
	return r
}

// newResumption tells a run that ended otherwise from one that did not end, which is in state.
func newResumption(folder string, state resumeState, err error) resumption {
	r := resumption{StateFolder: folder, State: state}
	if id, run, ok := parseStateFolder(folder); ok {
		r.TaskID, r.RunID = id, run
	}
	switch {
	case err == nil:
		return r
	case errors.Is(err, agent.ErrCompleted):
		r.State = stateCompletedAlready
		return r
	case errors.Is(err, agent.ErrClaimLost) && !errors.Is(err, agent.ErrUnknownOutcome):
		r.State = stateClaimLost
	case errors.Is(err, agent.ErrNotBegun) && isGone(folder):
		r.State = stateNotBegun
		return r
	case errors.Is(err, agent.ErrNoOutcome) && isGone(folder):
		r.State = stateClosed
		err = besides(err, agent.ErrNoOutcome)
	case errors.Is(err, agent.ErrInUse), isGone(folder): // by now it has ended
		r.State = stateInUse
		return r
	}
	if err != nil {
		r.Error = reason(err)
	}
	return r
}

// besides is what err says besides what is known.
func besides(err, known error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var rest []error
	for _, e := range joined.Unwrap() {
		if !errors.Is(e, known) {
			rest = append(rest, e)
		}
	}
	return errors.Join(rest...)
}

// reason is what an error says besides what the line says anyway.
func reason(err error) string {
	var lost *agent.ClaimLostError
	var state *agent.StateError
	switch {
	case errors.As(err, &lost) && lost.Err != nil:
		err = lost.Err
	case errors.As(err, &state) && state.Err != nil:
		err = state.Err
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// String is one line for people.
func (r resumption) String() string {
	who := r.StateFolder
	if r.TaskID != "" {
		who = fmt.Sprintf("task %s run %d", r.TaskID, r.RunID)
	}
	return printable(who + ": " + r.what())
}

func (r resumption) what() string {
	switch r.State {
	case stateCompleted:
		return "completed: " + r.details()
	case stateCompletedAlready:
		return "was completed already; its state folder is removed"
	case stateClosed:
		line := "closed without a result: its task died with the agent; the queue gives it to another worker"
		if r.Error != "" {
			line += "; its log is incomplete: " + r.Error
		}
		return line
	case stateNotBegun:
		return "had not begun, or was over; its state folder is removed"
	case stateInUse:
		return "in use by another process"
	case stateClaimLost:
		return "claim lost: " + r.Error + "; its state folder is removed"
	default:
		return string(r.State) + ": " + r.Error + "; kept in " + r.StateFolder
	}
}

func (r resumption) details() string {
	outcome := "success"
	if !*r.Success {
		outcome = "the command did not succeed"
	}
	stored := fmt.Sprintf("%s; %s", outcome, count(r.Artifacts, "artifact"))
	if n := len(r.AlreadyStored); n > 0 {
		stored += fmt.Sprintf(" (%d already stored)", n)
	}
	parts := []string{stored}
	if n := len(r.Missing); n > 0 {
		parts = append(parts, fmt.Sprintf("%d missing", n))
	}
	for _, log := range slices.Sorted(maps.Keys(r.Incomplete)) {
		parts = append(parts, fmt.Sprintf("%s is %s", log, r.Incomplete[log]))
	}
	for _, log := range slices.Sorted(maps.Keys(r.Continued)) {
		parts = append(parts, fmt.Sprintf("%s went on at byte %d", log, r.Continued[log]))
	}
	return strings.Join(parts, ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
