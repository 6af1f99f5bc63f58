package watch_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/taskcluster/upload-agent/agent/files"
	"github.com/taskcluster/upload-agent/agent/watch"
)

// state is a file's, as far as a look sees it.
type state struct {
	size     int64
	modified int64
}

func (s state) Name() string       { return "" }
func (s state) Size() int64        { return s.size }
func (s state) Mode() fs.FileMode  { return 0 }
func (s state) ModTime() time.Time { return time.Unix(0, s.modified) }
func (s state) IsDir() bool        { return false }
func (s state) Sys() any           { return nil }

// there is what a look finds.
func there(states map[string]state) (found []files.File) {
	for name, s := range states {
		found = append(found, files.File{Name: name, Size: s.size, Info: s})
	}
	slices.SortFunc(found, func(a, b files.File) int { return strings.Compare(a.Name, b.Name) })
	return found
}

func names(found []files.File) (names []string) {
	for _, f := range found {
		names = append(names, f.Name)
	}
	return names
}

func TestSettled(t *testing.T) {
	type step struct {
		at      float64 // seconds
		there   map[string]state
		settled []string
		changed []string
		next    float64 // 0: none
		forget  string  // after the look
		before  bool    // it is no look
	}
	a1, a2, b1 := state{1, 1}, state{2, 2}, state{1, 1}
	for name, steps := range map[string][]step{
		"nothing": {{at: 0}, {at: 10}},
		"one file": {
			{at: 0, there: map[string]state{"a": a1}, next: 2},
			{at: 1.9, there: map[string]state{"a": a1}, next: 2},
			{at: 2, there: map[string]state{"a": a1}, settled: []string{"a"}},
			{at: 9, there: map[string]state{"a": a1}},
		},
		"seen seldom": {
			{at: 0, there: map[string]state{"a": a1}, next: 2},
			{at: 100, there: map[string]state{"a": a2}, next: 102},
			{at: 200, there: map[string]state{"a": a2}, settled: []string{"a"}},
		},
		"of the same size": {
			{at: 0, there: map[string]state{"a": {1, 1}}, next: 2},
			{at: 2, there: map[string]state{"a": {1, 2}}, next: 4},
		},
		"of the same time": {
			{at: 0, there: map[string]state{"a": {1, 1}}, next: 2},
			{at: 2, there: map[string]state{"a": {2, 1}}, next: 4},
		},
		"changed afterwards": {
			{at: 0, there: map[string]state{"a": a1}, next: 2},
			{at: 2, there: map[string]state{"a": a1}, settled: []string{"a"}},
			{at: 3, there: map[string]state{"a": a2}, changed: []string{"a"}, next: 5},
			{at: 4, there: map[string]state{"a": a2}, changed: []string{"a"}, next: 5},
			{at: 5, there: map[string]state{"a": a2}, settled: []string{"a"}},
			{at: 6, there: map[string]state{"a": a2}},
		},
		"changed back": {
			{at: 0, there: map[string]state{"a": a1}, next: 2},
			{at: 2, there: map[string]state{"a": a1}, settled: []string{"a"}},
			{at: 3, there: map[string]state{"a": a2}, changed: []string{"a"}, next: 5},
			{at: 5, there: map[string]state{"a": a1}},
		},
		"gone before": {
			{at: 0, there: map[string]state{"a": a1}, next: 2},
			{at: 1},
			{at: 2, there: map[string]state{"a": a1}, next: 4},
			{at: 4, there: map[string]state{"a": a1}, settled: []string{"a"}},
		},
		"gone afterwards": {
			{at: 0, there: map[string]state{"a": a1}, next: 2},
			{at: 2, there: map[string]state{"a": a1}, settled: []string{"a"}},
			{at: 3},
			{at: 9, there: map[string]state{"a": a1}},
			{at: 10, there: map[string]state{"a": a2}, changed: []string{"a"}, next: 12},
		},
		"two": {
			{at: 0, there: map[string]state{"a": a1}, next: 2},
			{at: 1, there: map[string]state{"a": a1, "b": b1}, next: 2},
			{at: 2, there: map[string]state{"a": a1, "b": b1}, settled: []string{"a"}, next: 3},
			{at: 3, there: map[string]state{"a": a2, "b": b1}, settled: []string{"b"}, changed: []string{"a"}, next: 5},
		},
		"there before": {
			{there: map[string]state{"a": a1, "b": b1}, before: true},
			{at: 0, there: map[string]state{"a": a1, "b": b1}},
			{at: 2, there: map[string]state{"a": a2, "b": b1}, next: 4},
			{at: 4, there: map[string]state{"a": a2, "b": b1}, settled: []string{"a"}},
			{at: 5, there: map[string]state{"a": a1, "b": b1}},
		},
		"forgotten": {
			{at: 0, there: map[string]state{"a": a1}, next: 2},
			{at: 2, there: map[string]state{"a": a1}, settled: []string{"a"}, forget: "a"},
			{at: 3, there: map[string]state{"a": a1}, next: 5},
			{at: 5, there: map[string]state{"a": a1}, settled: []string{"a"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			began, s := time.Now(), watch.Settled{}
			at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
			for i, step := range steps {
				if step.before {
					s.Before(there(step.there))
					continue
				}
				look := s.Look(at(step.at), there(step.there))
				if diff := cmp.Diff(step.settled, names(look.Settled)); diff != "" {
					t.Errorf("look %d, settled, -want +got:\n%s", i, diff)
				}
				if diff := cmp.Diff(step.changed, look.Changed); diff != "" {
					t.Errorf("look %d, changed, -want +got:\n%s", i, diff)
				}
				want := time.Time{}
				if step.next > 0 {
					want = at(step.next)
				}
				if !look.Next.Equal(want) {
					t.Errorf("look %d: next %v, want %v", i, look.Next.Sub(began), want.Sub(began))
				}
				s.Forget(step.forget)
			}
		})
	}
}

// Whatever happens to files: one settles when all looks for so long have seen it the same, and is given once as it is.
func TestSettledOfAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		after := time.Duration(rapid.IntRange(1, 10).Draw(t, "after"))
		s := watch.Settled{After: after}
		type look struct {
			at    time.Time
			there map[string]state
		}
		var looks []look
		now, states, given := time.Now(), map[string]state{}, map[string]state{}
		for range rapid.IntRange(1, 40).Draw(t, "looks") {
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
				if rapid.IntRange(0, 3).Draw(t, "gone") == 0 {
					delete(states, name)
				} else {
					states[name] = state{rapid.Int64Range(0, 1).Draw(t, "size"), rapid.Int64Range(0, 1).Draw(t, "modified")}
				}
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 6).Draw(t, "later")))
			looks = append(looks, look{now, maps.Clone(states)})
			got := s.Look(now, there(states))
			var settled, changed []string
			var next time.Time
			for _, name := range slices.Sorted(maps.Keys(states)) {
				was, again := given[name]
				if again && was == states[name] {
					continue
				}
				since := now
				for _, l := range slices.Backward(looks) {
					if s, ok := l.there[name]; !ok || s != states[name] {
						break
					}
					since = l.at
				}
				if settles := since.Add(after); !settles.After(now) {
					given[name] = states[name]
					settled = append(settled, name)
					continue
				} else if next.IsZero() || settles.Before(next) {
					next = settles
				}
				if again {
					changed = append(changed, name)
				}
			}
			if diff := cmp.Diff(settled, names(got.Settled)) + cmp.Diff(changed, got.Changed); diff != "" {
				t.Fatalf("-want +got:\n%s", diff)
			}
			if !got.Next.Equal(next) {
				t.Fatalf("next after %v, want %v", got.Next.Sub(now), next.Sub(now))
			}
		}
		maps.DeleteFunc(states, func(name string, s state) bool { g, ok := given[name]; return ok && g == s })
		if diff := cmp.Diff(names(there(states)), names(s.Rest(there(looks[len(looks)-1].there)))); diff != "" {
			t.Fatalf("rest, -want +got:\n%s", diff)
		}
		if again := s.Rest(there(states)); len(again) > 0 {
			t.Fatalf("the rest is given twice: %v", names(again))
		}
	})
}

// What is done to a file in any way shows in its stamp.
func TestStamp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "one")
	then := time.Unix(1_000_000, 0)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	stamp := func() watch.Stamp {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return watch.StampOf(info)
	}
	before := stamp()
	if got := stamp(); got != before {
		t.Errorf("%+v, and without a change %+v", before, got)
	}
	for name, change := range map[string]func() error{
		"written": func() error { return os.WriteFile(path, []byte("two"), 0o600) },
		"longer":  func() error { return os.WriteFile(path, []byte("three"), 0o600) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if got := stamp(); got == before {
			t.Errorf("%s: still %+v", name, got)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	for deadline := time.Now().Add(patience); stamp() == before; { // a disk's clock may be slow
		write(t, path, "few")
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("other bytes with the time of before: still %+v", before)
		}
	}
}

func ExampleSettled() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	w, err := watch.New(dir, watch.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	if err := os.WriteFile(filepath.Join(dir, "report.html"), []byte("<html></html>"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	settled := watch.Settled{After: 10 * time.Millisecond}
	for {
		found, _ := files.Select([]files.Spec{{Folder: dir, Glob: "**"}}, files.Options{})
		look := settled.Look(time.Now(), found)
		for _, f := range look.Settled {
			fmt.Println(f.Name, "has settled") // upload it
			return
		}
		var next <-chan time.Time
		if !look.Next.IsZero() {
			next = time.After(time.Until(look.Next))
		}
		select {
		case <-w.Changes():
		case <-next:
		}
	}
	// Output: report.html has settled
}
