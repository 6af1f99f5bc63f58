package agent

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	"github.com/taskcluster/upload-agent/upload"
)

// The goroutines of a run that ask for signed URLs and upload artifacts.

// work starts one more goroutine, if there is anything to do for it. It is false if the run has ended. The caller holds mu.
func (a *artifacts) work() bool {
	if a.lanes.active >= a.lanes.limit || !a.due() {
		return true
	}
	if !a.spawn(a.worker) {
		return false
	}
	if a.idle == nil {
		a.idle = make(chan struct{})
	}
	a.lanes.active++
	return true
}

// due says whether there is something to do now. The caller holds mu.
func (a *artifacts) due() bool {
	_, ok := a.next()
	return ok || a.lacking(&a.waiting.small, &a.ready.small) || a.lacking(&a.waiting.large, &a.ready.large)
}

// next says which kind to upload next, as lanes.next, but one of which none waits in line yet. The caller holds mu.
func (a *artifacts) next() (large, ok bool) {
	return a.lanes.next(!a.ready.small.empty() && !a.lined.small, !a.ready.large.empty() && !a.lined.large)
}

// lacking says whether signed URLs should be asked for. The caller holds mu.
func (a *artifacts) lacking(waiting, ready *kindOfArtifacts) bool {
	return !a.asking && !waiting.empty() && ready.low()
}

// worker asks for signed URLs and uploads until there is nothing to do any more.
func (a *artifacts) worker() {
	for {
		batch, it := a.begin()
		switch {
		case len(batch) > 0:
			a.ask(batch)
			a.mu.Lock()
			defer a.mu.Unlock()
			a.leave() // a fresh one goes on: this one's stack has grown with the answer, and might now be kept waiting for its turn
			return
		case it != nil:
			receipt, err := a.put(it, func() { a.admitted(it) }) // not under the lock, not even a deferred one: a panic has to get through
			a.end(it, receipt, err)
		default:
			return
		}
	}
}

// begin takes a batch to ask for, or else an artifact to upload. If there is neither, this goroutine is done.
func (a *artifacts) begin() (batch []*artifact, it *artifact) {
	a.mu.Lock()
	defer a.mu.Unlock()
	small, large := a.lacking(&a.waiting.small, &a.ready.small), a.lacking(&a.waiting.large, &a.ready.large)
	if small {
		batch = a.waiting.small.batch()
	}
	if large {
		batch = append(batch, a.waiting.large.batch()...)
	}
	if len(batch) > 0 {
		a.asking = true
		a.work() // somebody else uploads meanwhile; where the run has ended, nobody does
		return batch, nil
	}
	large, ok := a.next()
	switch {
	case ok && large:
		a.lanes.large++
		a.lined.large = a.pooled
		return nil, a.ready.large.pop()
	case ok:
		a.lined.small = a.pooled
		return nil, a.ready.small.pop()
	}
	a.leave()
	return nil, nil
}

// leave is what a goroutine ends with. Another goes on if there is anything to do. The caller holds mu.
func (a *artifacts) leave() {
	a.lanes.active--
	a.work() // where the run has ended, nobody goes on
	if a.lanes.active == 0 {
		close(a.idle)
		a.idle = nil
	}
}

// admitted lets the next of the kind into the line.
func (a *artifacts) admitted(it *artifact) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*a.lined.of(it) = false
	a.work()
}

// ask gets signed URLs for a batch. One batch is asked for at a time, so that those that are added meanwhile come
// together in the next. But where something is wrong with it, nothing else waits for it.
func (a *artifacts) ask(batch []*artifact) {
	done := sync.OnceFunc(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asking = false
		a.work()
	})
	left, types := make(map[string]*artifact, len(batch)), make(map[string]string, len(batch))
	for _, it := range batch {
		if err := it.settleType(); err != nil {
			_ = a.record(it.name, upload.Receipt{}, fmt.Errorf("read artifact %q: %w", it.name, err)) // where it cannot be noted, the run has ended
			continue
		}
		left[it.name], types[it.name] = it, it.options.ContentType
	}
	var err error
	if len(left) > 0 {
		err = a.grant(types, func(name string, grant upload.Grant) {
			it := left[name]
			delete(left, name)
			it.grant = &grant
			a.mu.Lock()
			defer a.mu.Unlock()
			a.ready.push(it)
			a.work()
		}, done)
	}
	var refused refusedNames
	errors.As(err, &refused)
	for name := range left {
		_ = a.record(name, upload.Receipt{}, cmp.Or(refused[name], err)) // the same
	}
	done()
}
