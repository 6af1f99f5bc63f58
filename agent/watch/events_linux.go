package watch

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// useEvents says that the system has events that are worth it.
const useEvents = true

// pause is how long nothing is read after events have been: the system makes one of many alike meanwhile, and whoever gets a hint has time to look.
const pause = 20 * time.Millisecond

// events are those of the folders of all watchers of a hub. fsnotify is told of each folder by itself.
type events struct {
	notifier *fsnotify.Watcher
	ask      func(path string) error // notifier.Add
	lost     chan struct{}           // holds something when events were lost
	done     chan struct{}
	finished sync.WaitGroup

	mu       sync.Mutex
	folders  map[string]*folder // by path
	watchers map[*Watcher]int   // how many folders each is told about
}

// folder is one that the system tells about.
type folder struct {
	watchers map[*Watcher]bool
	below    map[string]bool // paths of those in it
}

func openEvents() (*events, error) {
	notifier, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		return nil, err
	}
	e := &events{notifier: notifier, ask: notifier.Add, lost: make(chan struct{}, 1), done: make(chan struct{}), folders: map[string]*folder{}, watchers: map[*Watcher]int{}}
	e.finished.Go(e.read)
	e.finished.Go(e.readErrors)
	return e, nil
}

func (e *events) close() error {
	close(e.done)
	err := e.notifier.Close()
	e.finished.Wait()
	return err
}

// readErrors takes no lock: fsnotify holds its own while it gives some of its errors, and who has ours may wait for that.
func (e *events) readErrors() {
	for err := range e.notifier.Errors {
		if errors.Is(err, fsnotify.ErrEventOverflow) {
			select {
			case e.lost <- struct{}{}:
			default:
			}
		} // the others are about watches that are gone by now
	}
}

func (e *events) read() {
	next := time.NewTimer(pause)
	defer next.Stop()
	for {
		select {
		case ev, ok := <-e.notifier.Events:
			if !ok {
				return
			}
			e.handle(ev)
			for range len(e.notifier.Events) {
				e.handle(<-e.notifier.Events)
			}
		case <-e.lost:
			e.begin()
		case <-e.done:
			return
		}
		next.Reset(pause)
		select {
		case <-next.C:
		case <-e.done:
			return
		}
	}
}

// handle finds out whom an event concerns.
func (e *events) handle(ev fsnotify.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	path := filepath.Clean(ev.Name)
	var concerned []*Watcher
	for _, at := range []string{filepath.Dir(path), path} {
		if f := e.folders[at]; f != nil {
			concerned = slices.AppendSeq(concerned, maps.Keys(f.watchers))
		}
	}
	if ev.Has(fsnotify.Rename) || ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Create) {
		e.forget(path) // what is created is a new one, also where a look was faster; fsnotify would call what is below a renamed one by its old name
	}
	for _, w := range concerned {
		w.notice(path, ev.Has(fsnotify.Create))
	}
}

// begin has all watchers begin anew.
func (e *events) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for path := range e.folders {
		e.forget(path)
	}
	for w := range e.watchers {
		w.noticeLoss()
	}
}

// forget ends the watch over a folder and all that is below it. The caller holds mu.
func (e *events) forget(path string) {
	f := e.folders[path]
	if f == nil {
		return
	}
	for below := range f.below {
		e.forget(below)
	}
	for w := range f.watchers {
		e.watchers[w]--
	}
	e.end(path)
}

// end is for a folder that nobody is told about any more. The caller holds mu.
func (e *events) end(path string) {
	delete(e.folders, path)
	if above := e.folders[filepath.Dir(path)]; above != nil {
		delete(above.below, path)
	}
	_ = e.notifier.Remove(path) // perhaps the system has done so already
}

// add has a watcher told about a folder, which is its first or in one that it is told about: else nobody would say that it is gone.
func (e *events) add(w *Watcher, path string, first bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	above := e.folders[filepath.Dir(path)]
	if !first && (above == nil || !above.watchers[w]) {
		return fs.ErrNotExist // just now; an event is on its way
	}
	f := e.folders[path]
	if f == nil {
		if err := e.ask(path); err != nil {
			return err
		}
		f = &folder{watchers: map[*Watcher]bool{}, below: map[string]bool{}}
		e.folders[path] = f
	}
	if above != nil {
		above.below[path] = true
	}
	if !f.watchers[w] {
		f.watchers[w] = true
		e.watchers[w]++
	}
	return nil
}

// drop ends that for a folder and all below it.
func (e *events) drop(w *Watcher, path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped(w, path)
}

// dropped is drop; the caller holds mu.
func (e *events) dropped(w *Watcher, path string) {
	f := e.folders[path]
	if f == nil || !f.watchers[w] {
		return
	}
	for below := range f.below {
		e.dropped(w, below)
	}
	delete(f.watchers, w)
	e.watchers[w]--
	if len(f.watchers) == 0 {
		e.end(path)
	}
}

// join makes a watcher known that has no folders yet.
func (e *events) join(w *Watcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchers[w] = 0
}

// leave is the end of that, when its first folder was dropped.
func (e *events) leave(w *Watcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watchers, w)
}

// watches reports whether a watcher is told about a folder.
func (e *events) watches(w *Watcher, path string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.folders[path] != nil && e.folders[path].watchers[w]
}

// count is how many folders a watcher is told about.
func (e *events) count(w *Watcher) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.watchers[w]
}
