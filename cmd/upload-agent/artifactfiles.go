package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/upload"
)

// addArtifacts gives the run all files that the specs stand for, the small ones first: if there is little
// time left, that is how most of them are stored. What cannot be added is listed as missing.
func addArtifacts(run *agent.Run, specs []artifactSpec) error {
	files := artifactFiles{byName: map[string]string{}}
	for _, spec := range specs {
		files.find(spec)
	}
	for _, name := range files.bySize() {
		path := files.byName[name]
		if err := run.AddArtifact(name, upload.File(path), agent.ArtifactOptions{}); err != nil {
			files.lost(name, path, err)
		}
	}
	for _, m := range files.missing {
		files.errs = append(files.errs, run.AddMissing(m.name, m.reason))
	}
	return errors.Join(files.errs...)
}

// artifactFiles are the files that some specs stand for.
type artifactFiles struct {
	byName  map[string]string // their paths
	missing []missingFile
	errs    []error
}

type missingFile struct{ name, reason string }

// find takes the files of one spec.
func (f *artifactFiles) find(a artifactSpec) {
	if a.name != "" {
		f.take(a.name, a.path)
		return
	}
	pattern := filepath.Clean(a.path)
	matches, err := doublestar.FilepathGlob(pattern, doublestar.WithFilesOnly(), doublestar.WithNoFollow(), doublestar.WithFailOnIOErrors())
	switch {
	case err != nil:
		// One folder that cannot be read is no reason to lose what the others hold. The pattern has been
		// checked, so that nothing else can go wrong.
		f.errs = append(f.errs, fmt.Errorf("--artifact %q: %w", a.path, err))
		f.missing = append(f.missing, missingFile{a.path, err.Error()})
		matches, _ = doublestar.FilepathGlob(pattern, doublestar.WithFilesOnly(), doublestar.WithNoFollow())
	case len(matches) == 0:
		f.missing = append(f.missing, missingFile{a.path, "no file matches"})
	}
	for _, path := range matches {
		f.take(filepath.ToSlash(path), path)
	}
}

// take takes one file, unless it is there already: several specs may stand for it.
func (f *artifactFiles) take(name, path string) {
	path = filepath.Clean(path)
	switch was, taken := f.byName[name]; {
	case !taken:
		f.byName[name] = path
	case was != path:
		f.lost(name, path, fmt.Errorf("add artifact %q: %w by %s", name, agent.ErrArtifactName, was))
	}
}

// lost lists a file that could not be added. One whose name another has is
// missing as NAME=PATH: the name alone would not tell which.
func (f *artifactFiles) lost(name, path string, err error) {
	if errors.Is(err, agent.ErrArtifactName) {
		name += "=" + path
	}
	f.errs = append(f.errs, err)
	f.missing = append(f.missing, missingFile{name, err.Error()})
}

// bySize gives the names, that of the smallest file first.
func (f *artifactFiles) bySize() []string {
	sizes := map[string]int64{}
	for name, path := range f.byName {
		if info, err := os.Stat(path); err == nil {
			sizes[name] = info.Size()
		}
	}
	return slices.SortedFunc(maps.Keys(f.byName), func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[a], sizes[b]), cmp.Compare(a, b))
	})
}
