package schema

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// Secret is a text that is a password. It prints redacted with every verb of fmt, in every log, as JSON and as text;
// only Reveal gives it away. The pointer keeps fmt from reaching it through unexported fields of other structs.
type Secret struct{ text *string }

// NewSecret wraps a secret.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the secret itself.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String is the redacted form; "" of none.
func (s Secret) String() string {
	if s.Reveal() == "" {
		return ""
	}
	return "<redacted>"
}

// GoString is the redacted form.
func (s Secret) GoString() string { return s.String() }

// Format prints the redacted form whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue is the redacted form.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText writes the redacted form.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON writes the redacted form.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }
