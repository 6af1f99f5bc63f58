package agent

import (
	"context"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/upload"
)

// logsDocument keeps logs.json up to date with the logs that a run has declared.
type logsDocument struct {
	store func(context.Context) (upload.Receipt, error)

	mu       sync.Mutex
	declared int           // how often something was declared
	tried    int           // the declaration that the latest attempt covers
	changed  chan struct{} // closed and replaced when declared or tried changes
	err      error         // of the latest attempt
	receipt  upload.Receipt
	first    time.Time // when it was first stored
}

func newLogsDocument(store func(context.Context) (upload.Receipt, error)) *logsDocument {
	return &logsDocument{store: store, declared: 1, changed: make(chan struct{})}
}

// declare asks for logs.json to be stored again.
func (d *logsDocument) declare() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.declared++
	d.signal()
}

func (d *logsDocument) signal() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// keep stores logs.json now and after every declaration, until ctx ends.
func (d *logsDocument) keep(ctx context.Context) {
	for {
		d.mu.Lock()
		declared, due, changed := d.declared, d.declared > d.tried, d.changed
		d.mu.Unlock()
		if !due {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		receipt, err := d.store(ctx)
		if ctx.Err() != nil {
			return
		}
		d.mu.Lock()
		d.tried, d.err = declared, err
		if err == nil {
			d.receipt = receipt
			if d.first.IsZero() {
				d.first = time.Now()
			}
		}
		d.signal()
		d.mu.Unlock()
	}
}

// wait returns when logs.json is stored with all that was declared, or cannot be.
func (d *logsDocument) wait(ctx context.Context) (receipt upload.Receipt, first time.Time, err error) {
	for {
		d.mu.Lock()
		receipt, first, err = d.receipt, d.first, d.err
		current, changed := d.tried == d.declared, d.changed
		d.mu.Unlock()
		if current {
			return receipt, first, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return receipt, first, context.Cause(ctx)
		}
	}
}
