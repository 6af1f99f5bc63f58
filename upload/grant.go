package upload

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Grant is the permission to store one object. It is of one of three kinds, and [Client.Put] takes them all alike:
// a signed PUT (URL), an upload in parts that has a signed URL for each ([Multipart]), or temporary credentials ([Bucket]).
type Grant struct {
	URL         schema.SignedURL // where to PUT; http or https. Of a Multipart: for an object that is no larger than a part
	ContentType string           // exactly as signed; "" sends no Content-Type header at all. Of a Multipart: as the upload was started with
	Header      http.Header      // further headers that were signed for URL; nil is none
	ReadURL     string           // where readers find the object, copied to the receipt; may be ""
	Expires     time.Time        // when the storage stops accepting URL; zero: read out of it (Expiry)
	Multipart   *Multipart       // nil: not in parts
	Bucket      *Bucket          // nil: no credentials. With them, URL and Multipart do not matter
}

// same reports that g would be refused for what h was refused for.
func (g Grant) same(h Grant) bool {
	if g.Bucket != nil && h.Bucket != nil {
		return g.Bucket.Credentials.equal(h.Bucket.Credentials)
	}
	return g.Bucket == nil && h.Bucket == nil && g.URL.Equal(h.URL)
}

// Expiry reads from a signed URL when it expires, by the clock of the storage; false if it does not say.
//
// It understands AWS Signature Version 2 (Expires, epoch seconds) and Version 4 (X-Amz-Date plus
// X-Amz-Expires, and the same with X-Goog-). Letter case of the names does not matter.
func Expiry(u schema.SignedURL) (time.Time, bool) {
	parsed, err := url.Parse(u.Reveal())
	if err != nil {
		return time.Time{}, false
	}
	at, _, ok := validity(parsed)
	return at, ok
}

// validity reads when a signed URL expires, and for how long it was signed (0 if it does not say).
func validity(u *url.URL) (at time.Time, life time.Duration, ok bool) {
	for _, vendor := range []string{"x-amz-", "x-goog-"} {
		date, there := parameter(u, vendor+"date")
		if !there {
			continue
		}
		signed, err := time.Parse("20060102T150405Z", date)
		text, _ := parameter(u, vendor+"expires")
		seconds, ok := epoch(text)
		if err == nil && ok {
			life := time.Duration(seconds) * time.Second
			return signed.Add(life), life, true
		}
	}
	text, _ := parameter(u, "expires")
	if seconds, ok := epoch(text); ok {
		return time.Unix(seconds, 0).UTC(), 0, true
	}
	return time.Time{}, 0, false
}

// parameter is the first one of that name in the query, whatever the case of its letters. What does not parse counts for nothing.
// It is asked of every upload, so it makes no map of them all as URL.Query does.
func parameter(u *url.URL, name string) (value string, ok bool) {
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		key, text, _ := strings.Cut(pair, "=")
		if len(key) < len(name) { // escaped, it is no shorter
			continue
		}
		key, err := url.QueryUnescape(key)
		if err != nil || !strings.EqualFold(key, name) || strings.Contains(pair, ";") {
			continue
		}
		if value, err = url.QueryUnescape(text); err == nil {
			return value, true
		}
	}
	return "", false
}

// epoch parses a count of seconds that a time.Duration can hold, as all plausible ones can until 2262.
func epoch(text string) (int64, bool) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	const most = int64(1<<63-1) / int64(time.Second)
	return seconds, err == nil && seconds > 0 && seconds <= most
}
