package livelog

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// The parameters of a link.
const (
	expiresParameter   = "expires"   // Unix seconds
	signatureParameter = "signature" // HMAC-SHA256 of the expiry and the log, base64url without padding
)

var (
	errNoLink  = errors.New("reading this log needs a signed link, and this is none")
	errExpired = errors.New("the link has expired, ask for a new one")
)

// Links makes the links with which a [Handler] lets people read, and knows them again. A link is for one log and ends
// at a moment; whoever holds it may read, so it is a [schema.SignedURL]. All methods are safe for concurrent use.
type Links struct {
	mac func(message string) string // a function, so that nothing that prints a Links prints the key
}

// NewLinks makes links signed with key, of at least 32 random bytes. With nil it takes a random key that nobody else
// ever sees: the links end with the process.
func NewLinks(key []byte) *Links {
	if len(key) == 0 {
		key = make([]byte, sha256.Size)
		_, _ = rand.Read(key) // never fails, says its documentation
	} else {
		key = append([]byte(nil), key...)
	}
	return &Links{mac: func(message string) string {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(message)) // never fails
		return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}}
}

// Sign gives base, where a Handler serves the log, as a link that ends at expires, to the second. It covers the log
// and the expiry and not how to read: the holder may add "follow=1" or "offset=5", and base may hold them.
func (l *Links) Sign(base *url.URL, log string, expires time.Time) schema.SignedURL {
	link := *base
	query := link.Query()
	at := strconv.FormatInt(expires.Unix(), 10)
	query.Set(expiresParameter, at)
	query.Set(signatureParameter, l.mac(message(at, log)))
	link.RawQuery = query.Encode()
	return schema.NewSignedURL(link.String())
}

// check says why a query does not let its sender read the log. Nobody learns of an expiry who has no good signature.
func (l *Links) check(query url.Values, log string, now time.Time) error {
	if l == nil {
		return errNoLink
	}
	at := query.Get(expiresParameter)
	// Encoded, so that a signature can be written in one way only; in constant time, so that it cannot be guessed byte by byte.
	if !hmac.Equal([]byte(query.Get(signatureParameter)), []byte(l.mac(message(at, log)))) {
		return errNoLink
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || now.Unix() >= seconds {
		return errExpired
	}
	return nil
}

// message is what a signature covers. The log comes last: a name may hold anything, an expiry no line break.
func message(expires, log string) string { return fmt.Sprintf("live log link 1\n%s\n%s", expires, log) }
