package upload

import (
	"net/http"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Receipt is the proof that an object is stored.
type Receipt struct {
	Name     string        // PutOptions.Name
	URL      string        // Grant.ReadURL: where readers find it
	Size     int64         // bytes
	Digest   Digest        // of the bytes that were sent, in parts or not; compared with the storage's where it returns one
	ETag     string        // as the storage sent it, quotes included; "" if it sent none
	Expires  time.Time     // when the storage will throw it away, if it says so (x-amz-expiration); else zero
	Parts    int           // how many parts it was stored in; 0 if it was a single PUT
	Attempts int           // requests made, the successful ones included, for each part and for the completion; redirects are not counted
	Retries  int           // how many of them were made because another had failed
	Renewals int           // how often PutOptions.Renew gave a grant
	Duration time.Duration // from the call of Put to its return, pauses included
}

// expires is when an object will be gone, by the answer to its upload.
func expires(h http.Header) time.Time { return schema.ParseExpiration(h.Get("X-Amz-Expiration")) }
