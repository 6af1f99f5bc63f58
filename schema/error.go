package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// Error says what is wrong with a document.
type Error struct {
	Document string    // name of its schema: "claim"
	File     string    // where it came from, as the caller named it; "" for a document that was to be encoded
	Problems []Problem // at least one; in the order of the document
}

// Problem is one thing that is wrong with a document, and where.
type Problem struct {
	Pointer  string // JSON pointer (RFC 6901) to the member; "" is the whole document
	Line     int    // from 1; 0 for a document that was to be encoded
	Column   int    // in characters, from 1
	Expected string // "an integer from 0 to 1000"
	Found    string // `"x"`; long strings are abbreviated and signed URLs never shown
}

// Error gives the first problem in full, and how many more there are.
func (e *Error) Error() string {
	name := e.File
	if name == "" {
		name = e.Document
	}
	if len(e.Problems) == 0 {
		return name + ": not valid"
	}
	text := name + ": " + e.Problems[0].String()
	switch more := len(e.Problems) - 1; more {
	case 0:
	case 1:
		text += " (and 1 more problem)"
	default:
		text += fmt.Sprintf(" (and %d more problems)", more)
	}
	return text
}

// String is the problem on one line: `/runId: want an integer from 0 to 1000, got "x" (line 3)`.
func (p Problem) String() string {
	text := "want " + p.Expected + ", got " + p.Found
	if p.Pointer != "" {
		text = strings.Trim(strconv.Quote(p.Pointer), `"`) + ": " + text
	}
	if p.Line > 0 {
		text += fmt.Sprintf(" (line %d)", p.Line)
	}
	return text
}

// UnknownError says that there is no document of this name.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("unknown document %q: want one of %s", e.Name, strings.Join(Names(), ", "))
}
