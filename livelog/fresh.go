package livelog

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A cache between us and the storage may give an old index for ever. The request asks it not to (Cache-Control: no-cache). Where the answer
// is old all the same, and the log goes on, the index is asked for under a URL that no cache knows yet; and where that is no
// way, or does not help, the reader says so rather than wait for news that never come.

const (
	staleAfter  = 10 * time.Second // the age from which an answer was not fetched for us
	hopelessAge = 5 * time.Minute  // the age of an index that a reader does not put up with
)

// ErrStale says that a cache gives an old index of a log that is being written, whatever it is asked.
var ErrStale = errors.New("the index comes out of a cache that does not ask the storage again")

// freshness tells how old answers are.
type freshness struct {
	date     string    // of the answer before
	since    time.Time // when that Date was seen first
	bypass   bool      // ask by a URL that no cache knows
	unasked  bool      // that was no way
	lastSeen time.Duration
}

// age is how old an answer is: by its own word, or because its Date stands still.
func (f *freshness) age(h http.Header, now time.Time) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Age"), 10, 31)
	if err != nil {
		seconds = 0
	}
	if date := h.Get("Date"); date == "" || date != f.date {
		f.date, f.since = date, now
	}
	f.lastSeen = max(time.Duration(seconds)*time.Second, now.Sub(f.since))
	return f.lastSeen
}

// url is where to ask for the index. A URL with a query stays as it is: it may be signed.
func (f *freshness) url(raw string, now time.Time) string {
	if !f.bypass || f.unasked {
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.RawQuery = "fresh=" + strconv.FormatInt(now.UnixNano(), 36)
	return u.String()
}

// tryBypass reports whether there is another way to ask, and takes it.
func (f *freshness) tryBypass(raw string) bool {
	u, err := url.Parse(raw)
	if f.bypass || f.unasked || err != nil || u.RawQuery != "" || u.ForceQuery {
		return false
	}
	f.bypass = true
	return true
}

// stale deals with an answer that is too old to be believed; again says that another request comes next. An error is final.
func (r *Reader) stale(h http.Header) (again bool, err error) {
	switch age := r.fresh.age(h, time.Now()); {
	case age <= staleAfter:
		return false, nil
	case r.fresh.tryBypass(r.indexURL):
		r.o.Logger.Debug("the index of a live log comes out of a cache; going round it", "age", age)
		return true, nil
	case age > hopelessAge:
		return true, r.retry(fmt.Errorf("%w: it is %v old", ErrStale, age.Round(time.Second)), true)
	}
	return false, nil
}
