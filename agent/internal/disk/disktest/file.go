package disktest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"syscall"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
)

// file is an open one. Everything in it is guarded by disk.mu.
type file struct {
	disk   *Disk
	name   string
	node   *node
	closed bool
}

func (f *file) Name() string { return f.name }

// begin is Disk.begin for an operation on this file, with an error that says so.
func (f *file) begin(op string) (fate, error) {
	how, err := f.disk.begin(op, f.name)
	if err == nil && f.closed {
		how, err = nothing, fs.ErrClosed
	}
	return how, f.fail(op, err)
}

func (f *file) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if _, err := f.begin("read"); err != nil {
		return 0, err
	}
	switch {
	case offset < 0:
		return 0, f.fail("read", errors.New("negative offset"))
	case len(p) == 0:
		return 0, nil
	case offset >= int64(len(f.node.now)):
		return 0, io.EOF
	}
	n := copy(p, f.node.now[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	how, err := f.begin("write")
	if offset < 0 && err == nil {
		how, err = nothing, f.fail("write", errors.New("negative offset"))
	}
	if len(p) == 0 {
		return 0, err
	}
	data, n := f.survivors(p, how, err)
	if len(data) > 0 {
		f.node.change(change{offset, data})
	}
	return n, err
}

// survivors gives what of a write reaches the file, and how much of that is known to the writer.
func (f *file) survivors(p []byte, how fate, err error) (data []byte, n int) {
	random := f.disk.random
	switch {
	case how == whole:
		return bytes.Clone(p), len(p)
	case how == part:
		return bytes.Clone(p[:random.IntN(len(p)+1)]), 0
	case how == spoiled && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO)):
		n = random.IntN(len(p))
		data = bytes.Clone(p[:n+random.IntN(len(p)-n+1)])
		for i := n; i < len(data); i++ {
			data[i] = byte(random.Uint32())
		}
		return data, n
	}
	return nil, 0
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	how, err := f.begin("truncate")
	if size < 0 && err == nil {
		how, err = nothing, f.fail("truncate", syscall.EINVAL)
	}
	if how == whole {
		f.node.change(change{offset: size})
	}
	return err
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	how, err := f.begin("sync")
	switch how {
	case whole:
		f.node.settle()
	case spoiled:
		f.node.spoil()
	}
	return err
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if _, err := f.begin("size"); err != nil {
		return 0, err
	}
	return int64(len(f.node.now)), nil
}

func (f *file) Lock() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if _, err := f.begin("lock"); err != nil {
		return err
	}
	if f.node.locked != nil && f.node.locked != f {
		return f.fail("lock", disk.ErrLocked)
	}
	f.node.locked = f
	return nil
}

// Close closes the file even if the faults have it fail, as the system does.
func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	_, err := f.begin("close")
	f.closed = true
	if f.node.locked == f {
		f.node.locked = nil
	}
	return err
}
