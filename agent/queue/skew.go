package queue

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// skewSamples is how many answers count for an estimate; the median of them survives a stray one.
const skewSamples = 5

// skew estimates a server's clock minus ours. The zero value has seen nothing.
type skew struct {
	mu      sync.Mutex // guards samples
	samples []time.Duration
}

// add takes an answer into account, and when it was asked for and came. A cached one (Age) or one with a Date
// that is none, or before 2000, says nothing.
func (s *skew) add(h http.Header, start, end time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || date.Year() < 2000 || h.Get("Age") != "" {
		return
	}
	date = date.Add(500 * time.Millisecond) // the middle of the second it names
	middle := start.Add(end.Sub(start) / 2)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == skewSamples {
		s.samples = append(s.samples[:0], s.samples[1:]...)
	}
	s.samples = append(s.samples, date.Sub(middle))
}

func (s *skew) estimate() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.samples))
	return sorted[len(sorted)/2].Truncate(time.Second)
}
