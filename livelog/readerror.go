package livelog

import (
	"errors"
	"fmt"
)

// What a [ReadError] may wrap. Others come from the network.
var (
	ErrIndex      = errors.New("the index is not valid")
	ErrBackwards  = errors.New("the index is older than one seen before")
	ErrMissing    = errors.New("the object is not there")
	ErrShort      = errors.New("the chunk is shorter than the index says")
	ErrRedirected = errors.New("redirect refused")
	ErrChanged    = errors.New("the text has changed while it was read")
	ErrNotYet     = errors.New("the log has no index yet")
	ErrUnfinished = errors.New("the log is unfinished")
	ErrURL        = errors.New("want an absolute http or https URL")
)

// ReadError says where reading a log ended before the log did.
type ReadError struct {
	URL      string // of the index or the chunk; scheme, host and path only
	Offset   int64  // the first byte of the log that was not read: another Reader can go on there
	Attempts int    // how often it was tried without progress
	Err      error
}

// Error says what was read, how far, and what stood in the way.
func (e *ReadError) Error() string {
	return fmt.Sprintf("read live log at byte %d from %s (attempt %d): %v", e.Offset, e.URL, e.Attempts, e.Err)
}

// Unwrap gives the cause.
func (e *ReadError) Unwrap() error { return e.Err }
