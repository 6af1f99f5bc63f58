package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
	"github.com/taskcluster/upload-agent/schema"
)

// complete takes up the rest, and ends the run.
func (w *work) complete(ctx, life context.Context, finish schema.Finish) error {
	outcome := agent.Outcome{Success: finish.Success, Result: finish.Result}
	w.report(schema.PhaseFinishing, "")
	w.lookForLogs()
	for w.readLogs() { // what was written before finish.json is there by now
		if err := context.Cause(w.run.Context()); err != nil {
			return w.ended(ctx, err)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	for name, err := range w.reading.bad {
		if err := w.followers[name].giveUp(err); err != nil {
			w.logger.Warn("log is not whole, and does not say so", "log", name, "error", err)
		}
	}
	w.lookForArtifacts(true)
	for _, t := range []trouble{w.logs, w.reading, w.artifacts} {
		for name, err := range t.bad {
			if err := w.run.AddMissing(cmp.Or(name, t.dir), printable(err.Error())); err != nil && !errors.Is(err, agent.ErrArtifactName) {
				return err
			}
		}
	}
	return w.finish(ctx, life, outcome)
}

// finish ends the run with an outcome.
func (w *work) finish(ctx, life context.Context, outcome agent.Outcome) error {
	end := w.run.Complete
	if w.s.o.WorkerReports {
		end = w.run.Finish
	}
	type ending struct {
		summary *agent.Summary
		err     error
	}
	done := make(chan ending, 1)
	go func() {
		summary, err := end(life, outcome)
		done <- ending{summary, err}
	}()
	progress := time.NewTicker(time.Second)
	defer progress.Stop()
	for {
		w.report(schema.PhaseFinishing, "")
		select {
		case e := <-done:
			if e.summary == nil {
				return w.ended(ctx, e.err)
			}
			if e.err != nil {
				w.logger.Error("cannot close run", "error", e.err)
			}
			return w.over(ctx, e.summary)
		case <-progress.C:
		}
	}
}

// over says that all is stored.
func (w *work) over(ctx context.Context, s *agent.Summary) error {
	status := w.board.snapshot("").Status
	status.Stored, status.Missing, status.Waiting = make(map[string]int64, len(s.Artifacts)), maps.Clone(s.Missing), 0
	for name, receipt := range s.Artifacts {
		status.Stored[name] = receipt.Size
	}
	w.count(s)
	status.Phase, status.Reason = schema.PhaseCompleted, ""
	if !s.Reported {
		status.Phase = schema.PhaseResultStored
	}
	if err := w.remember(status.Phase, ""); err != nil {
		w.logger.Error("cannot remember that a run is over", "error", err)
	}
	w.put(status)
	if !s.Reported {
		w.keepClaim(ctx)
	}
	return nil
}

// count tells what a run has left that is over.
func (w *work) count(s *agent.Summary) {
	c := w.s.o.Counters
	w.tally.Look(w.run.Progress().Logs, s.Artifacts, s.Missing)
	if s.Success {
		c.RunEnded(ops.Succeeded)
	} else {
		c.RunEnded(ops.Failed)
	}
}

// keepClaim keeps the claim until the worker has reported the run, or has removed the folder.
func (w *work) keepClaim(ctx context.Context) {
	w.wake = time.Time{}
	for w.run.Context().Err() == nil && w.awaitChange(ctx) {
	}
}

// ended says why a run came to no end. The error is for what can be tried again.
func (w *work) ended(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, agent.ErrClaimLost) && !errors.Is(err, agent.ErrUnknownOutcome):
		return w.lose(err)
	case ctx.Err() != nil:
		return nil
	}
	return err
}

// abandon gives up a run whose folder is gone.
func (w *work) abandon(ctx context.Context) error {
	const reason = "the run's folder was removed; nothing is reported, and the queue gives the task to another worker"
	if err := w.run.Abandon(ctx, reason); err != nil {
		return fmt.Errorf("give up run: %w", err)
	}
	w.s.o.Counters.RunEnded(ops.NotCompleted)
	return w.end(schema.PhaseFailed, reason)
}

func (w *work) closeFollowers() {
	for _, f := range w.followers {
		f.close()
	}
}
