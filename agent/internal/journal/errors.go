package journal

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
)

var (
	// ErrLocked says that another process works with the journal.
	ErrLocked = disk.ErrLocked
	// ErrDead says that the disk has failed to sync the journal, so that nothing can be built on it.
	ErrDead = errors.New("the disk has failed under it, and nothing in it can be relied on any more")
	// ErrEmpty says that the process died before it had written the first record: there is nothing
	// to take up. It is an [fs.ErrNotExist], as if there were no file.
	ErrEmpty = fmt.Errorf("journal holds no record: %w", fs.ErrNotExist)
)

// DamagedError says that a journal is not as it was written, or was written by a newer version.
// The file is left as it is.
type DamagedError struct {
	Path   string // of the journal
	Line   int64  // the first bad one, from 1
	Reason string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("read journal %s: line %d is not usable: %s", e.Path, e.Line, e.Reason)
}

// Error says that a journal could not be written. The journal is dead then, except after [fs.ErrClosed].
type Error struct {
	Op   string // "write" or "sync"
	Path string // of the journal
	Err  error  // as the disk gave it: errors.Is finds syscall.ENOSPC
}

func (e *Error) Error() string { return fmt.Sprintf("%s journal %s: %v", e.Op, e.Path, e.Err) }

// Unwrap gives the error of the disk.
func (e *Error) Unwrap() error { return e.Err }
