package disktest

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
)

// steps splits a path into its names.
func steps(path string) []string {
	path = filepath.Clean(path)
	path = filepath.ToSlash(path[len(filepath.VolumeName(path)):])
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

// find gives what is at the path.
func (d *Disk) find(path string) (*node, error) { return d.walk(steps(path)) }

func (d *Disk) walk(names []string) (*node, error) {
	at := d.root
	for _, name := range names {
		if !at.folder() {
			return nil, syscall.ENOTDIR
		}
		if at = at.names[name]; at == nil {
			return nil, fs.ErrNotExist
		}
	}
	return at, nil
}

// parent gives the folder that the last name of the path is in, and that name. There may be nothing of that name.
func (d *Disk) parent(path string) (*node, string, error) {
	names := steps(path)
	if len(names) == 0 {
		return nil, "", syscall.EINVAL
	}
	dir, err := d.walk(names[:len(names)-1])
	if err == nil && !dir.folder() {
		err = syscall.ENOTDIR
	}
	return dir, names[len(names)-1], err
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// make puts child at the path, where nothing may be yet.
func (d *Disk) make(op, path string, child *node) error {
	how, err := d.begin(op, path)
	if how != whole {
		return pathError(op, path, err)
	}
	dir, name, found := d.parent(path)
	switch {
	case found != nil:
	case dir.names[name] != nil:
		found = fs.ErrExist
	default:
		dir.name(name, child)
	}
	if err == nil {
		err = found
	}
	return pathError(op, path, err)
}

// Mkdir makes a folder.
func (d *Disk) Mkdir(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.make("mkdir", path, newFolder())
}

// MkdirAll makes each folder that is missing, one operation each.
func (d *Disk) MkdirAll(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashed {
		return pathError("mkdir", path, ErrCrashed)
	}
	names := steps(path)
	for i := range names {
		at, err := d.walk(names[:i+1])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			folder := string(filepath.Separator) + filepath.Join(names[:i+1]...)
			if err := d.make("mkdir", folder, newFolder()); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		case err != nil:
			return pathError("mkdir", path, err)
		case !at.folder():
			return pathError("mkdir", path, syscall.ENOTDIR)
		}
	}
	return nil
}

// MkdirTemp makes a folder below /tmp; a number takes the place of the star in the pattern.
func (d *Disk) MkdirTemp(pattern string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if strings.ContainsAny(pattern, `/\`) {
		return "", pathError("mkdirtemp", pattern, errors.New("pattern contains path separator"))
	}
	before, after := pattern, ""
	if i := strings.LastIndexByte(pattern, '*'); i >= 0 {
		before, after = pattern[:i], pattern[i+1:]
	}
	for {
		d.temps++
		path := filepath.Join(string(filepath.Separator), "tmp", before+strconv.Itoa(d.temps)+after)
		if err := d.make("mkdir", path, newFolder()); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
}

// ReadDir gives the names in a folder.
func (d *Disk) ReadDir(path string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.begin("readdir", path); err != nil {
		return nil, pathError("readdir", path, err)
	}
	dir, err := d.find(path)
	if err == nil && !dir.folder() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("readdir", path, err)
	}
	return slices.Sorted(maps.Keys(dir.names)), nil
}

// Create makes a file and opens it.
func (d *Disk) Create(path string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	made := &node{}
	if err := d.make("create", path, made); err != nil {
		return nil, err
	}
	return &file{disk: d, name: path, node: made}, nil
}

// Open opens a file.
func (d *Disk) Open(path string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.begin("open", path); err != nil {
		return nil, pathError("open", path, err)
	}
	found, err := d.find(path)
	if err == nil && found.folder() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return &file{disk: d, name: path, node: found}, nil
}

// Rename renames within one folder.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	how, err := d.begin("rename", from)
	if how == whole {
		if failed := d.rename(from, to); err == nil {
			err = failed
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (d *Disk) rename(from, to string) error {
	source, old, err := d.parent(from)
	if err != nil {
		return err
	}
	target, name, err := d.parent(to)
	if err != nil {
		return err
	}
	moved, replaced := source.names[old], target.names[name]
	switch {
	case moved == nil:
		return fs.ErrNotExist
	case source != target:
		return syscall.EXDEV
	case moved == replaced:
		return nil
	case replaced != nil && replaced.folder():
		return fs.ErrExist
	case replaced != nil && moved.folder():
		return syscall.ENOTDIR
	}
	source.rename(naming{from: old, to: name, node: moved})
	return nil
}

// RemoveAll removes what is below a folder one by one, in any order, and then the folder: a crash may leave it half empty.
func (d *Disk) RemoveAll(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.removeAll(path)
}

func (d *Disk) removeAll(path string) error {
	if d.crashed {
		return pathError("remove", path, ErrCrashed)
	}
	dir, name, err := d.parent(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && dir.names[name] == nil {
		return nil
	} else if err != nil {
		return pathError("remove", path, err)
	}
	children := slices.Sorted(maps.Keys(dir.names[name].names))
	d.random.Shuffle(len(children), func(i, j int) { children[i], children[j] = children[j], children[i] })
	for _, child := range children {
		if err := d.removeAll(filepath.Join(path, child)); err != nil {
			return err
		}
	}
	how, err := d.begin("remove", path)
	if how == whole && dir.names[name] != nil {
		dir.name(name, nil)
	}
	return pathError("remove", path, err)
}

// SyncDir makes the names in a folder safe; that of the folder itself is in its parent.
func (d *Disk) SyncDir(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	how, err := d.begin("syncdir", path)
	if how == whole {
		dir, failed := d.find(path)
		if failed == nil {
			dir.settle()
		} else if err == nil {
			err = failed
		}
	}
	return pathError("syncdir", path, err)
}
