package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// OS is the machine's own file system. Folders are made with mode 0700, files with 0600.
func OS() Disk { return osDisk{} }

type osDisk struct{}

func (osDisk) MkdirAll(path string) error               { return os.MkdirAll(path, 0o700) }
func (osDisk) Mkdir(path string) error                  { return os.Mkdir(path, 0o700) }
func (osDisk) MkdirTemp(pattern string) (string, error) { return os.MkdirTemp("", pattern) }
func (osDisk) Rename(from, to string) error             { return os.Rename(from, to) }
func (osDisk) RemoveAll(path string) error              { return os.RemoveAll(path) }

func (osDisk) ReadDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osDisk) Create(path string) (File, error) { return open(path, os.O_CREATE|os.O_EXCL) }
func (osDisk) Open(path string) (File, error)   { return open(path, 0) }

func open(path string, flags int) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// SyncDir does nothing on Windows, where a folder cannot be synced: NTFS keeps names in a journal of its own.
func (osDisk) SyncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) { // fsync(2): this file system cannot sync a folder, and nothing else can be done
		err = nil
	}
	return errors.Join(err, dir.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Lock() error {
	if err := control(f.File, lock); err != nil {
		return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return nil
}

// Close gives the lock back first: a child between fork and exec has the descriptor too, and would keep the lock that long.
func (f osFile) Close() error {
	_ = control(f.File, unlock) // fails only if there is nothing to give back
	return f.File.Close()
}

// control calls do with the descriptor or handle of f.
func control(f *os.File, do func(fd uintptr) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("get descriptor: %w", err)
	}
	var done error
	if conn.Control(func(fd uintptr) { done = do(fd) }) != nil {
		return fs.ErrClosed // the only reason it has, and it says so with an error that is not exported
	}
	return done
}
