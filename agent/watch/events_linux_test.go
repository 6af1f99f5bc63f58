package watch_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/watch"
)

// onEvents is for watchers whose hints are all those of events.
var onEvents = watch.Options{Poll: time.Hour}

// Each change is made after the hint of the one before.
func TestEventsOfAllKinds(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "old/deep/file"), "")
	at := func(name string) string { return filepath.Join(dir, name) }
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	w := newWatcher(t, dir, onEvents)
	for _, step := range []struct {
		what    string
		change  func()
		watched []string // in the end; nil: as before
	}{
		{"a file", func() { write(t, at("a"), "") }, []string{"", "old", "old/deep"}},
		{"written to", func() { write(t, at("a"), "more") }, nil},
		{"its time", func() { do(os.Chtimes(at("a"), time.Time{}, time.Unix(1, 0))) }, nil},
		{"renamed", func() { do(os.Rename(at("a"), at("b"))) }, nil},
		{"removed", func() { do(os.Remove(at("b"))) }, nil},
		{"in a folder that was there", func() { write(t, at("old/deep/file"), "new") }, nil},
		{"new folders with a file", func() { write(t, at("x/y/z/file"), "") }, []string{"", "old", "old/deep", "x", "x/y", "x/y/z"}},
		{"in a new folder", func() { write(t, at("x/y/z/file"), "more") }, nil},
		{"a folder renamed", func() { do(os.Rename(at("x"), at("r"))) }, []string{"", "old", "old/deep", "r", "r/y", "r/y/z"}},
		{"in a renamed folder", func() { write(t, at("r/y/z/file"), "even more") }, nil},
		{"another one of that name", func() { write(t, at("x/y/file"), "") }, []string{"", "old", "old/deep", "r", "r/y", "r/y/z", "x", "x/y"}},
		{"in both", func() { write(t, at("x/y/file"), "1") }, nil},
		{"of the same name", func() { write(t, at("r/y/z/file"), "2") }, nil},
		{"a tree removed", func() { do(os.RemoveAll(at("r"))) }, []string{"", "old", "old/deep", "x", "x/y"}},
		{"a tree moved out", func() { do(os.Rename(at("x"), outside)) }, []string{"", "old", "old/deep"}},
		{"and in again", func() { do(os.Rename(outside, at("x"))) }, []string{"", "old", "old/deep", "x", "x/y"}},
		{"in it", func() { write(t, at("x/y/file"), "3") }, nil},
		{"all of it gone", func() { do(os.RemoveAll(dir)) }, []string{".."}},
		{"and back", func() { write(t, at("x/file"), "4") }, []string{"", "x"}},
		{"in what is back", func() { write(t, at("x/file"), "5") }, nil},
	} {
		step.change()
		hint(t, w)
		if step.watched != nil {
			for i, name := range step.watched {
				step.watched[i] = at(name)
			}
			wantFolders(t, w, step.watched, step.what)
		}
	}
}

// wantFolders waits until the system tells about certain folders.
func wantFolders(t *testing.T, w *watch.Watcher, want []string, what string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("folders that are watched, -want +got:\n%s", cmp.Diff(want, w.Folders()))
		}
	}()
	eventually(t, what, func() bool { return slices.Equal(w.Folders(), want) })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatal("never came: ", what)
		}
	}
}

// Of a file, and of what is not there yet, the folder that it would be in tells, and no other.
func TestWatchedFile(t *testing.T) {
	above := t.TempDir()
	write(t, filepath.Join(above, "deep/other"), "")
	path := filepath.Join(above, "path")
	w := newWatcher(t, path, onEvents)
	for i := range 3 {
		write(t, path, fmt.Sprint("a file", i))
		hint(t, w)
		wantFolders(t, w, []string{above}, "a file")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	hint(t, w)
	write(t, filepath.Join(path, "file"), "in a folder")
	wantFolders(t, w, []string{path}, "a folder")
	drain(w)
	write(t, filepath.Join(path, "file"), "again")
	hint(t, w)
}

// A folder that goes and comes back is found by the poll at the latest; so is one below which another was renamed.
func TestRootThatGoesAndComesBack(t *testing.T) {
	for name, away := range map[string]func(dir string) error{
		"removed":         os.RemoveAll,
		"renamed":         func(dir string) error { return os.Rename(dir, dir+".old") },
		"with its parent": func(dir string) error { return os.Rename(filepath.Dir(dir), filepath.Dir(dir)+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "parent", "dir")
			write(t, filepath.Join(dir, "sub", "file"), "")
			w := newWatcher(t, dir, watch.Options{Poll: 5 * time.Millisecond})
			both := []string{dir, filepath.Join(dir, "sub")}
			wantFolders(t, w, both, "before")
			for range 3 {
				if err := away(dir); err != nil {
					t.Fatal(err)
				}
				eventually(t, "gone", func() bool { return !slices.Contains(w.Folders(), both[1]) })
				write(t, filepath.Join(dir, "sub", "file"), "")
				wantFolders(t, w, both, "back")
				os.RemoveAll(dir + ".old")
				os.RemoveAll(filepath.Dir(dir) + ".old")
			}
		})
	}
}

// A link to a folder is not followed, the folder itself may be one.
func TestSymlinks(t *testing.T) {
	above := t.TempDir()
	dir, outside, link := filepath.Join(above, "dir"), filepath.Join(above, "outside"), filepath.Join(above, "link")
	write(t, filepath.Join(dir, "sub/file"), "")
	write(t, filepath.Join(outside, "deep/file"), "")
	for name, to := range map[string]string{filepath.Join(dir, "out"): outside, filepath.Join(dir, "up"): "..", filepath.Join(dir, "sub/loop"): ".", link: dir} {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	w := newWatcher(t, link, onEvents)
	wantFolders(t, w, []string{dir, filepath.Join(dir, "sub")}, "at first")
	if err := os.Symlink(outside, filepath.Join(dir, "later")); err != nil {
		t.Fatal(err)
	}
	hint(t, w)
	write(t, filepath.Join(dir, "new/file"), "")
	wantFolders(t, w, []string{dir, filepath.Join(dir, "new"), filepath.Join(dir, "sub")}, "later")
}

// What nobody was told of is looked at when the system says that it has lost something.
func TestLostEvents(t *testing.T) {
	hub := &watch.Hub{}
	o := onEvents
	o.Hub = hub
	dir, other := t.TempDir(), newWatcher(t, t.TempDir(), o)
	w := newWatcher(t, dir, o)
	if err := w.LoseEvents(dir, func() { write(t, filepath.Join(dir, "a/b/file"), "") }); err != nil {
		t.Fatal(err)
	}
	hint(t, w)
	hint(t, other)
	wantFolders(t, w, []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "a/b")}, "after that")
	write(t, filepath.Join(dir, "a/b/file"), "more")
	hint(t, w)
}

func TestNoMoreWatches(t *testing.T) {
	above := t.TempDir()
	for name, c := range map[string]struct {
		options watch.Options
		says    string
		watched []string
	}{
		"no more watches": {watch.Options{Hub: watch.Limited(func(path string) error {
			if strings.Contains(path, "sub") {
				return syscall.ENOSPC
			}
			return nil
		})}, "max_user_watches", []string{""}},
		"no instance":      {watch.Options{Hub: watch.Failing(syscall.EMFILE)}, syscall.EMFILE.Error(), nil},
		"too many folders": {watch.Options{MaxFolders: 4}, "MaxFolders", []string{"", "sub0", "sub1", "sub2"}},
		"one of them not": {watch.Options{Hub: watch.Limited(func(path string) error {
			if strings.Contains(path, "sub0") {
				return syscall.ENAMETOOLONG
			}
			return nil
		})}, "too long", []string{"", "sub1", "sub2"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(above, strings.ReplaceAll(name, " ", "-"))
			for i := range 3 {
				write(t, fmt.Sprintf("%s/sub%d/file", dir, i), "")
			}
			write(t, filepath.Join(dir, "sub0/deep/file"), "")
			var said lockedBuffer
			o := c.options
			o.Poll, o.Logger = time.Millisecond, slog.New(slog.NewTextHandler(&said, nil))
			for range 2 {
				w := newWatcher(t, dir, o)
				for range 3 {
					hint(t, w) // by the poll
				}
				if c.watched != nil {
					var want []string
					for _, name := range c.watched {
						want = append(want, filepath.Join(dir, name))
					}
					wantFolders(t, w, want, name)
				}
				if o.Hub == nil {
					break // each would have one of its own, and say so
				}
			}
			if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, c.says) {
				t.Errorf("said:\n%s", got)
			}
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Many watchers have one instance of inotify together, and none when they are closed; what one sees does not depend on the others.
func TestHub(t *testing.T) {
	before := instances(t)
	o := onEvents
	o.Hub = &watch.Hub{}
	dir := t.TempDir()
	deep := filepath.Join(dir, "deep")
	write(t, filepath.Join(deep, "file"), "")
	var all []*watch.Watcher
	for range 50 {
		all = append(all, newWatcher(t, dir, o), newWatcher(t, deep, o))
	}
	if got := instances(t); got != before+1 {
		t.Errorf("%d instances", got-before)
	}
	write(t, filepath.Join(deep, "file"), "1")
	for _, w := range all {
		hint(t, w)
	}
	for _, w := range all[1:] {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	drain(all[0])
	write(t, filepath.Join(deep, "file"), "2")
	hint(t, all[0])
	if err := all[0].Close(); err != nil {
		t.Error(err)
	}
	if got := instances(t); got != before {
		t.Errorf("%d instances are left", got-before)
	}
	hint(t, newWatcher2(t, deep, o)) // the hub can be used again
}

func drain(w *watch.Watcher) {
	select {
	case <-w.Changes():
	default:
	}
}

func newWatcher2(t *testing.T, dir string, o watch.Options) *watch.Watcher {
	w := newWatcher(t, dir, o)
	write(t, filepath.Join(dir, "file"), "3")
	return w
}

// instances counts those of inotify that this process has.
func instances(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, _ := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); strings.Contains(to, "inotify") {
			n++
		}
	}
	return n
}

// However folders come, go and are renamed, in the end the system tells about those that are there.
func TestStorm(t *testing.T) {
	o := onEvents
	o.Hub = &watch.Hub{}
	var done sync.WaitGroup
	for seed := range uint64(4) {
		dir := t.TempDir()
		w := newWatcher(t, dir, o)
		done.Go(func() { storm(t, dir, rand.New(rand.NewPCG(seed, 0)), 1500) })
		defer func() { wantFolders(t, w, foldersOf(t, dir), fmt.Sprint("after the storm ", seed)) }()
	}
	done.Wait()
}

func storm(t *testing.T, dir string, r *rand.Rand, steps int) {
	any := func() string {
		path := dir
		for range 1 + r.IntN(3) {
			path = filepath.Join(path, string(rune('a'+r.IntN(4))))
		}
		return path
	}
	for range steps {
		switch r.IntN(6) {
		case 0, 1:
			_ = os.MkdirAll(any(), 0o700)
		case 2:
			_ = os.RemoveAll(any())
		case 3, 4:
			_ = os.Rename(any(), any())
		case 5:
			from := any()
			_ = os.Rename(from, from+".moved")
			_ = os.RemoveAll(from + ".moved")
		}
	}
}

func foldersOf(t *testing.T, dir string) (folders []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(folders)
	return folders
}
