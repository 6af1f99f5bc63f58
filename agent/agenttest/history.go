package agenttest

import (
	"slices"
	"sync"
	"time"
)

// Request is one entry of a server's history.
type Request struct {
	// What was asked for. Of the storage: "put", "get" (HEAD too), and of an object in parts "create", "part", "complete"
	// or "abort". Of the queue: "claim" (claim-work too), "reclaim",
	// "artifact-urls", "completed", "new", "define-tasks", "schedule", "status", "rerun", "settings" or "pending-tasks".
	// "other" is anything else.
	What   string
	Method string
	Host   string    // as the client named it
	Path   string    // decoded, without the query: no secret
	Part   int       // of an object in parts, counted from 1; 0 if it is not about one
	Status int       // of the answer; 0 while there is none, and for ever if it was withheld
	Fault  string    // the kind of fault that hit the request, "" for none
	Stored bool      // an object or a part was stored, whether or not the client heard of it
	ETag   string    // of what was stored: the MD5 of its bytes in hex; of an object in parts, what S3 makes of theirs
	At     time.Time // by the server's clock
}

// history collects requests in the order of their arrival.
type history struct {
	mu       sync.Mutex
	requests []Request
}

// begin returns the number of the entry, for update.
func (h *history) begin(r Request) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, r)
	return len(h.requests) - 1
}

func (h *history) update(number int, change func(r *Request)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.requests[number])
}

func (h *history) list() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}
