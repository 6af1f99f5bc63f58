package files

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Options of a selection. The zero value works, and trusts nobody.
type Options struct {
	// Exclude is left out of what globs and folders stand for, without a word. A single file is taken all the same.
	Exclude []Exclude

	// Symlinks says which symbolic links are followed. With SymlinksSkip they are left out without a word, but
	// for one that is named as a single file. Default: those that stay in the folder.
	Symlinks upload.Symlinks

	// HardLinks takes files that have other names too, see [upload.Place]. Without it, they turn out to be ErrLink when they are read.
	HardLinks bool

	// MaxEntries bounds how many files and folders a spec has looked at, so that it ends where links
	// make a tree of any size out of a few folders. Default: 250,000.
	MaxEntries int
}

// File is one that was found.
type File struct {
	Name   string        // of the artifact: one that schema.ArtifactName allows
	Size   int64         // when it was found
	Info   fs.FileInfo   // the same; of what links lead to
	Source upload.Source // of an upload.Place
	Spec   int           // which of the specs stands for it; the first, if several do
}

// Problem is a file, or more of them, that there should be an artifact of.
type Problem struct {
	Name string // of the artifact, or the spec itself; perhaps none that an artifact can have
	Err  error
}

var (
	// ErrNone says that no file is what a spec asks for.
	ErrNone = errors.New("no file matches")
	// ErrTaken says that another file has the name already.
	ErrTaken = errors.New("name is taken")
	// ErrTooMany says that there is more than Options.MaxEntries.
	ErrTooMany = errors.New("too many files and folders")
)

// maxProblems is how many are listed.
const maxProblems = 1000

// Select finds the files that the specs stand for, sorted by name. A file that several of them stand for under the same name is there
// once. Of several files of one name the first is taken, those of single specs before all others.
func Select(specs []Spec, o Options) ([]File, []Problem) {
	s := selection{options: o, taken: map[string]string{}, troubled: map[string]bool{}}
	if s.options.MaxEntries <= 0 {
		s.options.MaxEntries = 250_000
	}
	for _, single := range []bool{true, false} {
		for i, spec := range specs {
			if (spec.Glob == "") == single {
				s.number = i
				s.add(spec)
			}
		}
	}
	slices.SortFunc(s.found, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return s.found, s.problems
}

type selection struct {
	options  Options
	number   int               // of the spec
	taken    map[string]string // paths by name
	troubled map[string]bool   // names of problems
	found    []File
	problems []Problem
}

// problem notes one, the first of each name.
func (s *selection) problem(name string, err error) {
	switch {
	case s.troubled[name]:
		return
	case len(s.problems) == maxProblems:
		name, err = "and more", fmt.Errorf("more than %d problems; the others are not listed", maxProblems)
	case len(s.problems) > maxProblems:
		return
	}
	s.troubled[name] = true
	s.problems = append(s.problems, Problem{name, err})
}

// add takes what a spec stands for.
func (s *selection) add(spec Spec) {
	folder, err := filepath.Abs(spec.Folder)
	if err != nil {
		s.problem(spec.String(), fmt.Errorf("find the working folder: %w", withoutPath(err)))
		return
	}
	tree, err := openTree(folder, s.options.Symlinks == upload.SymlinksFollow)
	if err != nil {
		s.problem(spec.String(), fmt.Errorf("open folder: %w", withoutPath(err)))
		return
	}
	defer tree.close()
	w := walk{selection: s, tree: tree, folder: folder, spec: spec}
	w.begin()
	switch {
	case spec.Glob == "" && s.taken[spec.Name] == "":
		s.taken[spec.Name] = w.place(spec.Path).Source().Path() // nothing else can stand in for it
	case spec.Glob != "" && !w.matched && !w.failed:
		s.problem(spec.String(), ErrNone)
	}
}

// take takes a file at a path below a folder, unless it is there already.
func (s *selection) take(name string, place upload.Place, info fs.FileInfo) {
	if err := schema.ArtifactName(name); err != nil {
		s.problem(name, err)
		return
	}
	source := place.Source()
	switch was, taken := s.taken[name]; {
	case !taken:
		s.taken[name] = source.Path()
		s.found = append(s.found, File{Name: name, Size: info.Size(), Info: info, Source: source, Spec: s.number})
	case was != source.Path():
		s.problem(name+"="+place.Name, fmt.Errorf("artifact %q: %w by another file", name, ErrTaken))
	}
}

// withoutPath is what the disk said.
func withoutPath(err error) error {
	if onDisk := (*fs.PathError)(nil); errors.As(err, &onDisk) {
		return onDisk.Err
	}
	return err
}
