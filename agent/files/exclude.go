package files

import (
	"errors"
	"path"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Exclude is a pattern of what is left out.
type Exclude struct {
	pattern string
	deep    bool // it is a name, wherever it is
	folders bool // only folders
}

// ParseExclude reads a pattern of what is left out of the files that globs and folders stand for. As in a .gitignore, one without a
// slash is for names at any depth ("*.tmp", "node_modules"), one with a slash is for paths below the folder that is
// searched ("build/cache/**"), and one that ends with a slash is for folders only. A folder that is left out is left out with all that is in it.
func ParseExclude(text string) (Exclude, error) {
	pattern := filepath.ToSlash(text)
	switch {
	case text == "":
		return Exclude{}, errors.New("empty; want a glob")
	case !doublestar.ValidatePathPattern(text):
		return Exclude{}, errors.New("not a glob: see its brackets, braces and backslashes")
	case filepath.IsAbs(text) || strings.HasPrefix(pattern, "/") || hasDots(pattern):
		return Exclude{}, errors.New("want a glob without .. that does not begin with a slash: paths are below the folder that is searched")
	}
	e := Exclude{folders: strings.HasSuffix(pattern, "/")}
	e.pattern = path.Clean(pattern)
	e.deep = !strings.Contains(strings.TrimSuffix(pattern, "/"), "/")
	return e, nil
}

// matches reports whether the file or folder of a path below the folder that is searched is left out.
func (e Exclude) matches(below string, folder bool) bool {
	if e.folders && !folder {
		return false
	}
	if e.deep {
		below = path.Base(below)
	}
	return doublestar.MatchUnvalidated(e.pattern, below)
}
