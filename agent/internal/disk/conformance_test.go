package disk_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
)

// onBoth runs the test on the real disk and on the simulated one; dir is an empty folder.
func onBoth(t *testing.T, test func(t *testing.T, d disk.Disk, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, disk.OS(), t.TempDir()) })
	t.Run("disktest", func(t *testing.T) {
		d := disktest.New(rand.New(rand.NewPCG(1, 2)))
		dir := filepath.FromSlash("/state")
		check(t, d.Mkdir(dir))
		test(t, d, dir)
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Fatalf("error %v, want %v", err, wanted)
	}
}

// create makes a file with that text.
func create(t *testing.T, d disk.Disk, path, text string) disk.File {
	t.Helper()
	f, err := d.Create(path)
	check(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.WriteAt([]byte(text), 0)
	check(t, err)
	return f
}

// text reads a whole file.
func text(t *testing.T, f disk.File) string {
	t.Helper()
	size, err := f.Size()
	check(t, err)
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size+1)) // one more, to see that Size says all
	check(t, err)
	return string(b)
}

func reopen(t *testing.T, d disk.Disk, path string) disk.File {
	t.Helper()
	f, err := d.Open(path)
	check(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestCreateIsExclusive(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		path := filepath.Join(dir, "journal")
		_, err := d.Open(path)
		want(t, err, fs.ErrNotExist)
		create(t, d, path, "first")
		_, err = d.Create(path)
		want(t, err, fs.ErrExist)
		if got := text(t, reopen(t, d, path)); got != "first" {
			t.Errorf("the file reads %q", got)
		}
		_, err = d.Create(filepath.Join(dir, "none", "journal"))
		want(t, err, fs.ErrNotExist)
		if _, err = d.Create(filepath.Join(path, "below")); err == nil {
			t.Error("made a file below a file")
		}
		if _, err = d.Open(dir); err == nil {
			t.Error("opened a folder for writing")
		}
	})
}

func TestReadAndWriteAt(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		path := filepath.Join(dir, "log")
		f := create(t, d, path, "hello")
		if f.Name() != path {
			t.Errorf("Name() = %q, want %q", f.Name(), path)
		}
		n, err := f.WriteAt([]byte("LP!"), 3)
		if n != 3 || err != nil {
			t.Fatalf("WriteAt = %d, %v", n, err)
		}
		_, err = f.WriteAt([]byte("far"), 8)
		check(t, err)
		if got := text(t, f); got != "helLP!\x00\x00far" {
			t.Errorf("reads %q", got)
		}
		for _, c := range []struct {
			offset int64
			length int
			text   string
			err    error
		}{
			{0, 3, "hel", nil},
			{8, 3, "far", nil},
			{8, 4, "far", io.EOF},
			{11, 1, "", io.EOF},
			{50, 1, "", io.EOF},
		} {
			p := make([]byte, c.length)
			n, err := f.ReadAt(p, c.offset)
			if string(p[:n]) != c.text || !errors.Is(err, c.err) {
				t.Errorf("ReadAt(%d bytes at %d) = %q, %v; want %q, %v", c.length, c.offset, p[:n], err, c.text, c.err)
			}
		}
		if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("read at -1")
		}
		if _, err := f.WriteAt(make([]byte, 1), -1); err == nil {
			t.Error("wrote at -1")
		}
		check(t, f.Sync())
		check(t, d.SyncDir(dir))
		check(t, f.Close())
		_, err = f.WriteAt([]byte("x"), 0)
		want(t, err, fs.ErrClosed)
		_, err = f.ReadAt(make([]byte, 1), 0)
		want(t, err, fs.ErrClosed)
		want(t, f.Sync(), fs.ErrClosed)
		want(t, f.Close(), fs.ErrClosed)
	})
}

func TestWriteKeepsNothingOfTheCallersBytes(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		f, err := d.Create(filepath.Join(dir, "log"))
		check(t, err)
		defer f.Close()
		p := []byte("mine")
		_, err = f.WriteAt(p, 0)
		check(t, err)
		copy(p, "YOUR")
		if got := text(t, f); got != "mine" {
			t.Errorf("reads %q", got)
		}
	})
}

func TestTruncate(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		f := create(t, d, filepath.Join(dir, "log"), "hello")
		check(t, f.Truncate(2))
		check(t, f.Truncate(4))
		if got := text(t, f); got != "he\x00\x00" {
			t.Errorf("reads %q", got)
		}
		if f.Truncate(-1) == nil {
			t.Error("truncated to -1")
		}
	})
}

func TestRenameReplaces(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		from, to := filepath.Join(dir, "new"), filepath.Join(dir, "old")
		check(t, create(t, d, from, "new").Close())
		check(t, create(t, d, to, "old").Close())
		check(t, d.Rename(from, to))
		_, err := d.Open(from)
		want(t, err, fs.ErrNotExist)
		if got := text(t, reopen(t, d, to)); got != "new" {
			t.Errorf("reads %q", got)
		}
		want(t, d.Rename(from, to), fs.ErrNotExist)
		check(t, d.Mkdir(from))
		want(t, d.Rename(to, from), fs.ErrExist)
		if d.Rename(from, to) == nil {
			t.Error("a folder replaced a file")
		}
		check(t, d.Rename(from, filepath.Join(dir, "moved")))
		got, err := d.ReadDir(dir)
		check(t, err)
		if diff := cmp.Diff([]string{"moved", "old"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFolders(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		want(t, d.Mkdir(filepath.Join(dir, "a", "b")), fs.ErrNotExist)
		check(t, d.MkdirAll(filepath.Join(dir, "a", "b")))
		check(t, d.MkdirAll(filepath.Join(dir, "a", "b")))
		want(t, d.Mkdir(filepath.Join(dir, "a", "b")), fs.ErrExist)
		for _, name := range []string{"z", "c", "B", "10", "9"} {
			check(t, create(t, d, filepath.Join(dir, "a", name), "").Close())
		}
		if d.MkdirAll(filepath.Join(dir, "a", "z", "below")) == nil {
			t.Error("made a folder below a file")
		}
		got, err := d.ReadDir(filepath.Join(dir, "a"))
		check(t, err)
		if diff := cmp.Diff([]string{"10", "9", "B", "b", "c", "z"}, got); diff != "" {
			t.Error(diff)
		}
		_, err = d.ReadDir(filepath.Join(dir, "none"))
		want(t, err, fs.ErrNotExist)
		if _, err = d.ReadDir(filepath.Join(dir, "a", "z")); err == nil {
			t.Error("read a file as a folder")
		}
	})
}

func TestRemoveAll(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		check(t, d.MkdirAll(filepath.Join(dir, "run", "logs")))
		check(t, create(t, d, filepath.Join(dir, "run", "journal"), "x").Close())
		check(t, create(t, d, filepath.Join(dir, "run", "logs", "1"), "x").Close())
		check(t, create(t, d, filepath.Join(dir, "file"), "x").Close())
		for range 2 {
			check(t, d.RemoveAll(filepath.Join(dir, "run")))
			check(t, d.RemoveAll(filepath.Join(dir, "file")))
			check(t, d.RemoveAll(filepath.Join(dir, "none", "below")))
		}
		got, err := d.ReadDir(dir)
		check(t, err)
		if len(got) != 0 {
			t.Errorf("left: %q", got)
		}
	})
}

func TestMkdirTemp(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		made := make(map[string]bool)
		for _, pattern := range []string{"upload-agent-", "upload-agent-", "upload-agent-*-run", "upload-agent-*-run"} {
			path, err := d.MkdirTemp(pattern)
			check(t, err)
			t.Cleanup(func() { check(t, d.RemoveAll(path)) })
			before, after, _ := strings.Cut(pattern, "*")
			if name := filepath.Base(path); made[path] || !strings.HasPrefix(name, before) || !strings.HasSuffix(name, after) || strings.Contains(name, "*") {
				t.Errorf("MkdirTemp(%q) = %q", pattern, path)
			}
			made[path] = true
			check(t, create(t, d, filepath.Join(path, "journal"), "x").Close())
		}
		if _, err := d.MkdirTemp("a" + string(filepath.Separator) + "b"); err == nil {
			t.Error("a pattern with two names was taken")
		}
	})
}

func TestLock(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		path := filepath.Join(dir, "journal")
		first := create(t, d, path, "held")
		second := reopen(t, d, path)
		check(t, first.Lock())
		want(t, second.Lock(), disk.ErrLocked)
		if got := text(t, second); got != "held" { // status reads what another process holds
			t.Errorf("reads %q", got)
		}
		check(t, second.Close()) // closing another handle must not release the lock
		third := reopen(t, d, path)
		want(t, third.Lock(), disk.ErrLocked)
		check(t, first.Close())
		check(t, third.Lock())
		check(t, third.Close())
		want(t, third.Lock(), fs.ErrClosed)
	})
}

func TestRemovedFileStaysOpen(t *testing.T) {
	d := disktest.New(rand.New(rand.NewPCG(1, 2)))
	f := create(t, d, filepath.FromSlash("/log"), "kept")
	check(t, d.RemoveAll(filepath.FromSlash("/log")))
	if got := text(t, f); got != "kept" {
		t.Errorf("reads %q", got)
	}
	if got := d.Files(); len(got) != 0 {
		t.Errorf("Files() = %q", got)
	}
}

func TestManyWritersOfOneFile(t *testing.T) {
	onBoth(t, func(t *testing.T, d disk.Disk, dir string) {
		f := create(t, d, filepath.Join(dir, "log"), "")
		const writers, lines = 8, 50
		done := make(chan error, writers)
		for w := range writers {
			go func() {
				var failed error
				for i := range lines {
					_, err := f.WriteAt(bytes.Repeat([]byte{'a' + byte(w)}, 10), int64(10*(i*writers+w)))
					failed = errors.Join(failed, err)
					if i%10 == 0 {
						failed = errors.Join(failed, f.Sync())
					}
				}
				done <- failed
			}()
		}
		for range writers {
			check(t, <-done)
		}
		wanted := strings.Repeat("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhh", lines)
		if diff := cmp.Diff(wanted, text(t, f)); diff != "" {
			t.Error(diff)
		}
	})
}
