package upload

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// Place says where a file is that lies in a folder which is not to be trusted, because those who write to it may do
// less than we: a link there must not make us read what they could not.
//
// The source of a place reads nothing outside of the folder, whatever happens in it meanwhile, unless Symlinks says so:
// a link that is put there between a look and the opening is not followed out either. The folder itself is trusted: Folder may be
// a link, and so may what is above it. A place can be written down, and gives the same source in another process.
type Place struct {
	Folder    string   // absolute
	Name      string   // below it, with slashes: relative, no ".."
	Symlinks  Symlinks // what of symbolic links is followed; default: those that stay in the folder
	HardLinks bool     // take a file that has other names too. Whoever may write to the folder can, on some systems, make one of any file of the same disk; where they may do no less than we, it does not matter
}

// Symlinks says which symbolic links are followed.
type Symlinks string

// What can be done about symbolic links.
const (
	SymlinksInside Symlinks = ""       // those are followed that lead, by a relative path, to something in the folder; others are ErrLink
	SymlinksFollow Symlinks = "follow" // all are followed, wherever they lead
	SymlinksSkip   Symlinks = "skip"   // none is followed: each is ErrLink
)

// ErrLink says that a link is not followed.
var ErrLink = errors.New("a link that is not followed")

// Source is the source of the file; as [File], but for its links. A link that is not followed is ErrLink.
func (p Place) Source() Source {
	return Source{path: filepath.Join(p.Folder, filepath.FromSlash(p.Name)), place: &p, open: p.open}
}

func (p Place) open() (*content, error) {
	if !filepath.IsAbs(p.Folder) || !filepath.IsLocal(filepath.FromSlash(p.Name)) {
		return nil, fmt.Errorf("%w: %q is no path below a folder", ErrSource, p.Name)
	}
	f, err := p.openFile()
	if err != nil {
		return nil, err
	}
	c, err := regular(f, p.Name)
	if err != nil || p.HardLinks {
		return c, err
	}
	n, err := linksTo(f)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: count the names of %s: %w", ErrSource, p.Name, called(err, p.Name))
	case n > 1:
		err = fmt.Errorf("%w: %s is a hard link: the file has %d names", ErrLink, p.Name, n)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// openFile opens whatever the place leads to, without waiting.
func (p Place) openFile() (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	if p.Symlinks == SymlinksFollow {
		name := filepath.Join(p.Folder, filepath.FromSlash(p.Name))
		f, err := os.OpenFile(name, flags, 0)
		if err != nil {
			return nil, cannotOpen(err, p.Name, func() (os.FileInfo, error) { return os.Stat(name) })
		}
		return f, nil
	}
	root, err := os.OpenRoot(p.Folder)
	if err != nil {
		return nil, fmt.Errorf("%w: open the folder of %s: %w", ErrSource, p.Name, called(err, filepath.Base(p.Folder)))
	}
	defer root.Close() // only read
	f, err := root.OpenFile(p.Name, flags, 0)
	if escapes(err) {
		return nil, fmt.Errorf("%w: %s leads out of the folder", ErrLink, p.Name)
	}
	if err != nil {
		return nil, cannotOpen(err, p.Name, func() (os.FileInfo, error) { return root.Stat(p.Name) })
	}
	if p.Symlinks == SymlinksSkip {
		if err := p.isPlain(root, f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// isPlain is ErrLink if a symbolic link leads to the open file. In the place of a folder above it, one that comes and goes
// just now may not be noticed, but leads to no more than another file of the folder.
func (p Place) isPlain(root *os.Root, f *os.File) error {
	for name := p.Name; name != "."; name = path.Dir(name) {
		info, err := root.Lstat(name)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSource, called(err, name))
		}
		if info.Mode()&os.ModeSymlink != 0 {
			return fmt.Errorf("%w: %s is a symbolic link", ErrLink, name)
		}
		if name != p.Name {
			continue
		}
		if opened, err := f.Stat(); err != nil || !os.SameFile(opened, info) {
			return fmt.Errorf("%w: %s is another file now", ErrChanged, name)
		}
	}
	return nil
}

// escapes reports whether an [os.Root] has refused a name because it leads out of it. Package os has an error for that, but no name for it.
func escapes(err error) bool {
	return err != nil && strings.Contains(err.Error(), "path escapes from parent")
}
