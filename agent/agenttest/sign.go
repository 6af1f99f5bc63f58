package agenttest

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/taskcluster/upload-agent/schema"
)

// signer makes presigned URLs and verifies them by signing again: with AWS Signature Version 4, or with version 2 (see presignV2).
type signer struct {
	v2          bool
	v4          *v4.Signer
	credentials aws.Credentials
	grants      atomic.Uint64 // how many URLs were signed

	mu        sync.Mutex
	temporary map[string]temporary // by access key id
}

const (
	region     = "us-west-2"
	amzDate    = "20060102T150405Z"
	unsignedV4 = "UNSIGNED-PAYLOAD"
)

// newSigner makes a key of its own: URLs of another server, or of one before a restart, are not valid.
func newSigner(v2 bool) *signer {
	return &signer{
		v2:          v2,
		v4:          v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
		credentials: aws.Credentials{AccessKeyID: "AGENTTEST", SecretAccessKey: randomHex() + randomHex()},
		temporary:   map[string]temporary{},
	}
}

// presign permits one method on one object of a host, with a query that says more, until expires. Version 4 counts whole seconds: the
// URL ends up to a second before expires, unless that leaves it next to nothing; then up to a second after.
func (s *signer) presign(method, host, key string, query url.Values, contentType string, now, expires time.Time) schema.SignedURL {
	if s.v2 {
		return s.presignV2(method, host, key, query, contentType, now, expires)
	}
	date := now.UTC().Truncate(time.Second)
	seconds := int64(expires.Sub(date) / time.Second)
	if expires.Sub(now) < 2*time.Second {
		seconds++
	}
	// The number makes each URL another one, even if signed within the same second: one that has "expired" on cue
	// is replaced by a different one, as it would be in earnest.
	signed := url.Values{"X-Amz-Expires": {strconv.FormatInt(seconds, 10)}, "x-grant": {strconv.FormatUint(s.grants.Add(1), 10)}}
	maps.Copy(signed, query)
	return schema.NewSignedURL(s.sign(method, host, key, signed, contentType, date))
}

// sign is the whole URL with its signature, which comes last.
func (s *signer) sign(method, host, key string, query url.Values, contentType string, date time.Time) string {
	r := &http.Request{
		Method: method,
		Host:   host,
		Header: http.Header{},
		URL:    &url.URL{Scheme: "http", Host: host, Path: "/" + key, RawPath: "/" + escapePath(key), RawQuery: query.Encode()},
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	signed, _, err := s.v4.PresignHTTP(context.Background(), s.credentials, r, unsignedV4, "s3", region, date)
	if err != nil {
		return "" // cannot happen: signing is arithmetic. No URL is never a valid one
	}
	return signed
}

// verify returns why a request may not be served, nil if it may. As S3 does, it looks at the expiry first.
func (s *signer) verify(r *http.Request, now time.Time) *s3Error {
	if r.Header.Get("Authorization") != "" {
		return s.verifyHeader(r, now)
	}
	if s.v2 {
		return s.verifyV2(r, now)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !query.Has("X-Amz-Signature") {
		return &s3Error{status: http.StatusForbidden, Code: "AccessDenied", Message: "Access Denied"}
	}
	date, dateErr := time.Parse(amzDate, query.Get("X-Amz-Date"))
	seconds, lifeErr := strconv.ParseUint(query.Get("X-Amz-Expires"), 10, 31)
	if dateErr != nil || lifeErr != nil {
		return &s3Error{status: http.StatusBadRequest, Code: "AuthorizationQueryParametersError",
			Message: "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."}
	}
	if end := date.Add(time.Duration(seconds) * time.Second); !now.Before(end) {
		return expiredError(int64(seconds), end, now)
	}
	if !s.matches(r, query, date) {
		return errSignature()
	}
	if unsigned := unsignedHeaders(r.Header, query.Get("X-Amz-SignedHeaders")); unsigned != "" {
		return &s3Error{status: http.StatusForbidden, Code: "AccessDenied",
			Message: "There were headers present in the request which were not signed", HeadersNotSigned: unsigned}
	}
	return nil
}

func errSignature() *s3Error {
	return &s3Error{status: http.StatusForbidden, Code: "SignatureDoesNotMatch",
		Message: "The request signature we calculated does not match the signature you provided. Check your key and signing method."}
}

// signed tells whether a request has a signature in its URL, right or wrong.
func (s *signer) signed(r *http.Request) bool {
	query := r.URL.Query()
	return query.Has("X-Amz-Signature") || s.v2 && query.Has("Signature")
}

// moved is the URL of a request as it is good at another host. The request has been verified. Version 2 does not sign the host.
func (s *signer) moved(r *http.Request, host string) string {
	if s.v2 {
		return "http://" + host + r.URL.RequestURI()
	}
	query := r.URL.Query()
	date, _ := time.Parse(amzDate, query.Get("X-Amz-Date")) // verify has parsed it
	return s.resign(r, host, query, date)
}

// matches signs the request again, with its own date, and compares: the signature, and the rest of the query, where
// signing has put our own credential and the headers we would sign.
func (s *signer) matches(r *http.Request, query url.Values, date time.Time) bool {
	again, err := url.Parse(s.resign(r, r.Host, query, date))
	if err != nil {
		return false
	}
	want := again.Query()
	equal := hmac.Equal([]byte(want.Get("X-Amz-Signature")), []byte(query.Get("X-Amz-Signature")))
	return equal && maps.EqualFunc(want, query, slices.Equal[[]string])
}

// resign gives the URL of the request as signed for another host, with the same date and expiry.
func (s *signer) resign(r *http.Request, host string, query url.Values, date time.Time) string {
	unsigned := url.Values{}
	for name, values := range query {
		if name != "X-Amz-Signature" {
			unsigned[name] = values
		}
	}
	// A content type that is sent counts, signed or not: a URL signed without one wants no such header.
	contentType := strings.Join(r.Header.Values("Content-Type"), ",")
	return s.sign(r.Method, host, strings.TrimPrefix(r.URL.Path, "/"), unsigned, contentType, date)
}

// unsignedHeaders lists the x-amz-* headers that a signature does not cover.
func unsignedHeaders(h http.Header, signed string) string {
	covered := strings.Split(signed, ";")
	var names []string
	for name := range h {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(covered, name) {
			names = append(names, name)
		}
	}
	return strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

// escapePath escapes as version 4 signatures want a path: everything but letters, digits, "-_.~" and the slash.
func escapePath(key string) string {
	const plain = "-_.~/"
	var b strings.Builder
	for _, c := range []byte(key) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{c})))
	}
	return b.String()
}

// randomHex is a fresh name or secret of 16 random bytes.
func randomHex() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
