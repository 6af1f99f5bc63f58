package queue

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// The kinds of refusal, for errors.Is.
var (
	ErrNotFound    = errors.New("not found")                // 404: see the method for what it may mean; 409 where somebody else has the task
	ErrNoWork      = errors.New("no task to claim")         // 204 to ClaimWork
	ErrRejected    = errors.New("rejected")                 // the request itself is wrong (400 and other 4xx): repeating it does not help
	ErrDenied      = errors.New("access denied")            // 401, 407, and 403 of the queue
	ErrRedirected  = errors.New("redirect refused")         // it would have changed the request, left https, or never ended
	ErrUnavailable = errors.New("unavailable")              // 5xx, 408, 425, 429: tried until ctx ended; for ArtifactURLs, also the third 500 in a row
	ErrTooLarge    = errors.New("answer too large")         // more than schema.MaxBytes
	ErrTimeout     = errors.New("no answer in time")        // AttemptTimeout passed: tried until ctx ended
	ErrChanged     = errors.New("object changed")           // while it was read, so the rest does not fit the beginning
	ErrEncoding    = errors.New("unknown content encoding") // neither identity nor gzip
)

// Error is the error of every call. errors.Is finds the kinds above, errors.As a *schema.Error
// where a document was wrong: the one to send (Attempts is 0 then) or the one received.
type Error struct {
	Op         string        // what was attempted: "claim task"
	TaskID     schema.TaskID // the task it was about, if any
	Object     string        // what was read from the storage, if anything: "<taskId>/runs/0/result.json", or a redacted URL
	Status     int           // HTTP status of the last answer, 0 if there was none
	Message    string        // what the answer said, abbreviated and redacted
	Pointer    string        // where in the request the queue's validator saw the problem: "#/runId"
	IncidentID string        // of a 500: what the queue's administrator can look up
	Attempts   int           // requests made
	MaybeDone  bool          // an earlier attempt of the same call may have been carried out, its answer lost
	Err        error

	temporary  bool          // worth another attempt
	unsure     bool          // the queue may have carried out this attempt
	retryAfter time.Duration // what the answer asked for
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Object != "" {
		b.WriteString(" " + e.Object)
	} else if e.TaskID != "" {
		b.WriteString(" " + string(e.TaskID))
	}
	var gone *GoneError
	if errors.As(e.Err, &gone) { // which says more than that there was a 404
		return b.String() + ": " + gone.Error()
	}
	if e.Status != 0 {
		b.WriteString(": " + strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))))
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Pointer != "" {
		b.WriteString(" (at " + e.Pointer + ")")
	}
	if e.IncidentID != "" {
		b.WriteString(" (incident " + e.IncidentID + ", for the queue's administrator)")
	}
	if e.Err != nil && !(e.Status >= 300 && isKind(e.Err)) {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (%d attempts)", e.Attempts)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// isKind reports whether err is a bare kind, which says no more than the status did.
func isKind(err error) bool {
	switch err {
	case ErrNotFound, ErrRejected, ErrDenied, ErrUnavailable:
		return true
	}
	return false
}

// endError says that the context ended while a call was worth another attempt.
type endError struct {
	cause error // the context's cause
	ctx   error // context.Canceled or context.DeadlineExceeded
	last  error // why the last attempt failed
}

func (e *endError) Error() string {
	if e.last == nil || isKind(e.last) {
		return "gave up: " + e.cause.Error()
	}
	return e.last.Error() + "; gave up: " + e.cause.Error()
}

func (e *endError) Unwrap() []error {
	errs := []error{e.cause, e.ctx}
	if e.last != nil {
		errs = append(errs, e.last)
	}
	return errs
}
