package files

import (
	"cmp"
	"errors"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/taskcluster/upload-agent/schema"
)

// Spec says which files are to be artifacts, and under which names. [Parse] makes one from what a person writes.
type Spec struct {
	Folder string // where to look, and what nothing may lead out of; see [upload.Place]. Default: the working folder
	Path   string // of a file or a folder below Folder, with slashes, taken literally. Default: Folder itself
	Glob   string // which files below Path; what it matches is their path from there. Default: Path is a file
	Name   string // what the file is called; with a Glob, what stands in the place of Path in the names. Default: Path
}

// Parse reads a spec:
//
//	NAME=PATH           one file
//	GLOB                all that it matches below the working folder, named by their paths
//	FOLDER, FOLDER/     all files below a folder in the working folder, named by their paths
//	NAME/=FOLDER        all files below a folder, as NAME/...
//	NAME/=GLOB          all that it matches, as NAME/ and their paths below the glob's first folders, those without a pattern
//
// What is named may lie anywhere. If it is not in the working folder, links may not lead out of the folder of the file, of FOLDER
// or of those first ones. The error says what to write instead.
func Parse(text string) (Spec, error) {
	name, where, named := strings.Cut(text, "=")
	prefix, many := strings.CutSuffix(name, "/")
	switch {
	case text == "":
		return Spec{}, errors.New("empty; want NAME=PATH, NAME/=FOLDER, a folder or a glob")
	case named && where == "":
		return Spec{}, errors.New("no path after the =; want NAME=PATH")
	case named && !many:
		return parseSingle(name, where)
	}
	if !named {
		prefix, where = "", text
	} else if err := schema.ArtifactName(prefix); err != nil {
		return Spec{}, err
	}
	if !doublestar.ValidatePathPattern(where) {
		return Spec{}, errors.New("not a glob: see its brackets, braces and backslashes")
	}
	base, glob := splitGlob(where)
	s := Spec{Name: prefix, Path: base, Glob: path.Clean(glob)}
	inside := s.Path == "" || filepath.IsLocal(filepath.FromSlash(s.Path))
	switch {
	case hasDots(glob), !named && hasDots(filepath.ToSlash(where)):
		return Spec{}, errors.New("a path with .. is no artifact name; use NAME=PATH or NAME/=FOLDER")
	case !named && !inside:
		return Spec{}, errors.New("an absolute path is no artifact name; use NAME=PATH or NAME/=FOLDER")
	case !inside:
		s.Folder, s.Path = filepath.FromSlash(s.Path), ""
	}
	return s, nil
}

func parseSingle(name, where string) (Spec, error) {
	where = filepath.Clean(where)
	s := Spec{Name: name, Path: filepath.ToSlash(where)}
	if !filepath.IsLocal(where) {
		s.Folder, s.Path = filepath.Dir(where), filepath.Base(where)
	}
	return s, schema.ArtifactName(name)
}

// splitGlob splits a pattern: into the folders at its beginning that are no patterns, unescaped and cleaned ("" if
// there are none, or only "."), and the rest, as it is. A pattern that is none is a folder, and its rest all that is in it.
func splitGlob(pattern string) (base, glob string) {
	pattern = filepath.ToSlash(pattern)
	if strings.HasSuffix(pattern, "/") || !hasMeta(pattern) {
		pattern += "/**"
	}
	at := 0
	for {
		end := strings.IndexByte(pattern[at:], '/')
		if end < 0 || hasMeta(pattern[at:at+end]) {
			break
		}
		at += end + 1
	}
	if base = path.Clean(unescape(pattern[:at])); base == "." {
		base = ""
	}
	return base, pattern[at:]
}

// hasMeta reports whether a pattern is more than a name that may be escaped.
func hasMeta(pattern string) bool {
	escaped := false
	for _, c := range []byte(pattern) {
		switch {
		case escaped:
			escaped = false
		case c == '\\' && runtime.GOOS != "windows":
			escaped = true
		case strings.IndexByte("*?[{", c) >= 0:
			return true
		}
	}
	return false
}

func unescape(pattern string) string {
	if runtime.GOOS == "windows" {
		return pattern
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}

func hasDots(pattern string) bool {
	for part := range strings.SplitSeq(pattern, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// String is what a problem with all of it is called.
func (s Spec) String() string {
	switch {
	case s.Glob == "":
		return s.fileName("")
	case s.Glob == "**" && s.Name+s.Path != "":
		return cmp.Or(s.Name, s.Path)
	}
	return s.fileName(s.Glob)
}

// fileName is what the file of a path below s.Path is called; "" is s.Path itself.
func (s Spec) fileName(below string) string {
	if below == "" && s.Glob != "" && s.Name != "" {
		below = path.Base(s.Path) // not a folder, as it turned out, but a file
	}
	return path.Join(cmp.Or(s.Name, s.Path), below)
}

// matches reports whether a file of a path below s.Path is meant.
func (s Spec) matches(below string) bool {
	return below == "" && (s.Glob == "" || s.Glob == "**") || below != "" && doublestar.MatchUnvalidated(s.Glob, below)
}

// matchesBelow reports whether a file below a folder of a path below s.Path may be meant. It may say so where none can.
func (s Spec) matchesBelow(folder string) bool {
	patterns := strings.Split(s.Glob, "/")
	if folder == "" || slices.ContainsFunc(patterns, func(p string) bool { return !doublestar.ValidatePattern(p) }) { // a slash in braces is no border
		return s.Glob != ""
	}
	for i, part := range strings.Split(folder, "/") {
		switch {
		case i < len(patterns) && patterns[i] == "**":
			return true
		case i >= len(patterns)-1, !doublestar.MatchUnvalidated(patterns[i], part):
			return false
		}
	}
	return true
}
