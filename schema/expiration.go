package schema

import (
	"strings"
	"time"
)

// ArtifactsExpire is the member of a result.json's result that says, by their names, when artifacts will be gone, as far as the storage has told when they
// were stored: {"public/log.txt": "2026-12-24T00:00:00Z"}. The agent writes it; the queue does not look at it.
const ArtifactsExpire = "artifactsExpire"

// ExpiresAt is when an artifact of the run will be gone, by what the result itself says; zero if it says nothing.
func ExpiresAt(r Result, artifact string) time.Time {
	listed, _ := r.Result[ArtifactsExpire].(map[string]any)
	said, _ := listed[artifact].(string)
	at, err := time.Parse(time.RFC3339, said)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// ParseExpiration reads an x-amz-expiration header, by which S3 tells when an object will be gone:
// expiry-date="Fri, 23 Dec 2026 00:00:00 GMT", rule-id="...". It is zero if that is not to be read.
func ParseExpiration(header string) time.Time {
	_, date, _ := strings.Cut(header, `expiry-date="`)
	date, _, closed := strings.Cut(date, `"`)
	if !closed {
		return time.Time{} // as a rule, as there is no such header
	}
	at, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", date)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}
