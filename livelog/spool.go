package livelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// ErrSealed is the error of a Write to a spool after Close, Release or Remove.
var ErrSealed = errors.New("the log has ended")

// ErrNotRegular is the error of an Open of a FIFO, a device, a socket or a folder.
var ErrNotRegular = errors.New("not a regular file")

// SpoolError is a failure of the disk under a spool.
type SpoolError struct {
	Op   string // "create", "open", "write", "sync", "release" or "remove"
	Path string // the spool's file
	Size int64  // bytes of the log that are in the file; with "sync", those that survive a power cut
	Err  error  // usually a *fs.PathError: errors.Is(err, syscall.ENOSPC) works
}

// Error says what was attempted on which file.
func (e *SpoolError) Error() string {
	return fmt.Sprintf("%s spool %s at byte %d: %v", e.Op, e.Path, e.Size, e.Err)
}

// Unwrap gives the error of the operating system.
func (e *SpoolError) Unwrap() error { return e.Err }

// File is what a spool needs of the file under it. *os.File is one. Sync makes what was written survive a power cut.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	Name() string
}

// Spool is a log on the local disk: one writer's side, any number of readers.
// All methods are safe for concurrent use, except that Release and Remove come last.
type Spool struct {
	file  File
	found int64 // bytes of the log that an earlier process left

	writing sync.Mutex   // held for a whole Write: one Write is contiguous
	syncing sync.Mutex   // held for a whole Sync; locked before the other two, and never by Write
	onLoss  func() error // guarded by writing; nil once it was called

	mu     sync.Mutex    // guards what follows; never held during I/O
	size   int64         // bytes that are in the file; only a holder of writing changes it
	sealed bool          // the same
	dead   *SpoolError   // the same: why Sync failed
	synced int64         // bytes that survive a power cut; never more than size
	cut    bool          // the file was cut back, and that may not survive one
	grown  chan struct{} // closed at the next change; nil while nobody waits
	lost   int64         // bytes that are not in the log although a writer wrote them
	lostBy error         // the first failure

	ended    chan struct{} // closed when sealed
	closed   bool          // guarded by syncing
	closeErr error         // the same
	remove   sync.Once
	removeEr error
}

// Create makes a new, empty spool at path, readable by its owner only (0600).
// It fails with fs.ErrExist if there is such a file. The file stays open until Release or Remove.
// That its name survives a power cut, too, is up to the caller, who syncs the folder.
func Create(path string) (*Spool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, &SpoolError{Op: "create", Path: path, Err: err}
	}
	return NewSpool(f, 0), nil
}

// Open takes up the spool at path again, to append to it: all of the file is the log so far, as with [NewSpool].
// Anything but a regular file is [ErrNotRegular], found without waiting (a FIFO does not hang it).
func Open(path string) (*Spool, error) {
	// Non-blocking: opening a FIFO may wait for its other end.
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%w: %w", ErrNotRegular, err)
		}
		return nil, &SpoolError{Op: "open", Path: path, Err: err}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %v", ErrNotRegular, info.Mode())
	}
	if err != nil {
		return nil, &SpoolError{Op: "open", Path: path, Err: errors.Join(err, f.Close())}
	}
	return NewSpool(f, info.Size()), nil
}

// NewSpool makes a spool over a file that the caller opened for reading and writing. Its first size bytes are the
// log so far, written by another process perhaps: none of them counts as synced before Sync has said so.
// From now on the file is the spool's: Release and Remove close it.
func NewSpool(f File, size int64) *Spool {
	return &Spool{file: f, found: size, size: size, ended: make(chan struct{})}
}

// Write appends p. It waits for the disk only, never for the network. Concurrent writers
// take turns, and the bytes of one Write stay together.
//
// If the disk fails, n bytes of p are in the log and the rest are not; the error is a
// *[SpoolError]. Later writes may succeed again, right after those n bytes.
// After a failed Sync it is that one's error, after Close [ErrSealed].
func (s *Spool) Write(p []byte) (int, error) {
	return s.put(p, s.lose)
}

// put is Write; failed is told how many bytes of p are not in the log, and why, before the file is cut back to the log.
func (s *Spool) put(p []byte, failed func(rest int, err error)) (int, error) {
	n, cut, err := s.write(p, failed)
	if cut {
		_, _ = s.Sync() // or a power cut would bring back what was cut off; an error is noted
	}
	return n, err
}

// write is put, but for the Sync of a file that had to be cut.
func (s *Spool) write(p []byte, failed func(rest int, err error)) (n int, cut bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.dead != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lost += int64(len(p))
		return 0, false, s.dead
	}
	if s.sealed {
		return 0, false, ErrSealed
	}
	// At an explicit offset: whatever a failed write left beyond size is overwritten.
	n, err = s.file.WriteAt(p, s.size)
	if n > 0 {
		s.mu.Lock()
		s.size += int64(n)
		s.notify()
		s.mu.Unlock()
	}
	if err == nil {
		return n, false, nil
	}
	err = &SpoolError{Op: "write", Path: s.file.Name(), Size: s.size, Err: err}
	failed(len(p)-n, err)
	s.cutFile(s.size) // what may be there is not in the log: who resumes it must not find it
	return n, true, err
}

// lose counts bytes that could not be written. The caller holds writing.
func (s *Spool) lose(bytes int, err error) {
	s.mu.Lock()
	s.lost += int64(bytes)
	if s.lostBy == nil {
		s.lostBy = err
	}
	s.mu.Unlock()
	_ = s.announceLoss() // the writer knows of it in any case
}

// cutFile takes what is behind the log off the file. The caller holds writing.
func (s *Spool) cutFile(size int64) {
	_ = s.file.Truncate(size)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

// OnLoss has f called at the first loss, see [Spool.Lost], before the file is cut back to what is left of the log. Where f
// cannot make sure that the loss is remembered it returns an error; then what a Sync has given up is not cut off, so that
// whoever opens the file again finds it rather than a shorter log that seems whole. f must not use the spool but for Lost and Size.
func (s *Spool) OnLoss(f func() error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.onLoss = f
}

// announceLoss calls what OnLoss has set, once. The caller holds writing.
func (s *Spool) announceLoss() error {
	f := s.onLoss
	s.onLoss = nil
	if f == nil {
		return nil
	}
	return f()
}

// Lost says how many bytes could not be written or, once written, not be synced, and the first error that they met,
// a *[SpoolError]; nil if the log is whole. A writer may have gone on, or not have looked.
func (s *Spool) Lost() (bytes int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost, s.lostBy
}

// Sync makes what was written before the call survive a power cut, and gives how many bytes that is. It waits for
// the disk, but no Write waits for it. Of two at once the second waits for the first. What has been synced is not synced again.
//
// The first Sync that fails ends the log: the system may count the pages that it could not write as clean, so that
// another try would prove nothing. The log is then what was synced before, the rest is [Spool.Lost], and Write and
// Sync give that *[SpoolError] for ever; the size is right also then. After Release the error is fs.ErrClosed.
func (s *Spool) Sync() (int64, error) {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	size, synced, dead, cut := s.size, s.synced, s.dead, s.cut
	s.cut = false
	s.mu.Unlock()
	switch {
	case dead != nil:
		return synced, dead
	case s.closed:
		return synced, &SpoolError{Op: "sync", Path: s.file.Name(), Size: synced, Err: fs.ErrClosed}
	case size == synced && !cut:
		return synced, nil
	}
	if err := s.file.Sync(); err != nil {
		return synced, s.die(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = size
	return size, nil
}

// die cuts the log back to what is durable and seals it.
func (s *Spool) die(err error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	s.dead = &SpoolError{Op: "sync", Path: s.file.Name(), Size: s.synced, Err: err}
	s.lost += s.size - s.synced
	if s.lostBy == nil {
		s.lostBy = s.dead
	}
	s.size = s.synced
	s.seal()
	s.mu.Unlock()
	if s.announceLoss() == nil {
		_ = s.file.Truncate(max(s.dead.Size, s.found)) // what an earlier process left is not ours to judge
	}
	return s.dead
}

// notify wakes whoever waits. The caller holds mu.
func (s *Spool) notify() {
	if s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
}

// seal ends the log. The caller holds writing and mu.
func (s *Spool) seal() {
	if !s.sealed {
		s.sealed = true
		close(s.ended)
		s.notify()
	}
}

// Close seals the spool: the log has ended. It waits for a Write in progress. What was
// written stays readable until Release or Remove. Closing again does nothing; the error is always nil.
func (s *Spool) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seal()
	return nil
}

// Size is the number of bytes written so far. Only a Sync that fails makes it smaller.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// Wait blocks until the log is longer than seen or has ended, and says which: a log that has
// ended may be shorter than seen, after a failed Sync. When ctx ends first, the error is its cause.
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

// Section reads the n bytes from off. Bytes that are not written yet, or that a failed Sync has taken out of the
// log, read as the end.
func (s *Spool) Section(off, n int64) *io.SectionReader {
	return io.NewSectionReader(s.file, off, n)
}

// reopen opens the spool's file once more, so that the system can keep the place of one reader in it and send from there.
// It gives nil where it cannot: when the file is no file of the system, or not under its name any more.
func (s *Spool) reopen() *os.File {
	own, ok := s.file.(interface {
		Name() string
		Stat() (fs.FileInfo, error)
	})
	if !ok {
		return nil
	}
	f, err := os.OpenFile(own.Name(), os.O_RDONLY|syscall.O_NONBLOCK, 0) // as in Open
	if err != nil {
		return nil
	}
	there, err := f.Stat()
	here, ownErr := own.Stat()
	if err != nil || ownErr != nil || !os.SameFile(there, here) {
		f.Close() // only opened to look
		return nil
	}
	return f
}

// Release seals the spool, closes its file and leaves it on the disk, for [Open] or [NewSpool]. It does not sync.
// Call it after publishers and readers have ended. Releasing again does nothing more and gives the same error.
func (s *Spool) Release() error {
	if err := s.closeFile(); err != nil {
		return &SpoolError{Op: "release", Path: s.file.Name(), Size: s.Size(), Err: err}
	}
	return nil
}

// closeFile seals the spool and closes its file, once, after a Sync in progress.
func (s *Spool) closeFile() error {
	_ = s.Close() // never fails
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if !s.closed {
		s.closed = true
		s.closeErr = s.file.Close()
	}
	return s.closeErr
}

// Remove does what Release does, then deletes the file from the system's disk. It may follow Release.
// Removing again does nothing more and gives the same error.
func (s *Spool) Remove() error {
	s.remove.Do(func() {
		path := s.file.Name()
		if err := errors.Join(s.closeFile(), os.Remove(path)); err != nil {
			s.removeEr = &SpoolError{Op: "remove", Path: path, Size: s.Size(), Err: err}
		}
	})
	return s.removeEr
}
