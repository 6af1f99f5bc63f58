package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/upload"
)

// artifactSpec is one --artifact: NAME=PATH, or a glob whose matches are named by their paths.
type artifactSpec struct {
	name string // "" for a glob
	path string
}

// parseArtifacts reads the values of --artifact. What can be seen to be wrong before the
// command has run is an error now.
func parseArtifacts(values []string) ([]artifactSpec, error) {
	var named, globs []artifactSpec
	seen := map[string]bool{}
	for _, value := range values {
		spec, err := parseArtifact(value)
		if err == nil && spec.name != "" && seen[spec.name] {
			err = errors.New("the name is given twice")
		}
		if err != nil {
			return nil, fmt.Errorf("--artifact %q: %w", value, err)
		}
		seen[spec.name] = true
		if spec.name != "" {
			named = append(named, spec)
		} else {
			globs = append(globs, spec)
		}
	}
	// A name that is given goes before one that a glob finds.
	return append(named, globs...), nil
}

func parseArtifact(value string) (artifactSpec, error) {
	name, path, named := strings.Cut(value, "=")
	if named {
		if path == "" {
			return artifactSpec{}, errors.New("no path after the =; want NAME=PATH")
		}
		if name == agent.DefaultLog {
			return artifactSpec{}, errors.New("the name is that of the command's log")
		}
		return artifactSpec{name, path}, agent.CheckName(name)
	}
	switch {
	case value == "":
		return artifactSpec{}, errors.New("empty; want NAME=PATH or a glob")
	case !doublestar.ValidatePathPattern(value):
		return artifactSpec{}, errors.New("not a glob: see its brackets, braces and backslashes")
	case filepath.IsAbs(value):
		return artifactSpec{}, errors.New("an absolute path is no artifact name; use NAME=PATH")
	}
	for _, part := range strings.Split(filepath.ToSlash(value), "/") {
		if part == ".." {
			return artifactSpec{}, errors.New("a path with .. is no artifact name; use NAME=PATH")
		}
	}
	return artifactSpec{path: value}, nil
}

// add gives the run all files that the spec stands for. What cannot be added is listed as missing.
// added remembers the paths of those that were, by name: several specs may stand for one file.
func (a artifactSpec) add(run *agent.Run, added map[string]string) error {
	if a.name != "" {
		return addFile(run, added, a.name, a.path)
	}
	var errs []error
	pattern := filepath.Clean(a.path)
	matches, err := doublestar.FilepathGlob(pattern, doublestar.WithFilesOnly(), doublestar.WithNoFollow(), doublestar.WithFailOnIOErrors())
	if err != nil {
		// One folder that cannot be read is no reason to lose what the others hold.
		errs = append(errs, fmt.Errorf("--artifact %q: %w", a.path, err), run.AddMissing(a.path, err.Error()))
		matches, err = doublestar.FilepathGlob(pattern, doublestar.WithFilesOnly(), doublestar.WithNoFollow())
	}
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if len(matches) == 0 && errs == nil {
		return run.AddMissing(a.path, "no file matches")
	}
	for _, path := range matches {
		errs = append(errs, addFile(run, added, filepath.ToSlash(path), path))
	}
	return errors.Join(errs...)
}

// addFile adds one file, unless it is there already. A file whose name another one has is
// missing as NAME=PATH: the name alone would not tell which.
func addFile(run *agent.Run, added map[string]string, name, path string) error {
	path = filepath.Clean(path)
	if added[name] == path {
		return nil
	}
	err := run.AddArtifact(name, upload.File(path), agent.ArtifactOptions{})
	switch {
	case err == nil:
		added[name] = path
		return nil
	case errors.Is(err, agent.ErrArtifactName):
		name += "=" + path
	}
	return errors.Join(err, run.AddMissing(name, err.Error()))
}
