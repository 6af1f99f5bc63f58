package schema

import (
	"fmt"
	"testing"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

func compiled(t *testing.T, f form) *validator.Schema {
	t.Helper()
	check, err := f.compiled()
	if err != nil {
		t.Fatal(err)
	}
	return check
}

// Every document can be checked quickly, so that none but a wrong one, or an odd one, waits for the library.
func TestEveryDocumentHasAQuickCheck(t *testing.T) {
	for _, e := range catalog {
		for kind, form := range map[string]form{"strict": forms[e.name()].strict(), "lenient": forms[e.name()].lenient()} {
			if form.right == nil {
				t.Errorf("%s, %s: no quick check", e.name(), kind)
			}
		}
	}
}

// What is a plain URL is a URL by the schema.
func FuzzPlainURL(f *testing.F) {
	for _, seed := range []string{"https://a.example/b?c=d", "http://a:1/%41", "http://a:1x/", "http://[::1]/", "http://a/%4", "http:///a", "https://a", "http://a/\u00fc", "httpss://a", "http://a:/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		form := forms[Logs{}.SchemaName()].strict()
		doc := map[string]any{"version": Version, "logs": map[string]any{"a": text}}
		if err := compiled(t, form).Validate(any(doc)); plainURL(text) && err != nil {
			t.Error(fmt.Errorf("%q is said to be plain: %w", text, err))
		}
	})
}
