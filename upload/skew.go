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
	byHost map[string]*clock
	last   string // the host heard last

	text string    // of the latest Date, which comes again with every answer of the same second
	date time.Time // what it says
}

// clock is that of one storage.
type clock struct {
	kept   []time.Duration // the last few samples
	median time.Duration   // of them: asked for more often than it changes
}

// A median of a few: a Date out of some cache or a broken proxy does not count for long.
const samples = 5

// heard takes the Date of an answer that came just now. What does not parse is ignored.
func (c *clocks) heard(host string, h http.Header, now time.Time) {
	text := h.Get("Date")
	c.mu.Lock()
	defer c.mu.Unlock()
	if text != c.text || text == "" {
		date, err := http.ParseTime(text)
		if err != nil {
			return
		}
		c.text, c.date = text, date
	}
	// A Date is cut to the second: on average half a second has passed since.
	sample := c.date.Add(time.Second / 2).Sub(now)
	if c.byHost == nil {
		c.byHost = make(map[string]*clock)
	}
	if c.byHost[host] == nil {
		c.byHost[host] = &clock{}
	}
	c.byHost[host].add(sample)
	c.last = host
}

func (c *clock) add(sample time.Duration) {
	if len(c.kept) == samples {
		c.kept = slices.Delete(c.kept, 0, 1)
	}
	c.kept = append(c.kept, sample)
	var sorted [samples]time.Duration
	n := copy(sorted[:], c.kept)
	slices.Sort(sorted[:n])
	c.median = sorted[n/2]
}

// skew is the host's clock minus ours; false if it has not been heard.
func (c *clocks) skew(host string) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if clock := c.byHost[host]; clock != nil {
		return clock.median, true
	}
	return 0, false
}

// latest is the skew of the host that was heard last.
func (c *clocks) latest() time.Duration {
	c.mu.Lock()
	host := c.last
	c.mu.Unlock()
	skew, _ := c.skew(host)
	return skew
}
