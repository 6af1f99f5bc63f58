package schema

import (
	"maps"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// A document may hold thousands of things of one kind by their names, as URLs of artifacts. The library that checks a document against its schema
// takes far longer for each than it takes to read it. So those that are plainly right are checked here, and the library
// gets the document without them; where anything is not plain, it gets all of it, and what it says counts.

// quick reports whether a value is plainly right; false says nothing.
type quick func(v any) bool

// quickMembers are the members of a document whose contents can be checked here, by name.
func quickMembers(s *jsonschema.Schema) map[string]quick {
	all := map[string]quick{}
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		m := pair.Value
		if m.AdditionalProperties == nil || !only(m, jsonschema.Schema{Type: "object", AdditionalProperties: m.AdditionalProperties}) {
			continue
		}
		if q := quickly(m.AdditionalProperties); q != nil {
			all[pair.Key] = q
		}
	}
	return all
}

// thinned is a parsed document without the contents that are plainly right.
func (f form) thinned(doc any) any {
	whole, ok := doc.(map[string]any)
	if !ok {
		return doc
	}
	thin := maps.Clone(whole)
	for name, q := range f.quick {
		contents, ok := whole[name].(map[string]any)
		for _, v := range contents {
			if ok = ok && q(v); !ok {
				break
			}
		}
		if ok {
			thin[name] = map[string]any{}
		}
	}
	return thin
}

// thinned is what has to be checked of a document that is written as data: the document without the texts that are plainly right,
// which need not be read again for that, and with one of each of other things.
func (e entry) thinned(doc reflect.Value, w encoder, data []byte) ([]byte, error) {
	form, err := forms[e.name()].strict()
	if err != nil || len(form.quick) == 0 || len(data) > MaxBytes || e.check != nil {
		return data, err
	}
	thin := reflect.New(doc.Type()).Elem()
	thin.Set(doc)
	for _, f := range w.fields.of(doc.Type()) {
		q, contents := form.quick[f.name], doc.FieldByIndex(f.index)
		if q == nil || contents.Kind() != reflect.Map {
			continue
		}
		texts, ok := contents.Interface().(map[string]string)
		if !ok {
			thin.FieldByIndex(f.index).Set(distinct(contents))
			continue
		}
		right := len(texts) > 0
		for _, text := range texts {
			right = right && q(text)
		}
		if right {
			thin.FieldByIndex(f.index).SetZero()
		}
	}
	again := encoder{fields: w.fields}
	if again.value(thin) != nil {
		return data, nil
	}
	return again.out.Bytes(), nil
}

// distinct is a map without the values that it holds under another name too.
func distinct(contents reflect.Value) reflect.Value {
	kept, seen := reflect.MakeMap(contents.Type()), map[any]bool{}
	for all := contents.MapRange(); all.Next(); {
		if v := all.Value(); v.Comparable() {
			if seen[v.Interface()] {
				continue
			}
			seen[v.Interface()] = true
		}
		kept.SetMapIndex(all.Key(), all.Value())
	}
	return kept
}

// only reports whether a schema says no more than another one, besides what is for people.
func only(s *jsonschema.Schema, other jsonschema.Schema) bool {
	other.Title, other.Description = s.Title, s.Description
	return reflect.DeepEqual(*s, other)
}

// quickly makes a check of strings and URLs, and of objects with such members; nil for what is more than that.
func quickly(s *jsonschema.Schema) quick {
	switch {
	case only(s, jsonschema.Schema{Type: "string"}):
		return func(v any) bool { _, ok := v.(string); return ok }
	case only(s, jsonschema.Schema{Type: "string", Format: "uri"}):
		return func(v any) bool { text, ok := v.(string); return ok && plainURL(text) }
	case s.Properties == nil || s.AdditionalProperties != nil && s.AdditionalProperties != jsonschema.FalseSchema:
		return nil
	case !only(s, jsonschema.Schema{Type: "object", Properties: s.Properties, Required: s.Required, AdditionalProperties: s.AdditionalProperties}):
		return nil
	}
	members := map[string]quick{}
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		if members[pair.Key] = quickly(pair.Value); members[pair.Key] == nil {
			members[pair.Key] = func(any) bool { return false }
		}
	}
	return func(v any) bool {
		object, ok := v.(map[string]any)
		for name, member := range object {
			q, known := members[name]
			ok = ok && (known && q(member) || !known && s.AdditionalProperties == nil)
		}
		for _, name := range s.Required {
			_, there := object[name]
			ok = ok && there
		}
		return ok
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
