package upload

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// clocks estimates how the clocks of storages differ from ours, by the Date of their answers.
type clocks struct {
	mu     sync.Mutex
	byHost map[string][]time.Duration // the last few samples of each
	last   string                     // the host heard last
}

// A median of a few: a Date out of some cache or a broken proxy does not count for long.
const samples = 5

// heard takes the Date of an answer that came just now. What does not parse is ignored.
func (c *clocks) heard(host string, h http.Header, now time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	// A Date is cut to the second: on average half a second has passed since.
	sample := date.Add(time.Second / 2).Sub(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byHost == nil {
		c.byHost = make(map[string][]time.Duration)
	}
	kept := append(c.byHost[host], sample)
	c.byHost[host] = kept[max(0, len(kept)-samples):]
	c.last = host
}

// skew is the host's clock minus ours; false if it has not been heard.
func (c *clocks) skew(host string) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := slices.Sorted(slices.Values(c.byHost[host]))
	if len(kept) == 0 {
		return 0, false
	}
	return kept[len(kept)/2], true
}

// latest is the skew of the host that was heard last.
func (c *clocks) latest() time.Duration {
	c.mu.Lock()
	host := c.last
	c.mu.Unlock()
	skew, _ := c.skew(host)
	return skew
}
