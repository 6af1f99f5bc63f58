package upload

import (
	"sync"
	"time"
)

// While bytes of an object move, PutOptions.OnProgress is told of it so often at most, and of no less.
const (
	tellEvery = 100 * time.Millisecond
	tellStep  = 128 << 10 // to look at the clock costs more than all the rest
)

// teller tells of a Put, one call at a time: of an object in parts, those that are under way add up. A nil teller tells nobody.
type teller struct {
	progress func(sent int64)
	retry    func(kind error)

	mu     sync.Mutex // guards the rest; held while somebody is told
	sent   int64
	looked int64     // of sent, when the clock was looked at last
	said   int64     // of sent, when progress was told last
	saidAt time.Time // when that was
}

func newTeller(o PutOptions) *teller {
	if o.OnProgress == nil && o.OnRetry == nil {
		return nil
	}
	return &teller{progress: o.OnProgress, retry: o.OnRetry}
}

// told is what one step of a Put has told its teller; the teller's mu guards it.
type told struct {
	teller *teller
	other  bool  // its body is not part of the object
	at     int64 // bytes of its body that are sent
}

// moved is called with the bytes of the body that are sent so far. It is called of every block.
func (s *told) moved(at int64) {
	t := s.teller
	if t == nil || t.progress == nil || s.other {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sent, s.at = t.sent+at-s.at, at; t.sent < t.looked+tellStep {
		return
	}
	t.looked = t.sent
	if now := time.Now(); now.Sub(t.saidAt) >= tellEvery {
		t.tell(now)
	}
}

// done tells that all of the body is sent, which is size.
func (s *told) done(size int64) { s.set(size) }

// again tells that what the step has sent counts for nothing, because it has failed for this reason and starts over.
func (s *told) again(kind error) {
	t := s.teller
	if t == nil {
		return
	}
	s.set(0)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.retry != nil {
		t.retry(kind)
	}
}

// set tells of a change at once.
func (s *told) set(at int64) {
	t := s.teller
	if t == nil || t.progress == nil || s.other {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sent, s.at = t.sent+at-s.at, at; t.sent != t.said {
		t.tell(time.Now())
	}
}

// anew tells that all parts start over.
func (t *teller) anew(kind error) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = 0
	if t.progress != nil {
		t.tell(time.Now())
	}
	if t.retry != nil {
		t.retry(kind)
	}
}

// tell calls progress; mu is held.
func (t *teller) tell(now time.Time) {
	t.looked, t.said, t.saidAt = t.sent, t.sent, now
	t.progress(t.sent)
}
