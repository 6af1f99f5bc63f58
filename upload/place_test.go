package upload_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/upload"
)

// hostile is a folder next to a secret, with links of all kinds.
func hostile(t *testing.T) (folder string) {
	t.Helper()
	above := t.TempDir()
	folder = filepath.Join(above, "folder")
	for _, dir := range []string{"folder/deep/er", "other"} {
		if err := os.MkdirAll(filepath.Join(above, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"secret": "secret", "other/secret": "secret", "other/linked": "secret", "folder/plain": "plain", "folder/deep/er/file": "deep"} {
		if err := os.WriteFile(filepath.Join(above, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"inside": "plain", "deep/up": "../plain", "folded": "deep", "chain": "inside",
		"out": "../secret", "absolute": filepath.Join(above, "secret"), "home": filepath.Join(folder, "plain"),
		"away": "../other", "roundabout": "../folder/plain", "nowhere": "none", "loop": "loop", "chainout": "out",
	} {
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(above, "other/linked"), filepath.Join(folder, "hard")); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestPlaceFollowsNoLinkOut(t *testing.T) {
	folder := hostile(t)
	read := func(p upload.Place) (string, error) {
		var b strings.Builder
		_, _, err := p.Source().CopyTo(&b)
		return b.String(), err
	}
	for _, c := range []struct {
		name                 string
		inside, follow, skip any // what is read, or the error
	}{
		{"plain", "plain", "plain", "plain"},
		{"deep/er/file", "deep", "deep", "deep"},
		{"deep/../plain", "plain", "plain", "plain"},
		{"inside", "plain", "plain", upload.ErrLink},
		{"chain", "plain", "plain", upload.ErrLink},
		{"deep/up", "plain", "plain", upload.ErrLink},
		{"folded/er/file", "deep", "deep", upload.ErrLink},
		{"out", upload.ErrLink, "secret", upload.ErrLink},
		{"chainout", upload.ErrLink, "secret", upload.ErrLink},
		{"absolute", upload.ErrLink, "secret", upload.ErrLink},
		{"home", upload.ErrLink, "plain", upload.ErrLink},
		{"away/secret", upload.ErrLink, "secret", upload.ErrLink},
		{"roundabout", upload.ErrLink, "plain", upload.ErrLink},
		{"nowhere", fs.ErrNotExist, fs.ErrNotExist, fs.ErrNotExist},
		{"loop", upload.ErrSource, upload.ErrSource, upload.ErrSource},
		{"none", fs.ErrNotExist, fs.ErrNotExist, fs.ErrNotExist},
		{"deep", upload.ErrNotRegular, upload.ErrNotRegular, upload.ErrNotRegular},
		{"plain/below", upload.ErrSource, upload.ErrSource, upload.ErrSource},
		{"hard", upload.ErrLink, upload.ErrLink, upload.ErrLink},
		{"../secret", upload.ErrSource, upload.ErrSource, upload.ErrSource},
		{"", upload.ErrSource, upload.ErrSource, upload.ErrSource},
		{"/etc/passwd", upload.ErrSource, upload.ErrSource, upload.ErrSource},
	} {
		for policy, want := range map[upload.Symlinks]any{upload.SymlinksInside: c.inside, upload.SymlinksFollow: c.follow, upload.SymlinksSkip: c.skip} {
			got, err := read(upload.Place{Folder: folder, Name: c.name, Symlinks: policy})
			switch want := want.(type) {
			case string:
				if err != nil || got != want {
					t.Errorf("%q, %q: read %q, %v; want %q", c.name, policy, got, err, want)
				}
			case error:
				if !errors.Is(err, want) || got != "" {
					t.Errorf("%q, %q: read %q, error %v; want %v", c.name, policy, got, err, want)
				}
				if err != nil && strings.Contains(err.Error(), filepath.Dir(folder)) {
					t.Errorf("the error shows where the folder is: %v", err)
				}
			}
		}
	}
	if got, err := read(upload.Place{Folder: folder, Name: "hard", HardLinks: true}); got != "secret" || err != nil {
		t.Errorf("a hard link that is allowed: %q, %v", got, err)
	}
	if _, err := read(upload.Place{Folder: "relative", Name: "plain"}); !errors.Is(err, upload.ErrSource) {
		t.Errorf("a relative folder: %v", err)
	}
	if _, err := read(upload.Place{Folder: filepath.Join(folder, "none"), Name: "plain"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// The folder itself is trusted: it may be a link.
func TestPlaceInALinkedFolder(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(hostile(t), link); err != nil {
		t.Fatal(err)
	}
	head, err := upload.Place{Folder: link, Name: "plain"}.Source().Head(100)
	if string(head) != "plain" || err != nil {
		t.Errorf("read %q, %v", head, err)
	}
}

// Somebody exchanges a file for links that lead out, all the time: what is read is the file, or nothing.
func TestLinkThatIsSwappedIn(t *testing.T) {
	folder := hostile(t)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	swap := func() error {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return nil
			default:
			}
			next := filepath.Join(folder, "next")
			var err error
			switch i % 3 {
			case 0:
				err = os.WriteFile(next, []byte("plain"), 0o600)
			case 1:
				err = os.Symlink("../secret", next)
			case 2:
				err = os.Symlink("inside", next)
			}
			if err == nil {
				err = os.Rename(next, filepath.Join(folder, "swapped"))
			}
			if err != nil {
				return err
			}
		}
	}
	go func() { stopped <- swap() }()
	seen := map[string]int{}
	for range 5000 {
		for _, policy := range []upload.Symlinks{upload.SymlinksInside, upload.SymlinksSkip} {
			var b strings.Builder
			_, _, err := upload.Place{Folder: folder, Name: "swapped", Symlinks: policy}.Source().CopyTo(&b)
			if b.String() == "secret" {
				t.Fatal("read what is outside of the folder")
			}
			if err == nil {
				seen[b.String()]++
			}
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	t.Logf("read %v", seen)
}

func TestPlaceCanBeWrittenDown(t *testing.T) {
	folder := hostile(t)
	place := upload.Place{Folder: folder, Name: "deep/up", HardLinks: true}
	source := place.Source()
	if got, ok := source.Place(); got != place || !ok || source.Path() != filepath.Join(folder, "deep", "up") {
		t.Errorf("place %+v, %v; path %s", got, ok, source.Path())
	}
	if got, ok := upload.File(source.Path()).Place(); ok {
		t.Errorf("place of a file: %+v", got)
	}
}

// A file in a folder that changes is found out as any other.
func TestPlaceChangesDuringTheUpload(t *testing.T) {
	data := random(big)
	for name, c := range map[string]struct {
		change func(path string)
		want   error // nil: stored as it was
	}{
		"grows":       {func(path string) { appendTo(t, path, []byte("more")) }, nil},
		"is replaced": {func(path string) { os.Rename(file(t, []byte("new")), path) }, nil},
		"is removed":  {func(path string) { os.Remove(path) }, nil},
		"shrinks":     {func(path string) { os.Truncate(path, 10) }, upload.ErrChanged},
		"is written":  {func(path string) { writeAt(t, path, 0, []byte("other bytes")) }, upload.ErrChanged},
	} {
		t.Run(name, func(t *testing.T) {
			path := old(t, file(t, data))
			s := newStorage(t)
			s.script = []step{s.during(t, big, func() { c.change(path) })}
			source := upload.Place{Folder: filepath.Dir(path), Name: filepath.Base(path)}.Source()
			got, err := client(t).Put(within(t), s.grant("a"), source, upload.PutOptions{})
			if c.want != nil {
				wantError(t, err, c.want, 1)
				return
			}
			if err != nil || got.Digest != upload.Sum(data) {
				t.Errorf("receipt %+v, error %v", got, err)
			}
			s.wantObject(t, "a", data)
		})
	}
}
