package agent

import (
	"context"
	"slices"
	"sync"
)

// Pool bounds how many artifacts are uploaded at once by all the runs that share it, see [Options].Pool.
//
// Runs take turns: each has at most one artifact of either kind in the line, so that one with ten thousand holds up nobody. Neither do large
// artifacts hold up small ones, nor the other way round: of two lanes and more, one is kept for each. Logs and documents have lanes of
// their own, so that artifacts never hold them up. A Pool is safe for concurrent use.
type Pool struct {
	first turns // to store a log or a document
	asks  turns // to ask the queue for signed URLs

	mu           sync.Mutex
	lanes        lanes
	small, large []chan struct{} // who waits, in the order in which they came; each is closed when it is its turn
}

// NewPool is a pool of so many uploads at once; of one, if it is less.
func NewPool(uploads int) *Pool {
	return &Pool{
		first: make(turns, max(firstLanes, uploads)),
		asks:  make(turns, firstLanes),
		lanes: lanes{limit: max(1, uploads)},
	}
}

// firstLanes is how many logs and documents are stored at once at least, and how many calls for signed URLs are under way at most.
// They are short, but a thousand runs have thousands, and each takes a connection and memory.
const firstLanes = 32

// turns holds one for each who has a turn.
type turns chan struct{}

// acquire waits for a turn. The function ends it. The error is the cause of ctx.
func (t turns) acquire(ctx context.Context) (release func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// acquireFirst is acquire for a log or a document.
func (p *Pool) acquireFirst(ctx context.Context) (release func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	return p.first.acquire(ctx)
}

// acquireAsk is acquire for a call for signed URLs.
func (p *Pool) acquireAsk(ctx context.Context) (release func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	return p.asks.acquire(ctx)
}

// acquire waits for a turn. The function ends it. The error is the cause of ctx. A nil pool bounds nothing.
func (p *Pool) acquire(ctx context.Context, large bool) (release func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	turn := make(chan struct{})
	p.mu.Lock()
	line := p.line(large)
	*line = append(*line, turn)
	p.admit()
	p.mu.Unlock()
	release = func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.lanes.active--
		if large {
			p.lanes.large--
		}
		p.admit()
	}
	select {
	case <-turn:
		return release, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	i := slices.Index(*line, turn)
	if i >= 0 {
		*line = slices.Delete(*line, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 { // its turn came at the same moment
		release()
	}
	return nil, context.Cause(ctx)
}

func (p *Pool) line(large bool) *[]chan struct{} {
	if large {
		return &p.large
	}
	return &p.small
}

// admit gives turns to those who wait. The caller holds mu.
func (p *Pool) admit() {
	for p.lanes.active < p.lanes.limit {
		large, ok := p.lanes.next(len(p.small) > 0, len(p.large) > 0)
		if !ok {
			return
		}
		line := p.line(large)
		close((*line)[0])
		*line = (*line)[1:]
		p.lanes.active++
		if large {
			p.lanes.large++
		}
	}
}
