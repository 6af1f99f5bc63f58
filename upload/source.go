package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/minio/crc64nvme"
)

// Source is the recipe of a body: its size is known before it is sent, and it can be sent again from its start.
// A Source may be used by several Puts at once. The zero Source is none, and an error; an empty object is Bytes(nil).
type Source struct {
	path string // of a file
	open func() (*content, error)
}

// content is a source while one Put uses it. It is read at offsets only, so that two requests may read it at once.
type content struct {
	io.ReaderAt
	size  int64
	check func(sent Digest) error // nil, or ErrChanged if it is not any more what it was; sent is "" if nothing was sent yet
	close func() error
}

// Bytes is the source of b, which must not be changed until Put has returned.
func Bytes(b []byte) Source {
	return Section(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
}

// Section is the source of a part of something that can be read at any offset; its position does not matter.
// It must be all there already; whatever lies behind it may grow.
func Section(r *io.SectionReader) Source {
	return Source{open: func() (*content, error) {
		return &content{
			ReaderAt: r,
			size:     r.Size(),
			check:    func(Digest) error { return nil },
			close:    func() error { return nil },
		}, nil
	}}
}

// File is the source of a regular file: anything else is ErrNotRegular, found without waiting (a FIFO does not hang it).
//
// Each Put opens it once. Its size is fixed then, and exactly that many bytes are sent, even if the file grows.
// If it shrinks or is written to meanwhile, the Put ends with ErrChanged.
func File(path string) Source {
	return Source{path: path, open: func() (*content, error) { return openFile(path) }}
}

// Size is the size of the source in bytes; of a file, as it is now.
func (s Source) Size() (int64, error) {
	if info, err := os.Stat(s.path); err == nil && info.Mode().IsRegular() { // cheaper than to open it
		return info.Size(), nil
	}
	c, err := s.opened()
	if err != nil {
		return 0, err
	}
	return c.size, c.close()
}

// Path is that of [File]; "" for any other source.
func (s Source) Path() string { return s.path }

// Digest reads all of the source and gives its size in bytes and its digest. A file that shrinks or is written to
// meanwhile is ErrChanged, as in a Put.
func (s Source) Digest() (size int64, d Digest, err error) {
	c, err := s.opened()
	if err != nil {
		return 0, "", err
	}
	d, err = c.digest()
	if err == nil {
		err = c.check(d)
	}
	if err = errors.Join(err, c.close()); err != nil {
		return 0, "", err
	}
	return c.size, d, nil
}

func (s Source) opened() (*content, error) {
	if s.open == nil {
		return nil, fmt.Errorf("%w: there is none", ErrSource)
	}
	return s.open()
}

func openFile(path string) (*content, error) {
	// Non-blocking: opening a FIFO without a writer would wait for one.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%w: %w", ErrNotRegular, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	then, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrSource, err), f.Close())
	}
	if !then.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%w: %s is a %s", ErrNotRegular, path, kindOf(then.Mode())), f.Close())
	}
	c := &content{ReaderAt: f, size: then.Size(), close: f.Close}
	c.check = func(sent Digest) error { return c.compare(f, then, sent) }
	return c, nil
}

// compare says whether the file is still what it was. A file that has grown may have been only appended to:
// then the bytes that were sent are still there, which is seen by reading them again.
func (c *content) compare(f *os.File, then os.FileInfo, sent Digest) error {
	now, err := f.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrSource, err)
	case now.Size() < c.size:
		return fmt.Errorf("%w: it shrank from %d to %d bytes", ErrChanged, c.size, now.Size())
	case now.Size() == then.Size() && now.ModTime().Equal(then.ModTime()):
		return nil
	case now.Size() == then.Size():
		return fmt.Errorf("%w: it was written to", ErrChanged)
	case sent == "":
		return nil
	}
	again, err := c.digest()
	if err != nil {
		return err
	}
	if again != sent {
		return fmt.Errorf("%w: it grew, and bytes before that are others now", ErrChanged)
	}
	return nil
}

// digest reads all of it once more.
func (c *content) digest() (Digest, error) {
	h := crc64nvme.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{io.NewSectionReader(c, 0, c.size)}, make([]byte, 64<<10))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrSource, err)
	}
	if n < c.size {
		return "", fmt.Errorf("%w: it shrank from %d to %d bytes", ErrChanged, c.size, n)
	}
	return digestOf(h), nil
}

// kindOf names what is not a regular file.
func kindOf(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "folder"
	case mode&os.ModeNamedPipe != 0:
		return "named pipe"
	case mode&os.ModeSocket != 0:
		return "socket"
	case mode&os.ModeDevice != 0:
		return "device"
	}
	return "special file"
}
