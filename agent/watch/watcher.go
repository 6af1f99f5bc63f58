package watch

import (
	"log/slog"
	"time"
)

// Options of a Watcher. The zero value works.
type Options struct {
	// Poll is how often there is a hint whatever has happened: the system may have no events, or lose some. Default: 2 s.
	Poll time.Duration

	// NoEvents does without the events of the system: all hints are those of Poll. So it is everywhere but on Linux.
	NoEvents bool

	// MaxFolders bounds how many folders the system is asked to tell about, those at the top first; the others are left to Poll.
	// Each takes about 1 KiB of the kernel's memory. Default: 4,096.
	MaxFolders int

	// Hub is shared by watchers that are to be cheap together. Default: one of its own.
	Hub *Hub

	// Logger is told, once for each Hub, that there are no events. Default: nobody.
	Logger *slog.Logger
}

// Hub is what the system's events of several watchers come through: a system has few of those (on Linux, 128 for each user). The zero
// value is ready for use, and must not be copied. It holds nothing open when its last Watcher is closed.
type Hub struct{}

// Watcher gives hints about a folder and all folders below it.
type Watcher struct {
	changes chan struct{}
}

// New watches a folder, which need not be there yet, and may go and come back. It may be a symbolic link; none below it is followed.
// Whoever makes a Watcher must Close it. The error is that dir can be no folder.
func New(dir string, o Options) (*Watcher, error) {
	return &Watcher{changes: make(chan struct{}, 1)}, nil
}

// Changes gives a hint when something below the folder has changed, or events about that may have been lost, and each time Options.Poll has
// passed: look. Hints that nobody has taken yet are one. The first comes by itself, when the folders that are there are watched. What has
// changed before a hint came can be seen by whoever looks after it. After Close there are none, but the channel is not closed.
//
// While files are written to all the time there are at most 50 hints a second.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Close ends all that the watcher does. It may be called again.
func (w *Watcher) Close() error { return nil }
