package schema

import (
	"maps"
	"reflect"

	"github.com/invopop/jsonschema"
)

// A document may hold thousands of things of one kind by their names, as URLs of artifacts. The library that checks a document against its schema
// takes far longer for each than it takes to read it. So those that are plainly right are checked here, and the library
// gets the document without them; where anything is not plain, it gets all of it, and what it says counts.

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
func (e entry) thinned(doc reflect.Value, data []byte) []byte {
	form := forms[e.name()].strict()
	if len(form.quick) == 0 || len(data) > MaxBytes || e.check != nil {
		return data
	}
	thin := reflect.New(doc.Type()).Elem()
	thin.Set(doc)
	for _, f := range fieldsOf(doc.Type()) {
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
	var again encoder
	if again.value(thin) != nil {
		return data
	}
	return again.out.Bytes()
}

// distinct is a map without the values that it holds under another name too.
func distinct(contents reflect.Value) reflect.Value {
	kept, seen := reflect.MakeMap(contents.Type()), map[any]bool{}
	var last reflect.Value // as a rule, all are the same
	v := reflect.New(contents.Type().Elem()).Elem()
	for all := contents.MapRange(); all.Next(); {
		v.SetIterValue(all)
		if v.Comparable() {
			if last.IsValid() && v.Equal(last) || seen[v.Interface()] {
				continue
			}
			last = all.Value()
			seen[v.Interface()] = true
		}
		kept.SetMapIndex(all.Key(), v)
	}
	return kept
}
