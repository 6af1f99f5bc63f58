package livelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// ErrSealed is the error of a Write to a spool after Close or Remove.
var ErrSealed = errors.New("the log has ended")

// SpoolError is a failure of the disk under a spool.
type SpoolError struct {
	Op   string // "create", "write" or "remove"
	Path string // the spool's file
	Size int64  // bytes of the log that are in the file
	Err  error  // usually a *fs.PathError: errors.Is(err, syscall.ENOSPC) works
}

// Error says what was attempted on which file.
func (e *SpoolError) Error() string {
	return fmt.Sprintf("%s spool %s at byte %d: %v", e.Op, e.Path, e.Size, e.Err)
}

// Unwrap gives the error of the operating system.
func (e *SpoolError) Unwrap() error { return e.Err }

// Spool is a log on the local disk: one writer's side, any number of readers.
// All methods are safe for concurrent use, except that Remove comes last.
type Spool struct {
	path string
	file file

	writing sync.Mutex // held for a whole Write: one Write is contiguous

	mu     sync.Mutex    // guards what follows; never held during I/O
	size   int64         // bytes that are in the file; only a holder of writing changes it
	sealed bool          // the same
	grown  chan struct{} // closed at the next change; nil while nobody waits
	lost   int64         // bytes of writes that failed
	lostBy error         // the first failure

	ended    chan struct{} // closed when sealed
	remove   sync.Once
	removeEr error
}

// file is what a spool needs of its *os.File.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// Create makes a new, empty spool at path, readable by its owner only (0600).
// It fails with fs.ErrExist if there is such a file. The file stays open until Remove.
func Create(path string) (*Spool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, &SpoolError{Op: "create", Path: path, Err: err}
	}
	return &Spool{path: path, file: f, ended: make(chan struct{})}, nil
}

// Write appends p. It waits for the disk only, never for the network. Concurrent writers
// take turns, and the bytes of one Write stay together.
//
// If the disk fails, n bytes of p are in the log and the rest are not; the error is a
// *[SpoolError]. Later writes may succeed again, right after those n bytes.
// After Close it is [ErrSealed].
func (s *Spool) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.sealed {
		return 0, ErrSealed
	}
	// At an explicit offset: whatever a failed write left beyond size is overwritten.
	n, err := s.file.WriteAt(p, s.size)
	if n > 0 {
		s.mu.Lock()
		s.size += int64(n)
		s.notify()
		s.mu.Unlock()
	}
	if err == nil {
		return n, nil
	}
	err = &SpoolError{Op: "write", Path: s.path, Size: s.size, Err: err}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost += int64(len(p) - n)
	if s.lostBy == nil {
		s.lostBy = err
	}
	return n, err
}

// Lost says how many bytes could not be written, and the first error that they met, a *[SpoolError];
// nil if the log is whole. A writer may have gone on, or not have looked.
func (s *Spool) Lost() (bytes int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost, s.lostBy
}

// notify wakes whoever waits. The caller holds mu.
func (s *Spool) notify() {
	if s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
}

// Close seals the spool: the log has ended. It waits for a Write in progress. What was
// written stays readable until Remove. Closing again does nothing; the error is always nil.
func (s *Spool) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sealed {
		s.sealed = true
		close(s.ended)
		s.notify()
	}
	return nil
}

// Size is the number of bytes written so far.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// Wait blocks until the log is longer than seen or has ended, and says which.
// When ctx ends first, the error is its cause.
func (s *Spool) Wait(ctx context.Context, seen int64) (size int64, sealed bool, err error) {
	for {
		s.mu.Lock()
		size, sealed = s.size, s.sealed
		if size > seen || sealed {
			s.mu.Unlock()
			return size, sealed, nil
		}
		if s.grown == nil {
			s.grown = make(chan struct{})
		}
		grown := s.grown
		s.mu.Unlock()

		select {
		case <-grown:
		case <-ctx.Done():
			return size, sealed, context.Cause(ctx)
		}
	}
}

// Section reads the n bytes from off. Bytes that are not written yet read as the end.
func (s *Spool) Section(off, n int64) *io.SectionReader {
	return io.NewSectionReader(s.file, off, n)
}

// Remove seals the spool, closes its file and deletes it. Call it after publishers and
// readers have ended. Removing again does nothing more and gives the same error.
func (s *Spool) Remove() error {
	_ = s.Close() // never fails
	s.remove.Do(func() {
		if err := errors.Join(s.file.Close(), os.Remove(s.path)); err != nil {
			s.removeEr = &SpoolError{Op: "remove", Path: s.path, Size: s.Size(), Err: err}
		}
	})
	return s.removeEr
}
