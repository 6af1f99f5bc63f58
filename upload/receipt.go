package upload

import "time"

// Receipt is the proof that an object is stored.
type Receipt struct {
	Name     string        // PutOptions.Name
	URL      string        // Grant.ReadURL: where readers find it
	Size     int64         // bytes
	Digest   Digest        // of the bytes that were sent, in parts or not; compared with the storage's where it returns one
	ETag     string        // as the storage sent it, quotes included; "" if it sent none
	Parts    int           // how many parts it was stored in; 0 if it was a single PUT
	Attempts int           // requests made, the successful ones included, for each part and for the completion; redirects are not counted
	Retries  int           // how many of them were made because another had failed
	Renewals int           // how often PutOptions.Renew gave a grant
	Duration time.Duration // from the call of Put to its return, pauses included
}
