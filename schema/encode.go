package schema

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// timeLayout is how the queue writes times.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Encode writes a document as compact JSON without a newline, the bytes that go on the wire: signed URLs are written
// out, times are cut to milliseconds, nil maps and slices become empty ones. A document that its
// published schema does not allow is refused with an *[Error] whose File is "" and whose problems have no lines.
// The result holds secrets if the document does: it is for a request, not for a log.
func Encode(doc Document) ([]byte, error) {
	v := reflect.ValueOf(doc)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil, &UnknownError{Name: "nil"}
	}
	e, ok := entryOf(v.Type())
	if !ok {
		return nil, &UnknownError{Name: v.Type().String()}
	}
	var w encoder
	if f := w.value(v); f != nil {
		slices.Reverse(f.path) // it was built from the inside out
		return nil, report(e.name(), "", nil, false, []fault{*f})
	}
	data := w.out.Bytes()
	checked := e.thinned(v, data)
	var again reflect.Value // only a check needs it; of ten thousand artifacts it would be megabytes
	if e.check != nil {
		again = reflect.New(v.Type()).Elem()
	}
	faults := e.read(again, checked, false)
	if len(faults) > 0 && len(checked) < len(data) {
		faults = e.read(again, data, false) // all that is wrong
	}
	if len(faults) > 0 {
		return nil, report(e.name(), "", data, false, faults)
	}
	return data, nil
}

// encoder writes documents. encoding/json would write signed URLs redacted, as it should everywhere else.
type encoder struct {
	out   bytes.Buffer
	depth int
}

func (w *encoder) value(v reflect.Value) *fault {
	if v.Kind() == reflect.Interface {
		return w.free(v)
	}
	switch v := v.Interface().(type) {
	case SignedURL:
		return w.text(v.Reveal())
	case time.Time:
		return w.text(Timestamp(v).Format(timeLayout))
	case []byte:
		return w.text(base64.StdEncoding.EncodeToString(v))
	case string:
		return w.text(v)
	}
	switch v.Kind() {
	case reflect.String:
		return w.text(v.String())
	case reflect.Pointer:
		return w.value(v.Elem()) // a nil one is optional, and left out
	case reflect.Struct, reflect.Map, reflect.Slice:
		return w.container(v)
	}
	return w.json(v.Interface())
}

func (w *encoder) container(v reflect.Value) *fault {
	if w.depth == MaxDepth {
		return &fault{expected: fmt.Sprintf("at most %d levels of arrays and objects", MaxDepth), found: "one more"}
	}
	w.depth++
	defer func() { w.depth-- }()
	switch v.Kind() {
	case reflect.Struct:
		return w.object(v)
	case reflect.Map:
		return w.dictionary(v)
	}
	return w.array(v)
}

// free writes a value of the caller's own: inside it a signed URL stays redacted.
func (w *encoder) free(v reflect.Value) *fault {
	if v.IsNil() {
		return w.json(nil)
	}
	switch v.Interface().(type) {
	case map[string]any, []any, string:
		return w.value(v.Elem())
	}
	return w.json(v.Interface())
}

func (w *encoder) object(v reflect.Value) *fault {
	w.out.WriteByte('{')
	first := true
	for _, f := range fieldsOf(v.Type()) {
		member := v.FieldByIndex(f.index)
		if f.optional && member.IsZero() {
			continue
		}
		if !first {
			w.out.WriteByte(',')
		}
		first = false
		w.out.WriteString(strconv.Quote(f.name) + ":")
		if fault := w.value(member); fault != nil {
			fault.path = append(fault.path, f.name)
			return fault
		}
	}
	w.out.WriteByte('}')
	return nil
}

func (w *encoder) dictionary(v reflect.Value) *fault {
	if texts, ok := v.Interface().(map[string]string); ok {
		return w.texts(texts)
	}
	names := v.MapKeys()
	slices.SortFunc(names, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	w.out.WriteByte('{')
	for i, name := range names {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if fault := w.text(name.String()); fault != nil {
			fault.path = append(fault.path, name.String())
			return fault
		}
		w.out.WriteByte(':')
		if fault := w.value(v.MapIndex(name)); fault != nil {
			fault.path = append(fault.path, name.String())
			return fault
		}
	}
	w.out.WriteByte('}')
	return nil
}

// texts is dictionary for one of strings: the URLs of all artifacts are one.
func (w *encoder) texts(texts map[string]string) *fault {
	before := byte('{')
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		w.out.WriteByte(before)
		before = ','
		fault := w.text(name)
		if fault == nil {
			w.out.WriteByte(':')
			fault = w.text(texts[name])
		}
		if fault != nil {
			fault.path = append(fault.path, name)
			return fault
		}
	}
	if before == '{' {
		w.out.WriteByte('{')
	}
	w.out.WriteByte('}')
	return nil
}

func (w *encoder) array(v reflect.Value) *fault {
	w.out.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if fault := w.value(v.Index(i)); fault != nil {
			fault.path = append(fault.path, strconv.Itoa(i))
			return fault
		}
	}
	w.out.WriteByte(']')
	return nil
}

func (w *encoder) text(s string) *fault {
	if !needsCare(s) {
		w.out.WriteByte('"')
		w.out.WriteString(s)
		w.out.WriteByte('"')
		return nil
	}
	if !utf8.ValidString(s) {
		return &fault{expected: "UTF-8 text", found: "a string with other bytes"}
	}
	return w.json(s)
}

// needsCare reports whether a text may hold what has to be escaped.
func needsCare(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return true
		}
	}
	return false
}

// json writes what needs no care of ours.
func (w *encoder) json(v any) *fault {
	enc := json.NewEncoder(&w.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return &fault{expected: "a value that JSON can hold", found: fmt.Sprintf("a Go value of type %T", v)}
	}
	w.out.Truncate(w.out.Len() - 1) // the newline
	return nil
}
