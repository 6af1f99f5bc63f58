package schema

// PlainlyRight is what the quick check says of a document, and the library, both without the other.
func PlainlyRight(name string, v any, lenient bool) (plainly bool, wrong error) {
	form := forms[name].strict()
	if lenient {
		form = forms[name].lenient()
	}
	check, err := form.compiled()
	if err != nil {
		return false, err
	}
	return form.right(v), check.Validate(v)
}

// Parse reads JSON as Decode does.
func Parse(data []byte) (v any, ok bool) {
	v, _, f := parse(data, false)
	return v, f == nil
}
