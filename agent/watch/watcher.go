package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
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

	// Logger is told, once for each Hub, that the system does not tell of all changes. Default: nobody.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Poll <= 0 {
		o.Poll = 2 * time.Second
	}
	if o.MaxFolders <= 0 {
		o.MaxFolders = 4096
	}
	if o.Hub == nil {
		o.Hub = &Hub{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Watcher gives hints about a folder and all folders below it.
type Watcher struct {
	dir     string // absolute
	o       Options
	events  *events // nil: there are none
	changes chan struct{}

	noticed  chan struct{} // holds something when an event has come
	done     chan struct{}
	closing  sync.Once
	closeErr error
	finished sync.WaitGroup

	mu      sync.Mutex
	created map[string]bool // paths that may be new folders
	anew    bool            // nothing is watched any more

	// of the goroutine
	base string      // what is watched, without symbolic links: dir, or the folder that it is in if it is no folder
	root fs.FileInfo // of dir; nil if it is no folder
}

// New watches a folder, which need not be there yet, and may go and come back; a file is watched too. It may be a symbolic link; none below
// it is followed. Whoever makes a Watcher must Close it. The error is that there is no working folder that a relative dir could be in.
func New(dir string, o Options) (*Watcher, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	w := &Watcher{
		dir: path, o: o.withDefaults(), changes: make(chan struct{}, 1),
		noticed: make(chan struct{}, 1), done: make(chan struct{}), created: map[string]bool{},
	}
	if useEvents && !o.NoEvents {
		if w.events = w.o.Hub.join(w.o); w.events != nil {
			w.events.join(w)
		}
	}
	w.finished.Go(w.run)
	return w, nil
}

// Changes gives a hint when something below the folder has changed, or events about that may have been lost, and each time Options.Poll has
// passed: look. Hints that nobody has taken yet are one. The first comes by itself, when the folders that are there are watched. What has
// changed before a hint came can be seen by whoever looks after it. After Close there are none, but the channel is not closed.
//
// While files are written to all the time there are at most 50 hints a second.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Close ends all that the watcher does. It may be called again.
func (w *Watcher) Close() error {
	w.closing.Do(func() {
		close(w.done)
		w.finished.Wait()
		if useEvents && !w.o.NoEvents {
			if w.events != nil {
				w.events.drop(w, w.base)
				w.events.leave(w)
			}
			w.closeErr = w.o.Hub.leave()
		}
	})
	return w.closeErr
}

// run follows what happens in the folder.
func (w *Watcher) run() {
	poll := time.NewTimer(untilPoll(w.o.Poll))
	defer poll.Stop()
	for {
		w.followRoot()
		w.followCreated()
		select {
		case w.changes <- struct{}{}:
		default: // there is one already
		}
		select {
		case <-w.noticed:
		case <-poll.C:
			poll.Reset(untilPoll(w.o.Poll))
		case <-w.done:
			return
		}
	}
}

// untilPoll has all watchers of a process wake up at the same time: to wake a sleeping process costs more than what they do then.
func untilPoll(every time.Duration) time.Duration {
	return every - time.Duration(time.Now().UnixNano())%every
}

// notice is for an event. It does not wait.
func (w *Watcher) notice(path string, created bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case created && len(w.created) == 4096:
		w.anew = true // to look at all of it takes less
		clear(w.created)
	case created && !w.anew:
		w.created[path] = true
	}
	w.wake()
}

// noticeLoss is for events that were lost, and all watches with them.
func (w *Watcher) noticeLoss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.anew = true
	w.wake()
}

func (w *Watcher) wake() {
	select {
	case w.noticed <- struct{}{}:
	default:
	}
}

// followRoot looks whether the folder is still the one that is watched.
func (w *Watcher) followRoot() {
	if w.events == nil {
		return
	}
	w.mu.Lock()
	anew := w.anew
	w.anew = false
	w.mu.Unlock()
	info, err := os.Stat(w.dir)
	if err != nil || !info.IsDir() {
		info = nil
	}
	same := info == nil && w.root == nil || info != nil && w.root != nil && os.SameFile(info, w.root)
	if same && !anew && w.events.watches(w, w.base) {
		return
	}
	w.events.drop(w, w.base)
	w.base, w.root = w.dir, info
	if info == nil {
		w.base = filepath.Dir(w.dir) // there one sees that it comes, or that a file changes
	}
	if w.base, err = filepath.EvalSymlinks(w.base); err != nil {
		w.root = nil
		return
	}
	if info == nil {
		_ = w.events.add(w, w.base, true) // else there is the poll
		return
	}
	w.scan(".")
}

// followCreated watches the folders that are new.
func (w *Watcher) followCreated() {
	w.mu.Lock()
	created := w.created
	w.created = map[string]bool{}
	w.mu.Unlock()
	if w.root == nil {
		return
	}
	for path := range created {
		below, err := filepath.Rel(w.base, path)
		if err != nil || !filepath.IsLocal(below) {
			continue // of a base that was
		}
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			w.scan(below)
		}
	}
}

// scan has the system tell about a folder below base and all folders below that, those at the top first. Each is listed after
// that: what comes into it from then on there is an event of, and the rest is there for whoever gets the next hint.
func (w *Watcher) scan(below string) {
	root, err := os.OpenRoot(w.base)
	if err != nil {
		return
	}
	defer root.Close() // only read
	for folders := []string{below}; len(folders) > 0; folders = folders[1:] {
		select {
		case <-w.done:
			return
		default:
		}
		if !w.watch(root, folders[0]) {
			return
		}
		folders = append(folders, subfolders(root, folders[0])...)
	}
}

// watch has the system tell about a folder. It is false if it will not, of this one nor of others.
func (w *Watcher) watch(root *os.Root, below string) bool {
	path := filepath.Join(w.base, below)
	err := errTooMany
	if w.events.count(w) < w.o.MaxFolders {
		err = w.events.add(w, path, below == ".")
	}
	switch info, statErr := root.Lstat(below); {
	case statErr != nil || !info.IsDir():
		w.events.drop(w, path) // it is something else by now: a link, perhaps, that leads elsewhere
	case errors.Is(err, syscall.ENOSPC):
		w.o.Hub.tell(w.o.Logger, w.o.Poll, fmt.Errorf("fs.inotify.max_user_watches is reached: %w", err))
		return false
	case err != nil && !os.IsNotExist(err) && !os.IsPermission(err):
		w.o.Hub.tell(w.o.Logger, w.o.Poll, err)
		return !errors.Is(err, errTooMany)
	}
	return true
}

var errTooMany = errors.New("more folders than Options.MaxFolders")

// subfolders are the folders in a folder, which may not be there any more.
func subfolders(root *os.Root, below string) []string {
	dir, err := root.OpenFile(below, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer dir.Close() // only read
	var folders []string
	for {
		entries, err := dir.ReadDir(1000)
		for _, e := range entries {
			if e.IsDir() {
				folders = append(folders, filepath.Join(below, e.Name()))
			}
		}
		if err != nil {
			return folders
		}
	}
}
