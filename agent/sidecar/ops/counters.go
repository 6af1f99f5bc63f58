package ops

import (
	"sync/atomic"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/upload"
)

// Counter counts. The zero value is ready, a nil one counts nothing; it is safe for concurrent use.
type Counter struct{ n atomic.Int64 }

// Add counts n more; less than one are none.
func (c *Counter) Add(n int64) {
	if c != nil && n > 0 {
		c.n.Add(n)
	}
}

// Inc counts one more.
func (c *Counter) Inc() { c.Add(1) }

// Load is the count.
func (c *Counter) Load() int64 {
	if c == nil {
		return 0
	}
	return c.n.Load()
}

// Counters are what has happened since the process was started. The zero value is ready; it must not be copied. Whoever does the
// work tells it what happens.
type Counters struct {
	LogBytes      Counter // bytes of logs taken in
	LogFlushes    Counter // how often readers of a live log could see more of it
	BytesUploaded Counter // bytes of all objects stored
	UploadRetries Counter // attempts at an upload after its first
	GrantRenewals Counter // fresh signed URLs for an upload that had one already
	Reclaims      Counter // claims that the queue has renewed
	JournalErrors Counter // runs that ended because their journal could not be kept
	Artifacts     Counter // artifacts stored

	ended   [len(outcomes)]Counter
	missing [len(reasons)]Counter
	queue   [len(queueErrors)]Counter
}

// Outcome is how a run ended.
type Outcome int

// The outcomes of a run.
const (
	Succeeded    Outcome = iota // reported completed; its task has succeeded
	Failed                      // reported completed; its task has failed
	ClaimLost                   // not reported: the queue gave it to another worker, or will
	NotCompleted                // not reported for another reason; it may be resumed
	Refused                     // never begun: there was no run in what was handed over
)

var outcomes = [...]string{"success", "failure", "claim_lost", "not_completed", "refused"}

// RunEnded counts a run that is over.
func (c *Counters) RunEnded(o Outcome) {
	if c != nil && o >= 0 && int(o) < len(outcomes) {
		c.ended[o].Inc()
	}
}

// Ended is how many runs ended in that way.
func (c *Counters) Ended(o Outcome) int64 {
	if c == nil || o < 0 || int(o) >= len(outcomes) {
		return 0
	}
	return c.ended[o].Load()
}

// Observer has a run tell the counters what it does. It may be shared by all runs.
func (c *Counters) Observer() agent.Observer {
	if c == nil {
		return agent.Observer{}
	}
	return agent.Observer{
		ObjectStored:  func(r upload.Receipt) { c.BytesUploaded.Add(r.Size) },
		LogFlushed:    func(string, int64) { c.LogFlushes.Inc() },
		Retrying:      func(string, error) { c.UploadRetries.Inc() },
		GrantRenewed:  func(string) { c.GrantRenewals.Inc() },
		Reclaimed:     func(time.Time) { c.Reclaims.Inc() },
		JournalFailed: func(error) { c.JournalErrors.Inc() },
	}
}

// ArtifactMissing counts an artifact that was not stored, for a reason as [agent.Summary] gives it. Of the reason only its kind is kept.
func (c *Counters) ArtifactMissing(reason string) {
	if c != nil {
		c.missing[reasonOf(reason)].Inc()
	}
}

// Missing is how many artifacts were not stored.
func (c *Counters) Missing() (n int64) {
	if c == nil {
		return 0
	}
	for i := range c.missing {
		n += c.missing[i].Load()
	}
	return n
}
