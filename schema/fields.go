package schema

import (
	"reflect"
	"strings"
	"sync"
)

// field is one member of a struct, embedded structs flattened.
type field struct {
	name     string
	index    []int
	optional bool // left out when zero
}

// fieldsKnown are the members of the struct types that documents are made of: a few, which never change.
var fieldsKnown sync.Map

func fieldsOf(t reflect.Type) []field {
	if known, ok := fieldsKnown.Load(t); ok {
		return known.([]field)
	}
	var all []field
	for _, f := range reflect.VisibleFields(t) {
		if name, options, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			all = append(all, field{name: name, index: f.Index, optional: options == "omitempty"})
		}
	}
	fieldsKnown.Store(t, all)
	return all
}
