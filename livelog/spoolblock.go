package livelog

import (
	"fmt"
	"io"
)

// What a [Quota] needs of its spool: blocks that are there as a whole or not at all, whatever happens to the disk, the process and the power.

// add appends all that r reads, or nothing. Nobody sees any of it before it survives a power cut and note has been told its
// size and returned nil. The caller is the only writer. After an error other than that of a dead disk it may be tried again.
func (s *Spool) add(r io.Reader, note func(size int64) error) error {
	n, err := s.addUnseen(r)
	if err != nil {
		return err
	}
	if err := s.syncUnseen(); err != nil {
		return err
	}
	err = note(n)
	s.writing.Lock()
	defer s.writing.Unlock()
	switch {
	case s.dead != nil:
		return s.dead
	case err != nil:
		s.cutFile(s.size)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size += n
	s.notify()
	return nil
}

// addUnseen writes all that r reads behind the log, or nothing.
func (s *Spool) addUnseen(r io.Reader) (n int64, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	switch {
	case s.dead != nil:
		return 0, s.dead
	case s.sealed:
		return 0, ErrSealed
	}
	n, err = io.Copy(io.NewOffsetWriter(s.file, s.size), struct{ io.Reader }{r})
	if err != nil {
		s.cutFile(s.size)
		return 0, &SpoolError{Op: "write", Path: s.file.Name(), Size: s.size, Err: err}
	}
	return n, nil
}

// syncUnseen is Sync for what addUnseen has written.
func (s *Spool) syncUnseen() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if err := s.died(); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return s.die(err)
	}
	return nil
}

// died is why a Sync failed; nil if none has.
func (s *Spool) died() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead == nil {
		return nil
	}
	return s.dead
}

// takeBack cuts a log that an earlier process has left back to size: what is behind it nobody can have seen. Call it before anything else.
func (s *Spool) takeBack(size int64) error {
	if size >= s.size {
		return nil
	}
	if err := s.file.Truncate(size); err != nil {
		return fmt.Errorf("cut spool %s back to byte %d: %w", s.file.Name(), size, err)
	}
	s.size, s.found, s.cut = size, size, true
	return nil
}

// loseMore is lose for who does not hold writing.
func (s *Spool) loseMore(bytes int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.lose(bytes, err)
}
