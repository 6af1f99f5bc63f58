package schema

import (
	"reflect"
	"strings"
)

// field is one member of a struct, embedded structs flattened.
type field struct {
	name     string
	index    []int
	optional bool // left out when zero
}

// fieldCache holds the members of the struct types met in one call.
type fieldCache map[reflect.Type][]field

func (c fieldCache) of(t reflect.Type) []field {
	if known, ok := c[t]; ok {
		return known
	}
	var all []field
	for _, f := range reflect.VisibleFields(t) {
		if name, options, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			all = append(all, field{name: name, index: f.Index, optional: options == "omitempty"})
		}
	}
	c[t] = all
	return all
}
