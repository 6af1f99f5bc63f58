package schema

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameBytes is the length an artifact or log name may have.
const MaxNameBytes = 1024

// NameError says why a name cannot name an artifact or a log.
type NameError struct {
	Name   string
	Reason string // "is empty", "has an empty segment"...
}

func (e *NameError) Error() string {
	return fmt.Sprintf("artifact name %s %s", quote(e.Name), e.Reason)
}

// ArtifactName checks the name of an artifact or a log; what it refuses is a *[NameError].
//
// A name is a relative path with slashes: not empty, at most [MaxNameBytes] of valid UTF-8, no control
// characters, no backslash, and no empty, "." or ".." segment. It is refused here because one bad
// name makes the first queue refuse the whole request it is in, and because a name ends up in the path of
// a URL and of a file. Names that only have to be escaped in a URL (a space, "?", an umlaut) are accepted.
func ArtifactName(name string) error {
	if reason := badName(name); reason != "" {
		return &NameError{Name: name, Reason: reason}
	}
	return nil
}

func badName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > MaxNameBytes:
		return fmt.Sprintf("is %d bytes long, more than %d", len(name), MaxNameBytes)
	case !utf8.ValidString(name):
		return "is not valid UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "has a control character"
	case strings.Contains(name, `\`):
		return "has a backslash; segments are separated by a slash"
	case strings.HasPrefix(name, "/"):
		return "starts with a slash"
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return "has an empty segment"
		case ".", "..":
			return fmt.Sprintf("has a segment %q", segment)
		}
	}
	return ""
}
