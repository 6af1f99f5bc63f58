package schema

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/invopop/jsonschema"
)

// Nearly every document is right, and plainly so. That is found out here, for the schemas that our Go types lead to, without the library that
// checks documents: to make it ready costs more than all else that is done for a small run. What is not plainly right, it checks.

// quick reports whether a value is plainly right; false says nothing.
type quick func(v any) bool

// quickly makes a check from a schema; nil for what is more than can be checked here.
func quickly(s *jsonschema.Schema) quick {
	switch {
	case s == jsonschema.TrueSchema || only(s, jsonschema.Schema{}):
		return func(any) bool { return true }
	case only(s, jsonschema.Schema{Type: "boolean"}):
		return func(v any) bool { _, ok := v.(bool); return ok }
	case only(s, jsonschema.Schema{Type: "number"}):
		return func(v any) bool { _, ok := v.(json.Number); return ok }
	case s.Type == "string":
		return quickText(s)
	case s.Type == "integer":
		return quickInteger(s)
	case s.Items != nil && only(s, jsonschema.Schema{Type: "array", Items: s.Items}):
		return quickArray(quickly(s.Items))
	case only(s, jsonschema.Schema{Type: "object", Properties: s.Properties, Required: s.Required, AdditionalProperties: s.AdditionalProperties}):
		return quickObject(s)
	}
	return nil
}

// only reports whether a schema says no more than another one, besides what is for people.
func only(s *jsonschema.Schema, other jsonschema.Schema) bool {
	other.Title, other.Description, other.ID, other.Version = s.Title, s.Description, s.ID, s.Version
	return reflect.DeepEqual(*s, other)
}

func quickText(s *jsonschema.Schema) quick {
	if !only(s, jsonschema.Schema{Type: "string", Format: s.Format, Pattern: s.Pattern, Enum: s.Enum, Const: s.Const,
		MinLength: s.MinLength, MaxLength: s.MaxLength, ContentEncoding: s.ContentEncoding}) || s.ContentEncoding != "" && s.ContentEncoding != "base64" {
		return nil
	}
	allowed, ok := texts(s)
	if !ok {
		return nil
	}
	format, ok := map[string]func(string) bool{
		"":          func(string) bool { return true },
		"uri":       plainURL,
		"date-time": func(text string) bool { return isTime(text) == nil },
	}[s.Format]
	if !ok {
		return nil
	}
	pattern := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s.Pattern) })
	return func(v any) bool {
		text, ok := v.(string)
		return ok && format(text) &&
			(allowed == nil || slices.Contains(allowed, text)) &&
			(s.MinLength == nil || *s.MinLength <= 1 && uint64(len(text)) >= *s.MinLength) &&
			(s.MaxLength == nil || uint64(len(text)) <= *s.MaxLength) && // in bytes there are at least as many
			(s.ContentEncoding == "" || isBase64(text)) &&
			(s.Pattern == "" || pattern().MatchString(text))
	}
}

func isBase64(text string) bool {
	_, err := base64.StdEncoding.DecodeString(text)
	return err == nil
}

// texts are those that a schema allows; nil for all.
func texts(s *jsonschema.Schema) (allowed []string, ok bool) {
	values := s.Enum
	if s.Const != nil && s.Enum == nil {
		values = []any{s.Const}
	} else if s.Const != nil {
		return nil, false
	}
	for _, value := range values {
		text := reflect.ValueOf(value)
		if text.Kind() != reflect.String {
			return nil, false
		}
		allowed = append(allowed, text.String())
	}
	return allowed, true
}

func quickInteger(s *jsonschema.Schema) quick {
	bits := map[string]int{"int32": 32, "int64": 64}[s.Format]
	if bits == 0 || !only(s, jsonschema.Schema{Type: "integer", Format: s.Format, Minimum: s.Minimum, Maximum: s.Maximum}) {
		return nil
	}
	least, ok := limit(s.Minimum, -1<<(bits-1))
	most, ok2 := limit(s.Maximum, 1<<(bits-1)-1)
	if !ok || !ok2 {
		return nil
	}
	return func(v any) bool {
		number, ok := v.(json.Number)
		n, err := strconv.ParseInt(number.String(), 10, bits)
		return ok && err == nil && least <= n && n <= most
	}
}

// limit is one of an integer, or what it is without one.
func limit(n json.Number, without int64) (int64, bool) {
	if n == "" {
		return without, true
	}
	at, err := n.Int64()
	return at, err == nil
}

func quickArray(item quick) quick {
	if item == nil {
		return nil
	}
	return func(v any) bool {
		items, ok := v.([]any)
		return ok && !slices.ContainsFunc(items, func(v any) bool { return !item(v) })
	}
}

func quickObject(s *jsonschema.Schema) quick {
	members := map[string]quick{}
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		members[pair.Key] = quickly(pair.Value) // where it is nil, an object without this member may still be plainly right
	}
	var others quick // nil: there may be none
	switch {
	case s.AdditionalProperties == nil:
		others = func(any) bool { return true }
	case s.AdditionalProperties != jsonschema.FalseSchema:
		others = quickly(s.AdditionalProperties)
	}
	return func(v any) bool {
		object, ok := v.(map[string]any)
		if !ok {
			return false
		}
		for name, member := range object {
			q, known := members[name]
			if !known {
				q = others
			}
			if q == nil || !q(member) {
				return false
			}
		}
		return !slices.ContainsFunc(s.Required, func(name string) bool { _, there := object[name]; return !there })
	}
}

// plainURL reports whether a URL is an ordinary one of http or https, without a user.
func plainURL(text string) bool {
	rest, ok := strings.CutPrefix(text, "http")
	rest = strings.TrimPrefix(rest, "s")
	rest, slashes := strings.CutPrefix(rest, "://")
	host, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	host, port, _ := strings.Cut(host, ":")
	if !ok || !slashes || host == "" || strings.Trim(port, "0123456789") != "" {
		return false
	}
	for _, c := range []byte(host) {
		if !isAlphanumeric(c) && c != '.' && c != '-' {
			return false
		}
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '%':
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return false
			}
		case !inPath[c]:
			return false
		}
	}
	return true
}

// inPath are the bytes that the path and the query of a plain URL are made of, besides those that are escaped.
var inPath = func() (in [256]bool) {
	for c := range in {
		in[c] = isAlphanumeric(byte(c)) || strings.IndexByte("/-._~!$&'()*+,;=:@?", byte(c)) >= 0
	}
	return in
}()

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
