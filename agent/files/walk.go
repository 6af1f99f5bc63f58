package files

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// tree is a folder as it is looked at: nothing outside of it can be seen, unless links are followed.
type tree struct {
	root *os.Root
	dir  string // where root is nil
}

func openTree(folder string, follow bool) (tree, error) {
	root, err := os.OpenRoot(folder)
	if err != nil || !follow {
		return tree{root: root}, err
	}
	return tree{dir: folder}, root.Close()
}

func (t tree) close() {
	if t.root != nil {
		_ = t.root.Close() // only read
	}
}

func (t tree) path(name string) string { return filepath.Join(t.dir, filepath.FromSlash(name)) }

func (t tree) lstat(name string) (fs.FileInfo, error) {
	if t.root == nil {
		return os.Lstat(t.path(name))
	}
	return t.root.Lstat(name)
}

func (t tree) stat(name string) (fs.FileInfo, error) {
	if t.root == nil {
		return os.Stat(t.path(name))
	}
	return t.root.Stat(name)
}

// list is what is in a folder, at most so many, sorted; and the folder itself. It does not wait, whatever is there by now.
func (t tree) list(name string, most int) ([]fs.DirEntry, fs.FileInfo, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	var dir *os.File
	var err error
	if t.root == nil {
		dir, err = os.OpenFile(t.path(name), flags, 0)
	} else {
		dir, err = t.root.OpenFile(name, flags, 0)
	}
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close() // only read
	info, err := dir.Stat()
	if err != nil {
		return nil, nil, err
	}
	entries, err := dir.ReadDir(most)
	if errors.Is(err, io.EOF) {
		err = nil // it is empty
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, info, err
}

// walk looks for the files of a spec. Paths are below its folder, with slashes.
type walk struct {
	*selection
	tree    tree
	folder  string
	spec    Spec
	seen    int
	matched bool
	failed  bool          // there was a problem
	over    bool          // there is too much
	above   []fs.FileInfo // the folders that the walk is in
}

// problem notes one.
func (w *walk) problem(name string, err error) {
	w.failed = true
	w.selection.problem(name, err)
}

// begin looks at what the path of the spec leads to.
func (w *walk) begin() {
	at := cmp.Or(w.spec.Path, ".")
	info, err := w.tree.lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		if w.spec.Glob == "" {
			w.problem(w.spec.String(), fmt.Errorf("%s: %w", w.spec.Path, withoutPath(err))) // else no file matches
		}
	case err != nil:
		w.problem(w.spec.String(), w.whyNot(at, err))
	default:
		w.entry("", info.Mode().Type())
	}
}

// entry takes a file or goes into a folder, at a path below that of the spec.
func (w *walk) entry(below string, kind fs.FileMode) {
	if w.over {
		return
	}
	if w.seen++; w.seen > w.options.MaxEntries {
		w.over = true
		w.problem(w.spec.String(), fmt.Errorf("%w: only the first %d of them were looked at; name what is wanted more closely", ErrTooMany, w.options.MaxEntries))
		return
	}
	at := path.Join(w.spec.Path, below)
	if w.excluded(at, below, kind) {
		return
	}
	if kind&fs.ModeSymlink != 0 {
		var ok bool
		if kind, ok = w.follow(at, below); !ok || w.excluded(at, below, kind) {
			return
		}
	}
	switch {
	case kind.IsDir() && w.spec.Glob == "":
		w.problem(w.spec.fileName(below), fmt.Errorf("%w but a folder; use NAME/=FOLDER for all that is in it", upload.ErrNotRegular))
	case kind.IsDir():
		if !w.spec.matchesBelow(below) {
			return
		}
		if err := tooDeep(w.spec.fileName(below)); err != nil {
			w.problem(w.spec.fileName(below), err)
			return
		}
		w.into(at, below)
	case below == "" && w.spec.Glob != "" && w.spec.Glob != "**":
		w.problem(w.spec.String(), fmt.Errorf("%s: %w", at, syscall.ENOTDIR))
	case w.spec.matches(below):
		w.file(at, below, kind)
	}
}

// excluded reports whether a file or a folder is left out. What the spec names itself never is.
func (w *walk) excluded(at, below string, kind fs.FileMode) bool {
	return below != "" && slices.ContainsFunc(w.options.Exclude, func(e Exclude) bool { return e.matches(at, kind.IsDir()) })
}

// tooDeep is why nothing in a folder of that name can be an artifact: the walk does not follow it into every depth. Nil if it can.
func tooDeep(name string) error {
	if len(name) < schema.MaxNameBytes {
		return nil
	}
	return schema.ArtifactName(name + "/*")
}

// follow tells what a link leads to. What is left out is told there.
func (w *walk) follow(at, below string) (fs.FileMode, bool) {
	wanted := w.spec.matches(below) || w.spec.matchesBelow(below)
	if w.options.Symlinks == upload.SymlinksSkip && w.spec.Glob != "" || !wanted {
		return 0, false
	}
	info, err := w.tree.stat(at)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %s leads nowhere", upload.ErrLink, at)
	} else if err != nil {
		err = w.whyNot(at, err)
	}
	if err != nil {
		w.problem(w.spec.fileName(below), err)
		return 0, false
	}
	return info.Mode().Type(), true
}

// file takes a file, if it is one.
func (w *walk) file(at, below string, kind fs.FileMode) {
	w.matched = true
	if kind != 0 {
		_, err := w.place(at).Source().Size()
		w.problem(w.spec.fileName(below), cmp.Or(err, error(upload.ErrNotRegular)))
		return
	}
	info, err := w.tree.stat(at)
	if err != nil {
		w.problem(w.spec.fileName(below), w.whyNot(at, err))
		return
	}
	w.take(w.spec.fileName(below), w.place(at), info)
}

// into walks through a folder, unless a link has led to one that the walk is in.
func (w *walk) into(at, below string) {
	entries, info, err := w.tree.list(cmp.Or(at, "."), w.options.MaxEntries-w.seen+1)
	if err != nil {
		w.problem(cmp.Or(w.spec.fileName(below), "."), fmt.Errorf("list folder: %w", withoutPath(err)))
	}
	if info == nil {
		return
	}
	if slices.ContainsFunc(w.above, func(above fs.FileInfo) bool { return os.SameFile(above, info) }) {
		return // what is there is found by a shorter path
	}
	w.above = append(w.above, info)
	for _, e := range entries {
		w.entry(path.Join(below, e.Name()), e.Type())
	}
	w.above = w.above[:len(w.above)-1]
}

func (w *walk) place(at string) upload.Place {
	return upload.Place{Folder: w.folder, Name: at, Symlinks: w.options.Symlinks, HardLinks: w.options.HardLinks}
}

// whyNot is why there is nothing to be seen at a path, in the words of who would read it.
func (w *walk) whyNot(at string, err error) error {
	if _, why := w.place(at).Source().Size(); why != nil {
		return why
	}
	return withoutPath(err)
}
