package sidecar

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// What is in a run folder is in the hands of a worker, and perhaps of a task that may do less than we. Nothing here leaves the
// folder, follows a link, or waits.

// errRefused is what a file is that is not what it should be.
type errRefused struct{ reason string }

func (e errRefused) Error() string { return e.reason }

func refused(format string, args ...any) error { return errRefused{fmt.Sprintf(format, args...)} }

// kindOf says what is there in the place of a file or folder.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link, which is not followed"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode.IsDir():
		return "a folder"
	case mode.IsRegular():
		return "a file"
	}
	return "neither a file nor a folder"
}

// openPlain opens a regular file below root to read it. No part of its name may be a link.
func openPlain(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if info, err := root.Lstat(dir); err != nil {
			return nil, nil, withoutPath(err)
		} else if !info.IsDir() {
			return nil, nil, refused("%s is %s", dir, kindOf(info.Mode()))
		}
	}
	there, err := root.Lstat(name)
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	if !there.Mode().IsRegular() {
		return nil, nil, refused("not a regular file but %s", kindOf(there.Mode()))
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = withoutPath(err)
	case !os.SameFile(there, info):
		err = refused("something else took its place just now")
	case linksTo(info) > 1:
		err = refused("a hard link: the file has %d names, and may be anybody's", linksTo(info))
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// openFolder opens a folder below root. It must not be a link.
func openFolder(root *os.Root, name string) (*os.Root, fs.FileInfo, error) {
	there, err := root.Lstat(name)
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	if !there.IsDir() {
		return nil, nil, refused("not a folder but %s", kindOf(there.Mode()))
	}
	dir, err := root.OpenRoot(name)
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	info, err := dir.Stat(".")
	if err == nil && !os.SameFile(there, info) {
		err = refused("something else took its place just now")
	}
	if err != nil {
		return nil, nil, errors.Join(withoutPath(err), dir.Close())
	}
	return dir, info, nil
}

// list is what is in a folder, at most so much, sorted by name.
func list(dir *os.Root, most int) ([]fs.DirEntry, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close() // only read
	entries, err := f.ReadDir(most)
	if errors.Is(err, io.EOF) {
		err = nil // it is empty
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, withoutPath(err)
}

// found is a regular file of a tree.
type found struct {
	path string // below the tree, with slashes
	info fs.FileInfo
}

// tree is what is below a folder of the run folder.
type tree struct {
	files    []found
	problems map[string]error // by path
}

// The most that is looked at.
const (
	deepest      = 32      // folders in each other
	mostEntries  = 250_000 // files and folders of a tree
	mostProblems = 100     // that are listed
)

// lookBelow finds the files below a folder, which need not be there. What is no regular file is a problem.
func lookBelow(root *os.Root, name string) tree {
	t := tree{problems: map[string]error{}}
	dir, _, err := openFolder(root, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		t.problem("", err)
	default:
		left := mostEntries
		t.add(dir, "", 1, &left)
	}
	return t
}

// add looks at a folder, and closes it.
func (t *tree) add(dir *os.Root, at string, depth int, left *int) {
	defer dir.Close() // only read
	entries, err := list(dir, *left+1)
	if err != nil {
		t.problem(at, fmt.Errorf("list folder: %w", err))
	}
	for _, entry := range entries {
		if *left--; *left < 0 {
			t.problem(at, refused("more than %d files and folders: those after it are not looked at", mostEntries))
			return
		}
		name := path.Join(at, entry.Name())
		info, err := dir.Lstat(entry.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was there a moment ago
		case err != nil:
			t.problem(name, withoutPath(err))
		case info.Mode().IsRegular():
			t.files = append(t.files, found{name, info})
		case !info.IsDir():
			t.problem(name, refused("not a regular file but %s", kindOf(info.Mode())))
		case depth == deepest:
			t.problem(name, refused("more than %d folders in each other: what is in it is not looked at", deepest))
		default:
			t.addFolder(dir, entry.Name(), name, depth, left)
		}
	}
}

func (t *tree) addFolder(parent *os.Root, base, name string, depth int, left *int) {
	below, _, err := openFolder(parent, base)
	switch {
	case err == nil:
		t.add(below, name, depth+1, left)
	case !errors.Is(err, fs.ErrNotExist):
		t.problem(name, err)
	}
}

func (t *tree) problem(name string, err error) {
	if len(t.problems) < 10*mostProblems && t.problems[name] == nil {
		t.problems[name] = err
	}
}

// note adds a problem, if there are not too many.
func note(problems map[string]string, name string, err error) {
	name = printable(name)
	if _, known := problems[name]; known {
		return
	}
	if len(problems) >= mostProblems {
		problems["and more"] = fmt.Sprintf("more than %d problems; the others are not listed", mostProblems)
		return
	}
	problems[name] = printable(err.Error())
}

// readWhole reads a file of at most that many bytes.
func readWhole(f *os.File, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if int64(len(data)) > most {
		return nil, refused("larger than %d bytes", most)
	}
	return data, nil
}

// withoutPath is what the disk said: the paths of this machine are nobody's business.
func withoutPath(err error) error {
	if onDisk := (*fs.PathError)(nil); errors.As(err, &onDisk) {
		return onDisk.Err
	}
	if link := (*os.LinkError)(nil); errors.As(err, &link) {
		return link.Err
	}
	return err
}

// printable is a text that any terminal and any JSON can take.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
