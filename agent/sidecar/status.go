package sidecar

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Status is what a sidecar does: a copy that nobody changes.
type Status struct {
	Started time.Time      // when Serve began; zero before
	Looked  time.Time      // when the folder of the run folders was looked at last, as it is every second at least; zero before
	Ending  bool           // the context of Serve has ended: no runs are begun any more
	Folders []FolderStatus // sorted by name
	Reason  string         // why the folder of the run folders cannot be looked at; "" if it can
}

// FolderStatus is what is known of one run folder.
type FolderStatus struct {
	Folder string // its name, which may be any
	schema.Status
	// Unwritten is why status.json could not be written; "" if it is as this is, or there was nothing to write.
	Unwritten string
	// Open says that the run is not over.
	Open bool
	// TakenUntil is when the claim lapses, if it is not reclaimed before, as it is as a rule; zero if the run is not open.
	TakenUntil time.Time
}

// board is the status of one folder: it is written by the folder's goroutine and shown to all.
type board struct {
	mu      sync.Mutex
	now     schema.Status
	failed  string
	written schema.Status // into the folder
	retry   time.Time     // when writing is tried again after a failure
	until   time.Time     // when the claim lapses; zero: there is none
}

func newBoard() *board {
	return &board{now: schema.Status{Version: schema.Version, Phase: schema.PhaseWaiting, Updated: schema.Timestamp(time.Now())}}
}

func (b *board) snapshot(folder string) FolderStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return FolderStatus{Folder: folder, Status: b.now, Unwritten: b.failed, TakenUntil: b.until}
}

// claimed says until when there is a claim.
func (b *board) claimed(until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = until
}

// set shows a status. It must not be changed afterwards.
func (b *board) set(s schema.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Version, s.Updated = schema.Version, b.now.Updated
	if !reflect.DeepEqual(s, b.now) {
		s.Updated = schema.Timestamp(time.Now())
		b.now = s
	}
}

// restore shows what status.json says already.
func (b *board) restore(s schema.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now, b.written = s, s
}

// write writes the status into the folder, if it is another one than before.
func (b *board) write(root *os.Root) {
	b.mu.Lock()
	s, same, retry := b.now, reflect.DeepEqual(b.now, b.written), b.retry
	b.mu.Unlock()
	if same || time.Now().Before(retry) {
		return
	}
	err := writeStatus(root, s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.failed, b.retry = printable(err.Error()), time.Now().Add(statusRetry)
		return
	}
	b.failed, b.written, b.retry = "", s, time.Time{}
}

// statusRetry is how long a status that cannot be written is left alone.
const statusRetry = 2 * time.Second

func writeStatus(root *os.Root, s schema.Status) error {
	data, err := schema.Encode(s)
	if err != nil {
		return fmt.Errorf("write %s: %w", statusFile, err)
	}
	return replace(root, statusFile, append(data, '\n'))
}

// replace puts a file into a run folder, whole or not at all. Links in its place are replaced, not followed.
func replace(root *os.Root, name string, data []byte) error {
	temporary := "." + name + ".new"
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", name, withoutPath(err))
	}
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, withoutPath(err))
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		_ = root.Remove(temporary) // it is in nobody's way
		return fmt.Errorf("write %s: %w", name, withoutPath(err))
	}
	return nil
}
