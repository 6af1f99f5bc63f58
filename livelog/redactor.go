package livelog

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Redacted stands in a log where a secret was.
const Redacted = "[redacted]"

// MinSecret is the length in bytes from which on a value can be redacted, white space around it not counted.
// What is shorter is a word like "test" too often: taking it out would blank the log, and tell the value by the holes.
const MinSecret = 6

// minLine is the same for a line of a value that has several.
const minLine = 8

// ErrShortSecret is what a [ShortSecretError] is.
var ErrShortSecret = errors.New("too short to be redacted")

// ShortSecretError says that a value cannot be redacted. It does not hold the value.
type ShortSecretError struct {
	Index int // of the value among those that were given
	Size  int // of the value in bytes, without the white space around it
}

// Error says which value it is and how long it would have to be.
func (e *ShortSecretError) Error() string {
	return fmt.Sprintf("redact value %d: %d bytes are too few: it would blank the log; want at least %d", e.Index, e.Size, MinSecret)
}

// Is makes errors.Is(err, ErrShortSecret) true.
func (e *ShortSecretError) Is(target error) bool { return target == ErrShortSecret }

// Redactor keeps secrets out of logs: in whatever is written through its writers, see [Redactor.Writer], each secret is
// replaced by [Redacted], also where it was split between writes.
//
// A secret is found in these forms, each character by itself, so that it does not matter what else an encoder escapes:
//
//   - as it is;
//   - in base64, anywhere within what was encoded, in both alphabets, with and without padding, in lines of any length;
//   - escaped for a URL: %XX in either case, and + for a space;
//   - escaped in JSON: as encoding/json does, and with \/ and \uXXXX for any character;
//   - with LF or CR LF at the end of its lines, if it has several; and then also each line of 8 bytes or more by itself,
//     since programs indent, prefix and show single lines (GitHub's runner does so too). White space around a value or a
//     line is not part of the secret.
//
// A byte of one form of one secret never gets through, however forms overlap; the bytes between are as they were written.
// Not found are forms that hide a secret otherwise: reversed, in hexadecimal, compressed, escaped twice,
// or with something in between, such as colours.
//
// Memory depends on the secrets alone, not on what is written. The zero value is ready, without secrets. All methods are safe for concurrent use.
type Redactor struct {
	forms atomic.Pointer[formSet] // nil without secrets

	adding sync.Mutex
	known  map[string]bool // secrets and lines of secrets; guarded by adding
	alphabet
}

// NewRedactor is a redactor of these secrets. The error is as that of [Redactor.Add].
func NewRedactor(secrets ...string) (*Redactor, error) {
	r := &Redactor{}
	return r, r.Add(secrets...)
}

// Add has more secrets redacted, in all that is written from now on. What a writer still holds counts as written
// after; what it has let through does not come back. Secrets that are known already change nothing.
//
// Those that are too short are a *[ShortSecretError] each, joined. All others are added all the same.
func (r *Redactor) Add(secrets ...string) error {
	r.adding.Lock()
	defer r.adding.Unlock()
	var errs []error
	var all []form
	if old := r.forms.Load(); old != nil {
		all = append(all, old.forms...)
	}
	before := len(all)
	for i, secret := range secrets {
		secret = strings.TrimSpace(strings.ReplaceAll(secret, "\r\n", "\n"))
		if len(secret) < MinSecret {
			errs = append(errs, &ShortSecretError{Index: i, Size: len(secret)})
			continue
		}
		for _, text := range append([]string{secret}, longLines(secret)...) {
			if !r.known[text] {
				if r.known == nil {
					r.known = map[string]bool{}
				}
				r.known[text] = true
				all = append(all, r.formsOf(text)...)
			}
		}
	}
	if len(all) > before {
		r.forms.Store(newFormSet(all))
	}
	return errors.Join(errs...)
}

// longLines are the lines of a secret that count by themselves; none if it is a single line.
func longLines(secret string) (long []string) {
	for line := range strings.FieldsFuncSeq(secret, func(c rune) bool { return c == '\n' || c == '\r' }) {
		if line = strings.TrimSpace(line); len(line) >= minLine && line != secret {
			long = append(long, line)
		}
	}
	return long
}

// Writer passes on to w what is written to it, without the secrets. See [RedactingWriter].
func (r *Redactor) Writer(w io.Writer) *RedactingWriter {
	return &RedactingWriter{redactor: r, to: w}
}

// moment is how long a writer waits, at least, for what follows the beginning of a secret; twice that at most.
const moment = 100 * time.Millisecond
