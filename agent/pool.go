package agent

import (
	"context"
	"slices"
	"sync"
)

// Pool bounds how many artifacts are uploaded at once by all the runs that share it, see [Options].Pool.
//
// Runs take turns: each has at most [Options].Uploads artifacts in the line, so that one with ten thousand holds up nobody. Neither do large
// artifacts hold up small ones, nor the other way round: of two lanes and more, one is kept for each. It is safe for concurrent use.
type Pool struct {
	mu           sync.Mutex
	lanes        lanes
	small, large []chan struct{} // who waits, in the order in which they came; each is closed when it is its turn
}

// NewPool is a pool of so many uploads at once; of one, if it is less.
func NewPool(uploads int) *Pool { return &Pool{lanes: lanes{limit: max(1, uploads)}} }

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
