package schema

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
)

// The documents that may hold thousands of things are checked quickly.
func TestQuickMembers(t *testing.T) {
	for _, c := range []struct {
		doc     Document
		members []string
	}{
		{ArtifactURLsRequest{}, []string{"artifacts"}},
		{ArtifactURLsAnswer{}, []string{"artifacts"}},
		{Result{}, []string{"artifacts"}},
		{Logs{}, []string{"logs"}},
		{Task{}, []string{"tags"}},
		{TaskStatus{}, nil},
	} {
		for name, form := range map[string]form{"strict": forms[c.doc.SchemaName()].strict(), "lenient": forms[c.doc.SchemaName()].lenient()} {
			if got := slices.Sorted(maps.Keys(form.quick)); !slices.Equal(got, c.members) {
				t.Errorf("%s, %s: %v", c.doc.SchemaName(), name, got)
			}
		}
	}
}

// What is left out is right by the schema too, and nothing is left out beside something that is wrong.
func TestThinned(t *testing.T) {
	url := "https://a.example/b?c=d"
	right := func() map[string]any {
		return map[string]any{"artifactPutUrl": url, "artifactUrl": url, "contentType": "text/plain"}
	}
	with := func(name string, value any) map[string]any {
		o := right()
		if o[name] = value; value == nil {
			delete(o, name)
		}
		return o
	}
	for name, c := range map[string]struct {
		second     any
		quick      bool
		valid      bool
		whenStrict bool
	}{
		"right":           {second: right(), quick: true, valid: true, whenStrict: true},
		"no URL":          {second: with("artifactPutUrl", "a b")},
		"not plain":       {second: with("artifactUrl", "ftp://a.example/"), valid: true, whenStrict: true},
		"a number":        {second: with("contentType", true)},
		"not there":       {second: with("artifactUrl", nil)},
		"unknown":         {second: with("size", "1"), quick: true, valid: true},
		"parts":           {second: with("multipart", map[string]any{}), valid: false},
		"not even object": {second: "https://a.example/"},
	} {
		for _, lenient := range []bool{false, true} {
			ready := forms[ArtifactURLsAnswer{}.SchemaName()]
			get := ready.strict
			if lenient {
				get = ready.lenient
			}
			form := get()
			v, _, _ := parse([]byte(`{"expires": "2026-01-02T15:04:05Z", "status": {"taskId": "AAAAAAAAAAAAAAAAAAAAAA", "provisionerId": "a", "workerType": "a",
				"runs": [], "state": "running", "reason": "none", "routing": "", "timeout": 60, "retries": 1, "priority": 1,
				"created": "2026-01-02T15:04:05Z", "deadline": "2026-01-02T15:04:05Z", "takenUntil": "2026-01-02T15:04:05Z"}}`), false)
			doc := v.(map[string]any)
			doc["artifacts"] = map[string]any{"a": right(), "b": c.second}
			valid, quick := c.valid && (lenient || c.whenStrict), c.quick && (lenient || c.whenStrict)
			if err := compiled(t, form).Validate(any(doc)); (err == nil) != valid {
				t.Errorf("%s, lenient %v: the schema says %v", name, lenient, err)
			}
			thin := form.thinned(doc).(map[string]any)
			if err := compiled(t, form).Validate(any(thin)); (err == nil) != valid {
				t.Errorf("%s, lenient %v: of the rest, the schema says %v", name, lenient, err)
			}
			if left := thin["artifacts"]; reflect.DeepEqual(left, map[string]any{}) != quick {
				t.Errorf("%s, lenient %v: left is %v", name, lenient, left)
			}
			if len(doc["artifacts"].(map[string]any)) != 2 {
				t.Errorf("%s: the document itself was changed", name)
			}
		}
	}
}

// Encode refuses what is wrong beside what is plainly right, and what is too large although all of it is.
func TestEncodeOfManyURLs(t *testing.T) {
	many := func(n int, more string) Logs {
		logs := map[string]string{"more": more}
		for i := range n {
			logs[fmt.Sprintf("%01000d", i)] = "https://a.example/"
		}
		return Logs{Version: Version, Logs: logs}
	}
	for name, c := range map[string]struct {
		doc Logs
		ok  bool
	}{
		"right":     {many(10, "https://a.example/b"), true},
		"not plain": {many(10, "ftp://a.example/"), true},
		"no URL":    {many(10, "a b"), false},
		"too large": {many(MaxBytes/1000, "https://a.example/b"), false},
		"version":   {Logs{Version: "1", Logs: many(10, "https://a.example/b").Logs}, false},
	} {
		data, err := Encode(c.doc)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if !c.ok {
			continue
		}
		if again, err := Decode[Logs]("", data); err != nil || !maps.Equal(again.Logs, c.doc.Logs) {
			t.Errorf("%s: it is read as another: %v", name, err)
		}
	}
}

// Of equal things one is checked; but what is wrong is said of all of them.
func TestEqualThingsAreCheckedOnce(t *testing.T) {
	request := func(bad *MultipartRequest) ArtifactURLsRequest {
		wanted := map[string]ArtifactRequest{}
		for i := range 20 {
			wanted[fmt.Sprint("fine ", i)] = ArtifactRequest{ContentType: "text/plain"}
			if bad != nil {
				wanted[fmt.Sprint("bad ", i)] = ArtifactRequest{ContentType: "text/plain", Multipart: bad}
			}
		}
		return ArtifactURLsRequest{Worker: Worker{WorkerGroup: "a", WorkerID: "b"}, Artifacts: wanted}
	}
	data, err := Encode(request(nil))
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Decode[ArtifactURLsRequest]("", data); err != nil || !reflect.DeepEqual(back, request(nil)) {
		t.Errorf("came back as %+v, %v", back, err)
	}
	_, err = Encode(request(&MultipartRequest{Size: -1}))
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) < 20 {
		t.Errorf("bad ones: %v", err)
	}
}
