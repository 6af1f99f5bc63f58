package schema_test

import (
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

func TestExpiration(t *testing.T) {
	at := time.Date(2012, 12, 23, 0, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Time{
		`expiry-date="Sun, 23 Dec 2012 00:00:00 GMT", rule-id="picture-deletion-rule"`: at, // as Amazon's documentation has it
		`rule-id="r", expiry-date="Sun, 23 Dec 2012 00:00:00 GMT"`:                     at,
		`expiry-date="Sun, 23 Dec 2012 00:00:00 GMT`:                                   {},
		`expiry-date="2012-12-23T00:00:00Z", rule-id="r"`:                              {},
		`ongoing-request="false"`:                                                      {},
		``:                                                                             {},
	} {
		if got := schema.ParseExpiration(header); !got.Equal(want) {
			t.Errorf("%s: %v, want %v", header, got, want)
		}
	}
	for _, row := range []struct {
		result map[string]any
		want   time.Time
	}{
		{map[string]any{"artifactsExpire": map[string]any{"a": "2012-12-23T01:00:00+01:00"}}, at},
		{map[string]any{"artifactsExpire": map[string]any{"b": "2012-12-23T00:00:00Z"}}, time.Time{}},
		{map[string]any{"artifactsExpire": map[string]any{"a": "soon"}}, time.Time{}},
		{map[string]any{"artifactsExpire": map[string]any{"a": 7}}, time.Time{}},
		{map[string]any{"artifactsExpire": "2012-12-23T00:00:00Z"}, time.Time{}},
		{nil, time.Time{}},
	} {
		if got := schema.ExpiresAt(schema.Result{Result: row.result}, "a"); !got.Equal(row.want) {
			t.Errorf("%v: %v, want %v", row.result, got, row.want)
		}
	}
}
