package schema_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/taskcluster/upload-agent/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The published schemas, as files: a change of one is a change of the protocol.
func TestGoldenSchemas(t *testing.T) {
	var files []string
	for _, name := range schema.Names() {
		file := filepath.Join("testdata", "golden", name+".json")
		files = append(files, file)
		got, err := schema.JSONSchema(name)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (run with -update if this is meant): -want +got:\n%s", file, diff)
		}
	}
	there, err := filepath.Glob("testdata/golden/*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	if diff := cmp.Diff(files, there); diff != "" {
		t.Errorf("golden files: -want +got:\n%s", diff)
	}
}

// A stranger's validator, without our formats, takes the schemas and accepts the examples too.
func TestSchemasStandAlone(t *testing.T) {
	for name, c := range codecs {
		text, err := schema.JSONSchema(name)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := validator.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		id := "http://schemas.taskcluster.net/queue/v1/" + name + ".json#"
		if got := parsed.(map[string]any)["$id"]; got != id {
			t.Errorf("%s: $id = %v", name, got)
		}
		compiler := validator.NewCompiler()
		compiler.AssertFormat()
		if err := compiler.AddResource(id, parsed); err != nil {
			t.Fatal(err)
		}
		compiled, err := compiler.Compile(id)
		if err != nil {
			t.Fatal(err)
		}
		data, err := schema.Encode(c.example)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := validator.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every object is closed and every member described, but inside the free-form ones.
func TestSchemasAreComplete(t *testing.T) {
	for _, name := range schema.Names() {
		text, err := schema.JSONSchema(name)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := validator.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var walk func(at string, s map[string]any)
		walk = func(at string, s map[string]any) {
			if s["description"] == nil && !strings.HasSuffix(at, "/*") {
				t.Errorf("%s has no description", at)
			}
			members, _ := s["properties"].(map[string]any)
			if s["type"] == "object" && members != nil && s["additionalProperties"] != false {
				t.Errorf("%s is not closed", at)
			}
			for member, inner := range members {
				walk(at+"/"+member, inner.(map[string]any))
			}
			for _, keyword := range []string{"items", "additionalProperties"} {
				if inner, ok := s[keyword].(map[string]any); ok {
					walk(at+"/*", inner)
				}
			}
		}
		walk(name, parsed.(map[string]any))
	}
}
