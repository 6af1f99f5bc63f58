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

	before  map[string]Stamp
	given   map[string]Stamp
	waiting map[string]waiting // not given as they are
}

// waiting is how long a file has been as it is.
type waiting struct {
	stamp Stamp
	since time.Time // of the first look that saw it so
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

// Before takes what was there before anybody began to write: nothing says that it is meant until it has changed or all is over. A Look does
// not give it as it was then, Rest does.
func (s *Settled) Before(there []files.File) {
	s.before = make(map[string]Stamp, len(there))
	for _, f := range there {
		s.before[f.Name] = StampOf(f.Info)
	}
}

// Look takes what is there at a time. Names are those of the files, and each is there once. One that is not
// there has not settled; if it comes back as it was given, it is not given again.
func (s *Settled) Look(now time.Time, there []files.File) Look {
	after := s.After
	if after <= 0 {
		after = 2 * time.Second
	}
	was := s.waiting
	s.waiting = map[string]waiting{}
	var look Look
	for _, f := range there {
		stamp := StampOf(f.Info)
		given, again := s.given[f.Name]
		if again && given == stamp {
			continue
		}
		if old, was := s.before[f.Name]; was && old == stamp {
			continue
		}
		w, seen := was[f.Name]
		if !seen || w.stamp != stamp {
			w = waiting{stamp, now}
		}
		settles := w.since.Add(after)
		if !now.Before(settles) {
			s.give(f.Name, stamp)
			look.Settled = append(look.Settled, f)
			continue
		}
		s.waiting[f.Name] = w
		if again {
			look.Changed = append(look.Changed, f.Name)
		}
		if look.Next.IsZero() || settles.Before(look.Next) {
			look.Next = settles
		}
	}
	return look
}

// Rest is for the end, when nobody writes any more: it gives those of the files that have not been given as they are now, settled or not.
func (s *Settled) Rest(there []files.File) []files.File {
	var rest []files.File
	for _, f := range there {
		stamp := StampOf(f.Info)
		if given, again := s.given[f.Name]; !again || given != stamp {
			s.give(f.Name, stamp)
			rest = append(rest, f)
		}
	}
	return rest
}

func (s *Settled) give(name string, stamp Stamp) {
	if s.given == nil {
		s.given = map[string]Stamp{}
	}
	s.given[name] = stamp
}

// Given reports whether a file of that name was given, and not forgotten.
func (s *Settled) Given(name string) bool {
	_, ok := s.given[name]
	return ok
}

// Forget makes a file that was given one that was not: Look or Rest will give it again, Look when it has not changed for a while.
func (s *Settled) Forget(name string) { delete(s.given, name) }
