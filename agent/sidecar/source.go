package sidecar

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// source is a file that a log is read from.
type source struct {
	file   *os.File
	id     identity
	info   fs.FileInfo // when it was opened
	offset int64       // what was read
	head   []byte      // how it began
	looked time.Time   // when it was changed last, as of the last look
}

// headSize is how many bytes a file is known by, besides its inode.
const headSize = 64

func newSource(file *os.File, info fs.FileInfo) *source {
	return &source{file: file, id: identify(info), info: info}
}

// size is how long the file is now. It is not, any more, what was read: errCut.
func (s *source) size() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, withoutPath(err)
	}
	if info.Size() < s.offset {
		return info.Size(), errCut
	}
	if info.ModTime().Equal(s.looked) {
		return info.Size(), nil
	}
	if !s.beginsWith(s.head) {
		return info.Size(), errCut
	}
	s.looked = info.ModTime()
	return info.Size(), nil
}

// errCut says that a file was cut off or written anew.
var errCut = errors.New("the file was truncated")

// learn reads how the file begins, if not so much is known yet.
func (s *source) learn() {
	if len(s.head) < headSize {
		s.head = s.beginning(headSize)
	}
}

func (s *source) beginning(n int) []byte {
	head := make([]byte, n)
	got, err := s.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return head[:got]
}

func (s *source) beginsWith(head []byte) bool {
	return len(head) == 0 || bytes.Equal(s.beginning(len(head)), head)
}

// read reads what comes next, at most all of p.
func (s *source) read(p []byte) (int, error) {
	n, err := s.file.ReadAt(p, s.offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, withoutPath(err)
}

func (s *source) close() {
	_ = s.file.Close() // only read
}

// spot is where it is being read; nil of no file.
func (s *source) spot() *spot {
	if s == nil {
		return nil
	}
	return &spot{File: s.id, From: s.offset, Head: s.head}
}
