package watch

import (
	"maps"
	"slices"

	"github.com/fsnotify/fsnotify"
)

// Folders are those that the system tells a watcher about.
func (w *Watcher) Folders() []string {
	w.events.mu.Lock()
	defer w.events.mu.Unlock()
	var folders []string
	for _, path := range slices.Sorted(maps.Keys(w.events.folders)) {
		if w.events.folders[path].watchers[w] {
			folders = append(folders, path)
		}
	}
	return folders
}

// LoseEvents is what happens when there are more than the system keeps: nothing is told of a folder, but that something was lost.
func (w *Watcher) LoseEvents(folder string, change func()) error {
	if err := w.events.notifier.Remove(folder); err != nil {
		return err
	}
	change()
	w.events.notifier.Errors <- fsnotify.ErrEventOverflow
	return nil
}

// Failing is a hub without events.
func Failing(err error) *Hub { return &Hub{open: func() (*events, error) { return nil, err }} }

// Limited is a hub where the system refuses to tell of some folders.
func Limited(refuse func(path string) error) *Hub {
	return &Hub{open: func() (*events, error) {
		e, err := openEvents()
		if err != nil {
			return nil, err
		}
		e.ask = func(path string) error {
			if err := refuse(path); err != nil {
				return err
			}
			return e.notifier.Add(path)
		}
		return e, nil
	}}
}
