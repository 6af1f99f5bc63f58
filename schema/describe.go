package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/invopop/jsonschema"
)

// signedTitle marks the members that hold a password: what they hold is never shown.
const signedTitle = "Signed URL"

// at is the schema of the value at a path of a document; nil inside a free-form object.
func at(s *jsonschema.Schema, path []string) *jsonschema.Schema {
	for _, token := range path {
		if s == nil {
			return nil
		}
		s = inner(s, token)
	}
	return s
}

func inner(s *jsonschema.Schema, token string) *jsonschema.Schema {
	if s.Items != nil {
		return s.Items
	}
	if s.Properties != nil {
		return s.Properties.Value(token)
	}
	for _, p := range s.PatternProperties {
		return p // there is one at most
	}
	return s.AdditionalProperties
}

// describe says what a schema wants: "an integer from 0 to 1000".
func describe(s *jsonschema.Schema) string {
	switch {
	case s == nil:
		return "a JSON value"
	case s.Const != nil:
		return fmt.Sprintf("%q", s.Const)
	case len(s.Enum) > 0:
		var all []string
		for _, v := range s.Enum {
			all = append(all, fmt.Sprintf("%q", v))
		}
		last := len(all) - 1
		return strings.Join(all[:last], ", ") + " or " + all[last]
	}
	switch s.Type {
	case "object":
		return "an object"
	case "array":
		return "an array"
	case "boolean":
		return "true or false"
	case "number":
		return "a number"
	case "integer":
		return describeInteger(s)
	case "string":
		return describeString(s)
	}
	return "a JSON value"
}

func describeInteger(s *jsonschema.Schema) string {
	switch {
	case s.Minimum != "" && s.Maximum != "":
		return fmt.Sprintf("an integer from %s to %s", s.Minimum, s.Maximum)
	case s.Minimum != "":
		return fmt.Sprintf("an integer of at least %s", s.Minimum)
	}
	return "an integer"
}

func describeString(s *jsonschema.Schema) string {
	text := "a string"
	switch {
	case s.ContentEncoding != "":
		return fmt.Sprintf("at most %d bytes in base64", maxTail)
	case s.Title == signedTitle:
		text = "a signed URL: absolute, with its scheme"
	case s.Format == "uri":
		text = "an absolute URL"
	case s.Format == "email":
		text = "an e-mail address"
	case s.Format == "date-time":
		return `a time in UTC such as "2014-04-26T12:00:00.000Z"`
	case s.Pattern == idPattern:
		return "an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -"
	case s.Pattern == durationPattern:
		return `a time such as "30s" or "1h30m"`
	case s.Pattern == ratePattern:
		return "a rate in bytes per second, such as 10M"
	case s.Pattern == sizePattern:
		return `a size such as "1GiB" or "500MB"`
	case s.Pattern == slugPattern:
		return "a task id of 22 characters from A-Z a-z 0-9 _ -"
	}
	if s.MaxLength != nil {
		text += fmt.Sprintf(" of at most %d characters", *s.MaxLength)
	}
	return text
}

// show says what was found: a scalar itself, of what may be a password only the kind.
func show(v any, s *jsonschema.Schema) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return abbreviate(v.String())
	case string:
		if s != nil && s.Title == signedTitle {
			return fmt.Sprintf("a string of %d characters", utf8.RuneCountInString(v))
		}
		return quote(v)
	case []any:
		return "an array"
	}
	return "an object"
}

// maxShown is how many characters of a string are shown.
const maxShown = 40

// abbreviate cuts a text after maxShown characters.
func abbreviate(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxShown {
			return s[:i] + "…"
		}
	}
	return s
}

// quote shows a string: quoted, abbreviated, without what may be a password.
func quote(s string) string {
	safe := withoutSecret(s)
	short := abbreviate(safe)
	if short == safe {
		return strconv.Quote(safe)
	}
	return fmt.Sprintf("%s (%d characters)", strconv.Quote(short), utf8.RuneCountInString(s))
}

// withoutSecret redacts what may be a signed URL, or a part of one.
func withoutSecret(s string) string {
	lower := strings.ToLower(s)
	for _, sign := range []string{"://", "signature=", "x-amz-"} {
		if strings.Contains(lower, sign) {
			return Redact(s)
		}
	}
	return s
}

// nearest is the known name that a wrong one was probably meant to be; "" if there is none.
func nearest(name string, s *jsonschema.Schema) string {
	if s == nil || s.Properties == nil {
		return ""
	}
	best, distance := "", 3
	for known := range s.Properties.KeysFromOldest() {
		if d := edits(name, known); d < distance {
			best, distance = known, d
		}
		if strings.EqualFold(name, known) {
			return known
		}
	}
	return best
}

// edits counts the letters to change, add or drop to turn a into b; names of very different length are just far apart.
func edits(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = slices.Min([]int{change, row[j] + 1, diagonal + 1})
		}
	}
	return row[len(b)]
}
