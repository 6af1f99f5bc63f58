package schema

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// faults turns what the schema check found into our own words.
func (f form) faults(doc any, err error) []fault {
	var invalid *validator.ValidationError
	if !errors.As(err, &invalid) {
		return []fault{{pos: -1, expected: "a document that can be checked", found: err.Error()}}
	}
	var all []fault
	var collect func(e *validator.ValidationError)
	collect = func(e *validator.ValidationError) {
		if len(e.Causes) == 0 {
			all = append(all, f.translate(doc, e)...)
		}
		for _, cause := range e.Causes {
			collect(cause)
		}
	}
	collect(invalid)
	return all
}

func (f form) translate(doc any, e *validator.ValidationError) []fault {
	path := e.InstanceLocation
	s := at(f.tree, path)
	member := func(name string) []string { return append(slices.Clone(path), name) }
	var all []fault
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			all = append(all, fault{path: member(name), pos: -1, expected: describe(inner(s, name)), found: "no such member"})
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			expected := "no unknown member"
			if known := nearest(name, s); known != "" {
				expected += " (perhaps " + strconv.Quote(known) + " was meant)"
			}
			if len(s.PatternProperties) > 0 {
				expected = "a task id of 22 characters from A-Z a-z 0-9 _ - as name"
			}
			all = append(all, fault{path: member(name), name: true, pos: -1, expected: expected, found: quote(name)})
		}
	default:
		v := find(doc, path)
		expected := describe(s)
		if f, ok := k.(*kind.Format); ok && strings.HasPrefix(f.Want, "int") {
			expected += whyNoInteger(v, s)
		}
		all = append(all, fault{path: path, pos: -1, expected: expected, found: show(v, s)})
	}
	return all
}

// whyNoInteger says more about a number that JSON Schema calls an integer and Go does not.
func whyNoInteger(v any, s *jsonschema.Schema) string {
	if n, ok := v.(json.Number); ok && strings.ContainsAny(n.String(), ".eE") {
		return ", in plain digits"
	}
	if s.Maximum != "" {
		return ""
	}
	return " that fits into " + strings.TrimPrefix(s.Format, "int") + " bits"
}

// find is the value at a path.
func find(v any, path []string) any {
	for _, token := range path {
		switch in := v.(type) {
		case map[string]any:
			v = in[token]
		case []any:
			i, _ := strconv.Atoi(token)
			v = in[i]
		}
	}
	return v
}

// report makes an [Error] of the faults of a document, in its order, each member once.
func report(document, file string, data []byte, lines bool, faults []fault) error {
	if slices.ContainsFunc(faults, func(f fault) bool { return f.pos < 0 }) {
		_, root, _ := parse(data, true)
		for i, f := range faults {
			if f.pos < 0 {
				faults[i].pos = root.find(f.path, f.name)
			}
		}
	}
	slices.SortStableFunc(faults, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.pos, b.pos), slices.Compare(a.path, b.path))
	})
	e := &Error{Document: document, File: file}
	at := position{line: 1, column: 1}
	for i, f := range faults {
		if i > 0 && slices.Equal(f.path, faults[i-1].path) {
			continue
		}
		p := Problem{Pointer: pointer(f.path), Expected: f.expected, Found: f.found}
		if lines {
			at = at.advance(data, f.pos)
			p.Line, p.Column = at.line, at.column
		}
		e.Problems = append(e.Problems, p)
	}
	return e
}

// find is the offset of a value, or of the innermost one around it that exists.
func (n *node) find(path []string, name bool) int {
	if n == nil {
		return 0
	}
	for _, token := range path {
		next := n.members[token]
		if i, err := strconv.Atoi(token); err == nil && i < len(n.items) {
			next = n.items[i]
		}
		if next == nil {
			return n.pos
		}
		n = next
	}
	if name {
		return n.name
	}
	return n.pos
}

// position counts lines and columns up to an offset; it only moves forward, so that many problems cost one pass.
type position struct{ offset, line, column int }

func (p position) advance(data []byte, to int) position {
	for p.offset < min(to, len(data)) {
		r, size := utf8.DecodeRune(data[p.offset:])
		p.offset += size
		p.column++
		if r == '\n' {
			p.line, p.column = p.line+1, 1
		}
	}
	return p
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// pointer writes a path as a JSON pointer. A member named like a signed URL is redacted here too.
func pointer(path []string) string {
	var b strings.Builder
	for _, token := range path {
		b.WriteByte('/')
		b.WriteString(pointerEscapes.Replace(withoutSecret(token)))
	}
	return b.String()
}
