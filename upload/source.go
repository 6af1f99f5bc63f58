package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/minio/crc64nvme"
)

// Source is the recipe of a body: its size is known before it is sent, and it can be sent again from its start.
// A Source may be used by several Puts at once. The zero Source is none, and an error; an empty object is Bytes(nil).
type Source struct {
	path  string // of a file
	place *Place // of a file in a folder; nil if it is none. A pointer, as ten thousand artifacts may wait
	open  func() (*content, error)
}

// content is a source while one Put uses it. It is read at offsets only, so that two requests may read it at once.
type content struct {
	io.ReaderAt
	size  int64
	check func(sent Digest) error // nil, or ErrChanged if it is not any more what it was; sent is "" if nothing was sent yet
	close func() error

	offset, whole int64 // where a section of a content begins, and how much that is; 0, 0 for all of it
}

// section is a part of c. Its check looks whether the whole is still what it was, but reads nothing again.
func (c *content) section(offset, size int64) *content {
	return &content{
		ReaderAt: io.NewSectionReader(c, offset, size),
		size:     size,
		check:    func(Digest) error { return c.check("") },
		close:    func() error { return nil },
		offset:   offset, whole: c.size,
	}
}

// fill reads all of p, which is within the content.
func (c *content) fill(p []byte, offset int64) (int, error) {
	n, err := c.ReadAt(p, offset)
	switch {
	case n == len(p):
		return n, nil
	case errors.Is(err, io.EOF):
		return n, c.shrank(offset + int64(n))
	}
	return n, fmt.Errorf("%w: %w", ErrSource, err)
}

// shrank is the error of a content that ends after n bytes.
func (c *content) shrank(n int64) error {
	return fmt.Errorf("%w: it shrank from %d to %d bytes", ErrChanged, max(c.size, c.whole), c.offset+n)
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
// It goes wherever the path leads; for a file in a folder that somebody else writes to, see [Place].
//
// Each Put opens it once. Its size is fixed then, and exactly that many bytes are sent, even if the file grows.
// If it shrinks or is written to meanwhile, the Put ends with ErrChanged.
func File(path string) Source {
	return Source{path: path, open: func() (*content, error) { return openFile(path) }}
}

// Size is the size of the source in bytes; of a file, as it is now.
func (s Source) Size() (int64, error) {
	if _, inFolder := s.Place(); s.path != "" && !inFolder {
		if info, err := os.Stat(s.path); err == nil && info.Mode().IsRegular() { // cheaper than to open it
			return info.Size(), nil
		}
	}
	c, err := s.opened()
	if err != nil {
		return 0, err
	}
	return c.size, c.close()
}

// Path is that of [File], or where the file of a [Place] is; "" for any other source.
func (s Source) Path() string { return s.path }

// Place is that of the source of a file in a folder; false for any other source.
func (s Source) Place() (Place, bool) {
	if s.place == nil || s.place.Folder == "" {
		return Place{}, false
	}
	return *s.place, true
}

// Digest reads all of the source and gives its size in bytes and its digest. A file that shrinks or is written to
// meanwhile is ErrChanged, as in a Put.
func (s Source) Digest() (size int64, d Digest, err error) { return s.CopyTo(io.Discard) }

// CopyTo writes all of the source to w, and gives its size in bytes and its digest. A file that shrinks or is written to
// meanwhile is ErrChanged, as in a Put; what w has got then is worth nothing.
func (s Source) CopyTo(w io.Writer) (size int64, d Digest, err error) {
	c, err := s.opened()
	if err != nil {
		return 0, "", err
	}
	d, err = c.copyTo(w)
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
		return nil, cannotOpen(err, filepath.Base(path), func() (os.FileInfo, error) { return os.Stat(path) })
	}
	return regular(f, filepath.Base(path))
}

// cannotOpen is why a file cannot be opened: a socket, say, cannot. It is called name: readers of a result have no use for
// the paths of a worker.
func cannotOpen(err error, name string, stat func() (os.FileInfo, error)) error {
	if info, statErr := stat(); statErr == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is a %s", ErrNotRegular, name, kindOf(info.Mode()))
	}
	return fmt.Errorf("%w: %w", ErrSource, called(err, name))
}

// called is an error of the disk with another name in the place of a path.
func called(err error, name string) error {
	if onDisk := (*os.PathError)(nil); errors.As(err, &onDisk) {
		return &os.PathError{Op: onDisk.Op, Path: name, Err: onDisk.Err}
	}
	return err
}

// regular is the content of an open file, which it closes if it is not a regular one.
func regular(f *os.File, name string) (*content, error) {
	then, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrSource, called(err, name)), f.Close())
	}
	if !then.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%w: %s is a %s", ErrNotRegular, name, kindOf(then.Mode())), f.Close())
	}
	c := &content{ReaderAt: namedReader{f, name}, size: then.Size(), close: f.Close}
	c.check = func(sent Digest) error { return c.compare(f, then, sent) }
	return c, nil
}

// namedReader is a file whose errors call it by its name.
type namedReader struct {
	file *os.File
	name string
}

func (r namedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.file.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = called(err, r.name)
	}
	return n, err
}

// compare says whether the file is still what it was. A file that has grown may have been only appended to:
// then the bytes that were sent are still there, which is seen by reading them again.
func (c *content) compare(f *os.File, then os.FileInfo, sent Digest) error {
	now, err := f.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrSource, called(err, filepath.Base(f.Name())))
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
func (c *content) digest() (Digest, error) { return c.copyTo(io.Discard) }

// copyTo writes all of it to w.
func (c *content) copyTo(w io.Writer) (Digest, error) {
	h, from, buffer := crc64nvme.New(), io.NewSectionReader(c, 0, c.size), make([]byte, min(64<<10, c.size))
	for left := c.size; left > 0; {
		n, err := io.ReadFull(from, buffer[:min(left, int64(len(buffer)))])
		left -= int64(n)
		h.Write(buffer[:n])
		if _, err := w.Write(buffer[:n]); err != nil {
			return "", err
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return "", c.shrank(c.size - left)
		case err != nil:
			return "", fmt.Errorf("%w: %w", ErrSource, err)
		}
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
