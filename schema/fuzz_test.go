package schema_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/schema"
)

// Whatever the bytes are: no document panics, what Validate accepts Decode reads, and what was read is the same after
// another turn.
func FuzzDecode(f *testing.F) {
	for _, c := range codecs {
		data, err := schema.Encode(c.example)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for name, text := range good {
		f.Add([]byte(text))
		for _, row := range bad {
			if row.doc == name && row.old == "" {
				f.Add([]byte(row.new))
			}
		}
	}
	f.Add([]byte(`{"message":"\ud83d\ude00\u0000","error":{"a":-0,"b":[1.50,1e2,12345678901234567890],"":null}}`))
	f.Add([]byte(`{"version":"0.2.0","logs":{"\u2028<&>":"a:b"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, c := range codecs {
			wantNoHaste(t, name, data)
			first, err := c.decode(data)
			if valid := schema.Validate(name, "test.json", data); (valid == nil) != (err == nil) {
				t.Fatalf("%s: Validate says %v, Decode %v", name, valid, err)
			}
			lenient, errLenient := c.lenient(data)
			if err != nil {
				if wrong := err.(*schema.Error); len(wrong.Problems) == 0 || wrong.Problems[0].Line < 1 || wrong.Problems[0].Column < 1 {
					t.Fatalf("%s: %#v", name, err)
				}
				if errLenient == nil {
					if _, err := schema.Encode(lenient); err != nil {
						t.Fatalf("%s: what decodes leniently does not encode: %v", name, err)
					}
				}
				continue
			}
			if errLenient != nil || !cmp.Equal(first, lenient) {
				t.Fatalf("%s: lenient decoding differs: %v", name, errLenient)
			}
			again, err := schema.Encode(first)
			if err != nil {
				t.Fatalf("%s: what decodes does not encode: %v", name, err)
			}
			second, err := c.decode(again)
			if err != nil {
				t.Fatalf("%s: what was encoded does not decode: %v", name, err)
			}
			if diff := cmp.Diff(first, second); diff != "" {
				t.Fatalf("%s: -first +second:\n%s", name, diff)
			}
		}
	})
}
