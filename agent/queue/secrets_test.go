package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/queue"
)

// TestSecrets looks for the canary that is in the signed URLs of every answer in whatever is printed.
func TestSecrets(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	signed := "http://storage.example/x?Signature=" + canary
	clean := func(t *testing.T, what string, v any) {
		t.Helper()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, canary) {
				t.Errorf("%s printed with %s: %s", what, verb, s)
			}
		}
		data, _ := json.Marshal(v)
		logger.Info("said", "what", v)
		if strings.Contains(string(data), canary) {
			t.Errorf("%s as JSON: %s", what, data)
		}
	}
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			damaged := strings.Replace(m.ok, canary, canary+`", "x": [`, 1)
			another := `{"logsPutUrl":"` + signed + `","status":"` + signed + `","` + signed + `":1,"expires":"` + signed + `","url":["` + signed + `"],"tasks":"` + signed + `"}`
			for _, answers := range [][]http.HandlerFunc{
				{jsonAnswer(200, m.ok)},
				{jsonAnswer(200, damaged+" ]}")},
				{jsonAnswer(200, m.ok[:strings.LastIndex(m.ok, "\"")])},
				{jsonAnswer(200, another)},
				{jsonAnswer(500, another), jsonAnswer(400, `{"message":"`+signed+`","error":[{"instanceContext":"`+signed+`","desc":"`+signed+`"}]}`)},
				{jsonAnswer(500, `{"message":"`+signed+`","error":{"incidentId":"`+signed+`"}}`), jsonAnswer(404, `{"message":"m","error":"`+signed+`"}`)},
				{answer(502, "text/html", "<title>"+signed+"</title>"), answer(403, "application/xml", "<Error><Code>SignatureDoesNotMatch</Code><Message>"+signed+"</Message><StringToSign>"+canary+"</StringToSign></Error>")},
				{redirect(302, signed), jsonAnswer(404, "")},
				{redirect(307, "ftp://x.example/?Signature="+canary)},
				{redirect(307, "http://127.0.0.1:1/x%zz?Signature="+canary), jsonAnswer(404, "")},
				{redirect(307, "/x%zz?Signature="+canary), jsonAnswer(404, "")},
			} {
				srv := serve(t, answers...)
				o := options(t)
				o.Logger = logger
				c := client(t, srv.URL+"/v1", o)
				got, err := m.call(deadline(t), c)
				clean(t, "answer", got)
				clean(t, "client", c)
				var e *queue.Error
				if errors.As(err, &e) {
					clean(t, "error", *e)
				}
				for ; err != nil; err = errors.Unwrap(err) {
					clean(t, "error", err)
				}
			}
		})
	}

	// a transport that puts the URL into its error
	o := options(t)
	o.Logger = logger
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	o.Transport = &transport{answer: func(_ int, r *http.Request) (*http.Response, error) {
		if n++; n == 3 {
			cancel(errEnough)
		}
		return nil, fmt.Errorf("wrapped: %w", &url.Error{Op: "Get", URL: r.URL.String(), Err: fmt.Errorf("no way to %s", r.URL)})
	}}
	_, err := storage(t, "http://storage.example", o).Open(ctx, signed)
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
	clean(t, "error", err)
	_, err = storage(t, "http://storage.example", o).Open(ctx, "http://%zz/?Signature="+canary)
	clean(t, "error", err)

	if log.Len() == 0 || strings.Contains(log.String(), canary) {
		t.Errorf("the log: %s", log.String())
	}
}
