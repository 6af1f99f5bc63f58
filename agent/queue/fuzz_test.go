package queue_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/taskcluster/upload-agent/agent/queue"
)

// FuzzRefusal gives the client any body with a 400. The error is one short printable line, without a secret.
func FuzzRefusal(f *testing.F) {
	for _, seed := range []string{incident, schemaNo, htmlPage, "", "{", "null", "[]", `{"message":null,"error":[null]}`, "<Error><Code>a</Code></Error>", "<?xml", "Cannot GET /\n",
		`{"message":"http://u:p@h/?Signature=x"}`, `{"error":{"incidentId":"i"}}`, "\xff", `{"message":"\ud800"}`} {
		f.Add(seed, "https://s.example/x")
	}
	f.Fuzz(func(t *testing.T, body, at string) {
		for _, text := range []string{body, strings.ReplaceAll(body, "x", at+"?Signature="+canary)} {
			tr := &transport{answer: func(int, *http.Request) (*http.Response, error) { return response(400, text), nil }}
			_, err := client(t, "http://queue.example", queue.Options{Transport: tr}).Status(t.Context(), taskID)
			var e *queue.Error
			if !errors.As(err, &e) || !errors.Is(err, queue.ErrRejected) {
				t.Fatalf("%v", err)
			}
			said := err.Error()
			if strings.Contains(said, canary) || len(said) > 700 || !utf8.ValidString(said) || strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q of %q", said, text)
			}
		}
	})
}
