package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// slot waits until there may be one more run.
func (f *folder) slot(ctx context.Context) bool {
	for {
		select {
		case f.s.slots <- struct{}{}:
			return true
		default:
		}
		f.show(schema.PhaseWaiting, fmt.Sprintf("%d runs are open, and no more may be at once", cap(f.s.slots)))
		select {
		case f.s.slots <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		case <-f.changes:
			if f.gone() {
				return false
			}
		}
	}
}

// start starts the run, or takes it up again. The run is nil if it is over.
func (f *folder) start(ctx, life context.Context, claim schema.Claim, state string, begun bool) (*agent.Run, error) {
	o := f.s.o.Run
	o.Observer = f.s.o.Counters.Observer()
	o.StateDir, o.Logger, o.Logs = f.s.o.State, f.logger.With("task", f.task, "run", f.runID), f.logNames()
	if _, err := os.Lstat(state); err == nil {
		f.show(schema.PhaseWaiting, "the run is taken up again: the queue is asked for its claim")
		run, err := f.resume(ctx, life, state, o)
		switch {
		case err == nil:
			return f.begun(run)
		case !errors.Is(err, agent.ErrNotBegun):
			return nil, err
		}
	}
	if begun {
		return nil, f.askWhatBecame(ctx)
	}
	run, err := agent.Start(life, f.s.q, claim, o)
	if err != nil {
		return nil, err
	}
	return f.begun(run)
}

// begun remembers that the run has begun. One that cannot be remembered is left for another try.
func (f *folder) begun(run *agent.Run) (*agent.Run, error) {
	if err := f.remember("", ""); err != nil {
		return nil, errors.Join(err, run.Close())
	}
	return run, nil
}

// resume asks the queue for as long as ctx lasts; the run lives longer.
func (f *folder) resume(ctx, life context.Context, state string, o agent.Options) (*agent.Run, error) {
	life, cancel := context.WithCancel(life)
	stop := context.AfterFunc(ctx, cancel)
	run, err := agent.Resume(life, f.s.q, state, o)
	if err != nil || !stop() {
		cancel()
	}
	return run, err
}

// askWhatBecame is for a run that was begun, and has left nothing: the process died right after its end.
func (f *folder) askWhatBecame(ctx context.Context) error {
	status, err := f.s.q.Status(ctx, f.task)
	if errors.Is(err, queue.ErrNotFound) {
		return fmt.Errorf("%w: the queue does not know the task", agent.ErrClaimLost)
	}
	if err != nil {
		return err
	}
	if status.State == schema.Completed && len(status.Runs) > 0 && status.Runs[len(status.Runs)-1].RunID == f.runID {
		return agent.ErrCompleted
	}
	return fmt.Errorf("%w: the run ended before the agent was restarted", agent.ErrClaimLost)
}

// notStarted says what became of a run that there is none of. The error is why it has to be tried again.
func (f *folder) notStarted(ctx context.Context, err error) error {
	switch {
	case err == nil || ctx.Err() != nil:
		return nil
	case errors.Is(err, agent.ErrCompleted):
		return f.end(schema.PhaseCompleted, "")
	case errors.Is(err, agent.ErrClaimLost) && !errors.Is(err, agent.ErrUnknownOutcome):
		return f.lose(err)
	}
	return err
}
