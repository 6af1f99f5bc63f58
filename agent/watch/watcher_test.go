package watch_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/watch"
)

// patience is how long a test waits for what comes at once.
const patience = 30 * time.Second

func newWatcher(t *testing.T, dir string, o watch.Options) *watch.Watcher {
	t.Helper()
	w, err := watch.New(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	hint(t, w)
	return w
}

// hint waits for one.
func hint(t *testing.T, w *watch.Watcher) {
	t.Helper()
	select {
	case <-w.Changes():
	case <-time.After(patience):
		t.Fatal("no hint")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Where the system has no events there is a hint from time to time, also of a folder that is not there.
func TestPoll(t *testing.T) {
	for name, o := range map[string]watch.Options{"no events": {NoEvents: true}, "events": {}} {
		t.Run(name, func(t *testing.T) {
			o.Poll = time.Millisecond
			for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
				w := newWatcher(t, dir, o)
				for range 3 {
					hint(t, w)
				}
			}
		})
	}
}

func TestCloseTwice(t *testing.T) {
	for _, o := range []watch.Options{{}, {NoEvents: true}} {
		w := newWatcher(t, t.TempDir(), o)
		for range 2 {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
