package schema_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/taskcluster/upload-agent/schema"
)

// wantNoHaste fails if the quick check takes for right what the library does not.
func wantNoHaste(t *testing.T, name string, data []byte) {
	t.Helper()
	v, ok := schema.Parse(data)
	for _, lenient := range []bool{false, true} {
		if plainly, wrong := schema.PlainlyRight(name, v, lenient); ok && plainly && wrong != nil {
			t.Fatalf("%s, lenient %v: %s is taken for right, but %v", name, lenient, data, wrong)
		}
	}
}

// The quick check knows every ordinary document; and whatever stands in one at any place, it takes nothing for right that is not.
func TestQuickCheckIsNotHasty(t *testing.T) {
	odd := []any{nil, "AA==", "AA=", true, "", "a b", "none", "\u00e9\u00e9\u00e9", "2026-02-30T00:00:00Z", "2026-02-03T00:00:00+01:00", "ftp://a/", "http://a/%", "0.1.0",
		json.Number("-1"), json.Number("0"), json.Number("-0"), json.Number("1.0"), json.Number("1e2"), json.Number("1001"), json.Number("4294967296"),
		json.Number("99999999999999999999"), []any{}, []any{"x"}, map[string]any{}, map[string]any{"x": "y"}}
	notOrdinary := map[string]bool{ // what the examples of these hold: a broker's URL, <> in a URL, names after a pattern, an e-mail address
		"amqp-connection-string-response": true, "claim": true, "task-claim-response": true, "define-tasks-response": true, "task": true,
	}
	var right, wrong int
	for _, name := range slices.Sorted(maps.Keys(codecs)) {
		data, err := schema.Encode(codecs[name].example)
		if err != nil {
			t.Fatal(err)
		}
		doc, _ := schema.Parse(data)
		for _, lenient := range []bool{false, true} {
			if plainly, wrong := schema.PlainlyRight(name, doc, lenient); plainly == notOrdinary[name] || wrong != nil {
				t.Errorf("%s, lenient %v: plainly right: %v, wrong: %v", name, lenient, plainly, wrong)
			}
			altered(doc, odd, func(v any) {
				plainly, err := schema.PlainlyRight(name, v, lenient)
				switch {
				case plainly && err != nil:
					text, _ := json.Marshal(v)
					t.Errorf("%s, lenient %v: %s is taken for right, but %v", name, lenient, text, err)
				case plainly:
					right++
				case err != nil:
					wrong++
				}
			})
		}
	}
	if right < 1000 || wrong < 1000 {
		t.Errorf("%d right and %d wrong documents: this test looks at too little", right, wrong)
	}
}

// altered gives v with each of others in each place, without each member, and with one more in each object.
func altered(v any, others []any, each func(any)) {
	for _, other := range others {
		each(other)
	}
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			with := maps.Clone(v)
			altered(member, others, func(other any) { with[name] = other; each(with) })
			delete(with, name)
			each(with)
		}
		with := maps.Clone(v)
		with["unknown"] = fmt.Sprint(len(v))
		each(with)
	case []any:
		for i, item := range v {
			with := slices.Clone(v)
			altered(item, others, func(other any) { with[i] = other; each(with) })
		}
	}
}
