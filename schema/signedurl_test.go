package schema_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/schema"
)

const (
	secret   = "hUnTeR2"
	signed   = "https://user-" + secret + ":pw-" + secret + "@s3.example.com/t/runs/0/logs.json?Expires=1&Signature=" + secret + "#" + secret
	redacted = "https://s3.example.com/t/runs/0/logs.json?<redacted>"
)

type holder struct {
	Public schema.SignedURL
	hidden schema.SignedURL
	list   []schema.SignedURL
	inner  *holder
}

func TestSignedURLNeverPrints(t *testing.T) {
	u := schema.NewSignedURL(signed)
	h := holder{Public: u, hidden: u, list: []schema.SignedURL{u}, inner: &holder{hidden: u}}
	claim := schema.Claim{ClaimAnswer: schema.ClaimAnswer{LogsPutURL: u, ResultPutURL: u}}
	values := map[string]any{
		"itself": u, "pointer": &u, "struct": h, "pointer to struct": &h, "document": claim, "slice": []schema.SignedURL{u},
		"map": map[string]schema.SignedURL{"a": u}, "key": map[schema.SignedURL]int{u: 1}, "interface": []any{u, h, error(nil)},
		"error": fmt.Errorf("put %s: %w", u, errors.New("reset")),
	}
	for what, v := range values {
		var texts []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T", "%10.3v", "%!"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
		texts = append(texts, fmt.Sprint(v), fmt.Sprintln(v), fmt.Errorf("wrapped: %v", v).Error())
		if data, err := json.Marshal(v); err == nil {
			texts = append(texts, string(data))
		}
		if data, err := xml.Marshal(v); err == nil {
			texts = append(texts, string(data))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v, slog.Group("g", "v", v))
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v, slog.Group("g", "v", v))
		texts = append(texts, log.String())
		for _, text := range texts {
			lower := strings.ToLower(text)
			if strings.Contains(lower, strings.ToLower(secret)) || strings.Contains(lower, fmt.Sprintf("%x", secret)) {
				t.Errorf("%s shows the secret: %s", what, text)
			}
		}
	}
}

func TestSignedURLPrintsRedacted(t *testing.T) {
	u := schema.NewSignedURL(signed)
	asJSON, err := json.Marshal(map[string]any{"u": u})
	if err != nil {
		t.Fatal(err)
	}
	asText, err := u.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string]string{
		"String": u.String(), "GoString": u.GoString(), "%v": fmt.Sprintf("%v", u), "%+v": fmt.Sprintf("%+v", u), "%#v": fmt.Sprintf("%#v", u),
		"%s": fmt.Sprintf("%s", u), "%q": fmt.Sprintf("%q", u), "%x": fmt.Sprintf("%x", u), "%d": fmt.Sprintf("%d", u),
		"LogValue": u.LogValue().String(), "text": string(asText),
	} {
		if got != redacted {
			t.Errorf("%s = %s, want %s", what, got, redacted)
		}
	}
	if want := `{"u":"https://s3.example.com/t/runs/0/logs.json?\u003credacted\u003e"}`; string(asJSON) != want {
		t.Errorf("JSON = %s, want %s", asJSON, want)
	}
}

func TestSignedURL(t *testing.T) {
	var zero schema.SignedURL
	u := schema.NewSignedURL(signed)
	if !zero.IsZero() || !schema.NewSignedURL("").IsZero() || u.IsZero() || zero.Reveal() != "" || zero.String() != "" || fmt.Sprint(zero) != "" {
		t.Error("the zero value is no URL")
	}
	if u.Reveal() != signed || !u.Equal(schema.NewSignedURL(signed)) || u.Equal(zero) || !zero.Equal(schema.NewSignedURL("")) {
		t.Error("Reveal and Equal look at the URL itself")
	}
	if !cmp.Equal(u, schema.NewSignedURL(signed)) || cmp.Equal(u, schema.NewSignedURL(signed+"2")) {
		t.Error("go-cmp compares by Equal")
	}
	var read schema.SignedURL
	if err := json.Unmarshal([]byte(`"`+signed+`"`), &read); err != nil || !read.Equal(u) {
		t.Errorf("got %v, %v", read, err)
	}
	if err := json.Unmarshal([]byte(`["`+signed+`"]`), &read); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		signed:                           redacted,
		"https://e.com/a%20b":            "https://e.com/a%20b",
		"https://e.com/a?b":              "https://e.com/a?<redacted>",
		"https://u@e.com/a":              "https://e.com/a?<redacted>",
		"https://e.com/a#" + secret:      "https://e.com/a",
		"amqp://g:" + secret + "@h:5672": "amqp://h:5672?<redacted>",
		"":                               "<redacted URL>",
		"/a?Signature=" + secret:         "<redacted URL>",
		"https://%zz/?" + secret:         "<redacted URL>",
		"//e.com/a?" + secret:            "<redacted URL>",
		"//" + signed:                    "<redacted URL>",
		"https://proxy/" + signed:        "<redacted URL>",
		"mailto:" + secret:               "<redacted URL>",
		"https://e.com/\x1b" + secret:    "<redacted URL>",
	} {
		if got := schema.Redact(raw); got != want {
			t.Errorf("Redact(%q) = %q, want %q", raw, got, want)
		}
	}
}

// Whatever is wrong with a document around a signed URL: the error does not show it.
func TestErrorsNeverShowSignedURLs(t *testing.T) {
	claim := strings.ReplaceAll(goodClaim, "https://s3.example.com/logs.json?Signature=abc", signed)
	for i := range len(claim) {
		cut, spoilt := claim[:i], claim[:i]+"\x00"+claim[min(i+1, len(claim)):]
		swapped := claim[:i] + `"` + claim[i:]
		for _, text := range []string{cut, spoilt, swapped, strings.Replace(claim, "logsPutUrl", `x":1,"`, 1)} {
			err := schema.Validate("claim", "claim.json", []byte(text))
			if err == nil {
				continue // the last character is a newline
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, *err.(*schema.Error)), secret) {
				t.Fatalf("the error shows the secret: %+v", err)
			}
		}
	}
	for _, wrong := range []string{"//" + signed, "http//e.com?Signature=" + secret, "?X-Amz-Signature=" + secret, signed + "%zz", " " + signed} {
		for _, member := range []string{"logsPutUrl", "workerId", "runId", signed} {
			text := `{"` + member + `": "` + wrong + `", "status": {"taskId": "` + wrong + `", "` + wrong + `": 1}}`
			if err := schema.Validate("claim", "", []byte(text)); strings.Contains(fmt.Sprintf("%+v", *err.(*schema.Error)), secret) {
				t.Errorf("the error shows the secret: %+v", err)
			}
		}
	}
}
