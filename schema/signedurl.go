package schema

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// SignedURL is a URL that lets whoever holds it write an object: a password.
//
// It prints redacted with every verb of fmt, in every log, as JSON and as text;
// only Reveal gives the URL itself, and only [Encode] writes it into a document.
// The zero value is no URL. The pointer keeps fmt from reaching the text even through unexported fields of other structs.
type SignedURL struct{ secret *string }

// NewSignedURL wraps a signed URL. It does not check it.
func NewSignedURL(raw string) SignedURL { return SignedURL{secret: &raw} }

// Reveal returns the URL itself, for the one place that sends the request.
func (u SignedURL) Reveal() string {
	if u.secret == nil {
		return ""
	}
	return *u.secret
}

// IsZero reports whether there is no URL.
func (u SignedURL) IsZero() bool { return u.secret == nil || *u.secret == "" }

// Equal reports whether both are the same URL.
func (u SignedURL) Equal(v SignedURL) bool { return u.Reveal() == v.Reveal() }

// String names the scheme, host and path; the query, where the signature is, and any user are redacted.
func (u SignedURL) String() string {
	if u.IsZero() {
		return ""
	}
	return Redact(*u.secret)
}

// Redact gives the part of a URL that may be shown: scheme, host and path.
// Whatever is not plainly such a URL is redacted whole: it may be a part of one, or hold another.
func Redact(raw string) string {
	p, err := url.Parse(raw)
	if err != nil || p.Scheme == "" || p.Host == "" || strings.Contains(p.Path, "://") {
		return "<redacted URL>"
	}
	shown := url.URL{Scheme: p.Scheme, Host: p.Host, Path: p.Path}
	if p.RawQuery == "" && p.User == nil {
		return shown.String()
	}
	return shown.String() + "?<redacted>"
}

// GoString is the redacted form.
func (u SignedURL) GoString() string { return u.String() }

// Format prints the redacted form whatever the verb.
func (u SignedURL) Format(s fmt.State, _ rune) { fmt.Fprint(s, u.String()) }

// LogValue is the redacted form.
func (u SignedURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText writes the redacted form.
func (u SignedURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalJSON writes the redacted form; see [Encode] for documents.
func (u SignedURL) MarshalJSON() ([]byte, error) { return json.Marshal(u.String()) }

// UnmarshalJSON reads the URL itself.
func (u *SignedURL) UnmarshalJSON(data []byte) error {
	var raw string
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("decode signed URL: want a JSON string")
	}
	*u = NewSignedURL(raw)
	return nil
}
