package main

import (
	"slices"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/upload"
)

// tally counts what runs upload of artifacts, logs that have ended among them, as their observers hear of it.
type tally struct {
	now func() time.Time

	mu    sync.Mutex
	open  map[string]*transfer // neither stored nor missing
	total tallied
	since time.Time // when the first of open was added
}

// tallied is what there was to upload so far.
type tallied struct {
	artifacts, stored, missing int
	size, sent                 int64         // bytes of all but the missing ones
	took                       time.Duration // while there was something to upload
	retries, renewals          int
}

// transfer is one artifact that is not stored yet.
type transfer struct {
	name       string
	size, sent int64
	since      time.Time // when its first bytes were sent; zero before
}

func newTally() *tally { return &tally{now: time.Now, open: map[string]*transfer{}} }

// observer tallies a run. The prefix tells its artifacts from those of other runs.
func (t *tally) observer(prefix string) agent.Observer {
	count := func(n *int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		*n++
	}
	return agent.Observer{
		ArtifactAdded:   func(name string, size int64) { t.added(prefix+name, size) },
		ArtifactSent:    func(name string, sent, size int64) { t.moved(prefix+name, sent, size) },
		ArtifactStored:  func(r upload.Receipt) { t.stored(prefix+r.Name, r.Size) },
		ArtifactMissing: func(name, _ string) { t.missing(prefix + name) },
		Retrying:        func(string, error) { count(&t.total.retries) },
		GrantRenewed:    func(string) { count(&t.total.renewals) },
	}
}

// find is an artifact that is not stored yet; t.mu is held.
func (t *tally) find(name string, size int64) *transfer {
	f := t.open[name]
	if f == nil {
		if len(t.open) == 0 {
			t.since = t.now()
		}
		f = &transfer{name: name}
		t.open[name] = f
		t.total.artifacts++
	}
	t.total.size += size - f.size
	f.size = size
	return f
}

func (t *tally) added(name string, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.find(name, size)
	t.total.sent -= f.sent // it starts over
	f.sent, f.since = 0, time.Time{}
}

func (t *tally) moved(name string, sent, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.find(name, size)
	if f.since.IsZero() {
		f.since = t.now()
	}
	t.total.sent += sent - f.sent
	f.sent = sent
}

func (t *tally) stored(name string, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.find(name, size)
	if f.since.IsZero() && size > 0 {
		t.total.size -= size // nothing of it was sent: it was stored before
	} else {
		t.total.sent += size - f.sent
	}
	t.total.stored++
	t.settled(name)
}

func (t *tally) missing(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.find(name, 0)
	t.total.sent -= f.sent
	t.total.missing++
	t.settled(name)
}

// settled is called when there is nothing left to do for an artifact; t.mu is held.
func (t *tally) settled(name string) {
	delete(t.open, name)
	if len(t.open) == 0 {
		t.total.took += t.now().Sub(t.since)
	}
}

// so is the tally so far.
func (t *tally) so() tallied {
	t.mu.Lock()
	defer t.mu.Unlock()
	total := t.total
	if len(t.open) > 0 {
		total.took += t.now().Sub(t.since)
	}
	return total
}

// left is how many artifacts are neither stored nor missing.
func (s tallied) left() int { return s.artifacts - s.stored - s.missing }

// underWay are artifacts on their way that are worth a look, those first that have been for the longest time.
func (t *tally) underWay() []transfer {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, all := t.now(), []transfer(nil)
	for _, f := range t.open {
		if !f.since.IsZero() && (f.size >= largeTransfer || now.Sub(f.since) >= longTransfer) {
			all = append(all, *f)
		}
	}
	slices.SortFunc(all, func(a, b transfer) int { return a.since.Compare(b.since) })
	return all
}

// What is smaller and shorter would only flash by.
const (
	largeTransfer = 4 << 20
	longTransfer  = time.Second
)
