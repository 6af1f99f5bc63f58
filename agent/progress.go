package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Progress is how far a run has come.
type Progress struct {
	TaskID     schema.TaskID
	RunID      schema.RunID
	Started    time.Time
	TakenUntil time.Time // when the claim lapses, if it is not reclaimed before, as it is as a rule

	Logs    map[string]int64          // bytes of each log so far
	Stored  map[string]upload.Receipt // artifacts by name; the logs are among them when the run has ended
	Missing map[string]string         // reasons by name: they will not be stored
	Waiting int                       // artifacts that are neither
	Queue   []string                  // their names, sorted

	// Err is why the run has ended, as the cause of [Run.Context] has it. Nil while it has not.
	Err error
}

// ErrNotAdded says that a run has no artifact of a name.
var ErrNotAdded = errors.New("no such artifact")

// MissingError says why an artifact or a log will not be stored.
type MissingError struct{ Name, Reason string }

// Error names the artifact and the reason.
func (e *MissingError) Error() string {
	return fmt.Sprintf("artifact %q is missing: %s", e.Name, e.Reason)
}

// Progress says how far the run has come. Who looks time and again has a copy made each time.
func (r *Run) Progress() Progress {
	p := Progress{
		TaskID: r.lease.taskID, RunID: r.lease.runID, Started: r.started, TakenUntil: r.lease.current().until,
		Logs: map[string]int64{}, Err: context.Cause(r.ctx),
	}
	for _, log := range r.allLogs() {
		p.Logs[log.name] = log.spool.Size()
	}
	r.artifacts.progress(&p)
	return p
}

// WaitArtifact waits until an artifact that was added is stored, and gives the proof. The error is a [*MissingError] if it never will be,
// [ErrNotAdded] if the run knows no such name, the cause of the run's end, or that of ctx.
func (r *Run) WaitArtifact(ctx context.Context, name string) (upload.Receipt, error) {
	for {
		ended := context.Cause(r.ctx) // before the look: nothing changes after the end
		receipt, changed, err := r.artifacts.settled(name)
		switch {
		case err != nil || receipt.Name != "":
			return receipt, err
		case ended != nil:
			return receipt, fmt.Errorf("wait for artifact %q: %w", name, ended)
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
		case <-ctx.Done():
			return receipt, context.Cause(ctx)
		}
	}
}

// settled is what has become of an artifact: its receipt has a name if it is stored. As long as nothing is known, the channel is closed
// when that may have changed.
func (a *artifacts) settled(name string) (upload.Receipt, <-chan struct{}, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if receipt, ok := a.stored[name]; ok {
		return receipt, nil, nil
	}
	if reason, ok := a.missing[name]; ok {
		return upload.Receipt{}, nil, &MissingError{Name: name, Reason: reason}
	}
	if _, taken := a.names[name]; !taken {
		return upload.Receipt{}, nil, fmt.Errorf("wait for artifact %q: %w", name, ErrNotAdded)
	}
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return upload.Receipt{}, a.changed, nil
}

// progress tells what is known of artifacts.
func (a *artifacts) progress(p *Progress) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.Stored, p.Missing = maps.Clone(a.stored), maps.Clone(a.missing)
	for name := range a.names {
		_, stored := a.stored[name]
		_, missing := a.missing[name]
		if _, log := p.Logs[name]; !stored && !missing && !log {
			p.Queue = append(p.Queue, name)
		}
	}
	slices.Sort(p.Queue)
	p.Waiting = len(p.Queue)
}

// hasChanged tells those who wait. The caller holds mu.
func (a *artifacts) hasChanged() {
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}
