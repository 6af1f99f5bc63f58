package upload

import "time"

// Receipt is the proof that an object is stored.
type Receipt struct {
	Name     string        // PutOptions.Name
	URL      string        // Grant.ReadURL: where readers find it
	Size     int64         // bytes
	Digest   Digest        // of the bytes that were sent; compared with the storage's where it returns one
	ETag     string        // as the storage sent it, quotes included; "" if it sent none
	Attempts int           // requests made, the successful one included; redirects are not counted
	Renewals int           // how often PutOptions.Renew gave a grant
	Duration time.Duration // from the call of Put to its return, pauses included
}
