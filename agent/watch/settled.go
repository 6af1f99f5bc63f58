package watch

import (
	"time"

	"github.com/taskcluster/upload-agent/agent/files"
)

// Settled tells, from look to look, which files have settled: those that have not changed for a while. The zero value is ready
// for use. It is not safe for concurrent use.
//
// A file has changed when its [Stamp] has. How long that is ago is taken from the times of the looks alone, for what a disk says
// of a file's time may be anything.
type Settled struct {
	// After is how long a file has not changed when it has settled. Default: 2 s.
	After time.Duration
}

// Look is what a look at the files has shown.
type Look struct {
	// Settled are the files that have settled since the look before: each is given once, and again when it has changed and settled again.
	Settled []files.File
	// Changed are the names of those that had settled, but have changed and not settled again.
	Changed []string
	// Next is when the next file may have settled, unless it changes again; zero if all have.
	Next time.Time
}

// Look takes what is there at a time. Names are those of the files, and each is there once. One that is not
// there has not settled; if it comes back as it was given, it is not given again.
func (s *Settled) Look(now time.Time, there []files.File) Look { return Look{} }

// Rest is for the end, when nobody writes any more: it gives those of the files that a Look has not given as they are now, settled or not.
func (s *Settled) Rest(there []files.File) []files.File { return there }

// Forget makes a file that was given one that was not: Look or Rest will give it again.
func (s *Settled) Forget(name string) {}
