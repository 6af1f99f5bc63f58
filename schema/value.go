package schema

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/invopop/jsonschema"
)

// ValidateValue checks a document that was read from something else than JSON, as [Validate] does: the [Config], which
// is written in YAML. v is made of map[string]any, []any, string, [json.Number], bool and nil. Where the schema wants a string, a number
// or a boolean is taken for the text of it, as formats have it whose strings need no quotes.
//
// position tells where the value at a path stands, or, with name, its key, from line 1 and column 1; the errors are those of Validate.
func ValidateValue(name, file string, v any, position func(path []string, name bool) (line, column int)) error {
	e, ok := entryNamed(name)
	if !ok {
		return &UnknownError{Name: name}
	}
	form := forms[name].strict()
	v = asText(form.tree, v)
	err := form.validate(v)
	if err == nil {
		return nil
	}
	broken := &Error{Document: e.name(), File: file}
	seen := map[string]bool{}
	for _, f := range form.faults(v, err) {
		p := Problem{Pointer: pointer(f.path), Expected: f.expected, Found: f.found}
		if seen[p.Pointer] {
			continue
		}
		seen[p.Pointer] = true
		p.Line, p.Column = position(f.path, f.name)
		broken.Problems = append(broken.Problems, p)
	}
	slices.SortStableFunc(broken.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Pointer, b.Pointer))
	})
	return broken
}

// asText makes text of the numbers and booleans in v that stand where the schema wants a string.
func asText(s *jsonschema.Schema, v any) any {
	if s == nil {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		all := make(map[string]any, len(v))
		for name, member := range v {
			all[name] = asText(at(s, []string{name}), member)
		}
		return all
	case []any:
		all := make([]any, len(v))
		for i, item := range v {
			all[i] = asText(s.Items, item)
		}
		return all
	case json.Number:
		if s.Type == "string" {
			return v.String()
		}
	case bool:
		if s.Type == "string" {
			return strconv.FormatBool(v)
		}
	}
	return v
}
