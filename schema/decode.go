package schema

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"time"
)

// Validate checks a document strictly, as [Decode] does. It returns nil, an *[Error] that says what is wrong and where,
// or an *[UnknownError]. file names the source in the error; "" is fine.
func Validate(name, file string, data []byte) error {
	e, ok := entryNamed(name)
	if !ok {
		return &UnknownError{Name: name}
	}
	return decode(reflect.New(reflect.TypeOf(e.doc)).Elem(), file, data, false)
}

// Decode checks a document and reads it into its type: whatever the published schema does not allow is refused, unknown
// members too. Errors are *[Error]. file names the source in them: "claim.json", "answer of the queue".
//
// Times come out in UTC, to the millisecond; numbers in free-form objects as [json.Number], exactly as they
// were written; objects and arrays are never nil.
func Decode[T Document](file string, data []byte) (T, error) {
	return decodeAs[T](file, data, false)
}

// DecodeLenient is [Decode], but unknown members are skipped: for the answers of a queue that has grown.
func DecodeLenient[T Document](file string, data []byte) (T, error) {
	return decodeAs[T](file, data, true)
}

func decodeAs[T Document](file string, data []byte, lenient bool) (T, error) {
	var doc T
	into := reflect.ValueOf(&doc).Elem()
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	if err := decode(into, file, data, lenient); err != nil {
		var none T
		return none, err
	}
	return doc, nil
}

func decode(into reflect.Value, file string, data []byte, lenient bool) error {
	e, ok := entryOf(into.Type())
	if !ok {
		return &UnknownError{Name: into.Type().String()}
	}
	if faults := e.read(into, data, lenient); len(faults) > 0 {
		return report(e.name(), file, data, true, faults)
	}
	return nil
}

// read checks a document and, if there is nothing wrong with it, reads it into a value of its type; the zero Value
// only checks it against its schema.
func (e entry) read(into reflect.Value, data []byte, lenient bool) []fault {
	ready := forms[e.name()].strict
	if lenient {
		ready = forms[e.name()].lenient
	}
	form := ready()
	v, _, f := parse(data, false)
	if f != nil {
		return []fault{*f}
	}
	if err := form.validate(v); err != nil {
		return form.faults(v, err)
	}
	if !into.IsValid() {
		return nil
	}
	fill(into, v)
	if e.check != nil {
		return e.check(into.Interface().(Document))
	}
	return nil
}

// fill sets Go values from parsed ones. The schema, which was made from the same Go types, has been checked before,
// so that every value has the kind that its place wants. Unlike encoding/json it takes "RunId" for an
// unknown member, not for runId.
func fill(into reflect.Value, v any) {
	switch into := into.Addr().Interface().(type) {
	case *SignedURL:
		*into = NewSignedURL(v.(string))
		return
	case *time.Time:
		t, _ := time.Parse(time.RFC3339, v.(string))
		*into = Timestamp(t)
		return
	case *[]byte:
		*into, _ = base64.StdEncoding.DecodeString(v.(string))
		return
	case *map[string]any:
		*into = v.(map[string]any)
		return
	}
	switch into.Kind() {
	case reflect.String:
		into.SetString(v.(string))
	case reflect.Bool:
		into.SetBool(v.(bool))
	case reflect.Int, reflect.Int64:
		n, _ := strconv.ParseInt(v.(json.Number).String(), 10, 64)
		into.SetInt(n)
	case reflect.Float64:
		n, _ := v.(json.Number).Float64()
		into.SetFloat(n)
	case reflect.Interface:
		if v != nil {
			into.Set(reflect.ValueOf(v))
		}
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		fill(into.Elem(), v)
	case reflect.Slice:
		items := v.([]any)
		into.Set(reflect.MakeSlice(into.Type(), len(items), len(items)))
		for i, item := range items {
			fill(into.Index(i), item)
		}
	case reflect.Map:
		fillMap(into, v.(map[string]any))
	case reflect.Struct:
		members := v.(map[string]any)
		for _, f := range fieldsOf(into.Type()) {
			if member, ok := members[f.name]; ok {
				fill(into.FieldByIndex(f.index), member)
			}
		}
	}
}

func fillMap(into reflect.Value, members map[string]any) {
	t := into.Type()
	into.Set(reflect.MakeMapWithSize(t, len(members)))
	value := reflect.New(t.Elem()).Elem()
	for name, member := range members {
		value.SetZero()
		fill(value, member)
		into.SetMapIndex(reflect.ValueOf(name).Convert(t.Key()), value)
	}
}
