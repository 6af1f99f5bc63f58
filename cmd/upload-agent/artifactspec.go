package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/taskcluster/upload-agent/agent"
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
