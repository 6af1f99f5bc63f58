// Package disk is the little of a file system that a run keeps its state with. It is an interface so
// that a test can put a disk under a run that loses power, runs full and fails to sync.
package disk

import (
	"errors"
	"io"
)

// Disk keeps state folders. Paths are as for package os, and so are its errors: errors.Is finds
// fs.ErrNotExist, fs.ErrExist and the system's own numbers. Nothing it makes can be read by others than the owner.
// A name that was made, renamed or removed survives a power cut only after SyncDir of its folder.
type Disk interface {
	MkdirAll(path string) error               // does nothing if there is such a folder
	Mkdir(path string) error                  // fs.ErrExist if there is anything of that name
	MkdirTemp(pattern string) (string, error) // a new folder in the system's temporary one, as os.MkdirTemp
	ReadDir(path string) ([]string, error)    // names, sorted
	Create(path string) (File, error)         // for reading and writing; fs.ErrExist if there is such a file
	Open(path string) (File, error)           // for reading and writing
	Rename(from, to string) error             // replaces a file, in one step: there is the old one or the new one
	RemoveAll(path string) error              // of a file too; nil if there is none
	SyncDir(path string) error
}

// File is an open file. *os.File comes near; Lock and Size are ours.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Name() string
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes what was written survive a power cut. After an error nothing is known of
	// it, and another Sync proves nothing: pages that could not be written count as clean.
	Sync() error
	// Lock takes the file for this handle, until it is closed or the process ends, however that happens; ErrLocked if
	// another handle has it, of this process or another. It does not wait, and keeps nobody from reading or writing. Call it once.
	Lock() error
}

// ErrLocked says that the file is locked already.
var ErrLocked = errors.New("in use by another process")
