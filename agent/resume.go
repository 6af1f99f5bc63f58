package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// Resume takes up the run whose state folder is dir, which a process that has ended has left. It asks the
// queue for the claim and fresh signed URLs before anything else. Then the run goes on from where
// it stood: logs are published from where they were, and what is stored already is not stored again.
//
// If the worker has survived, it goes on: it writes to the logs, adds all its artifacts (those that were added
// before too: they are uploaded only if they are not stored, or differ) and completes the run. If it has not,
// [Run.Conclude] ends the run. Whoever resumes a run must Close it.
//
// What can go wrong: the claim is lost ([ErrClaimLost]), or the run is completed already ([ErrCompleted]), or had not
// begun ([ErrNotBegun]), and the folder is removed; another process works on the run ([ErrInUse]), a file of the folder is damaged or gone, or
// the run is another queue's (each a [*StateError]), or the queue does not answer before ctx ends, and the folder is kept.
func Resume(ctx context.Context, q *queue.Client, dir string, o Options) (*Run, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("resume run: %w", err)
	}
	redactor, err := livelog.NewRedactor(o.Redact...)
	if err != nil {
		return nil, fmt.Errorf("resume run: %w", err)
	}
	folder, err := openStateFolder(o.disk, dir)
	if err != nil {
		return nil, fmt.Errorf("resume run: %w", err)
	}
	r, err := resume(ctx, q, folder, redactor, o)
	if err != nil {
		err = fmt.Errorf("resume run %d of task %s: %w", folder.journal.Found().Claim.RunID, folder.journal.Found().Claim.TaskID, err)
		if errors.Is(err, ErrClaimLost) || errors.Is(err, ErrCompleted) {
			return nil, errors.Join(err, folder.remove())
		}
		return nil, errors.Join(err, folder.close())
	}
	return r, nil
}

func resume(ctx context.Context, q *queue.Client, folder *stateFolder, redactor *livelog.Redactor, o Options) (*Run, error) {
	state := folder.journal.Found()
	if state.Claim.Queue != q.URL() {
		return nil, &StateError{Dir: folder.path, Err: fmt.Errorf("the run belongs to the queue %s, not %s", state.Claim.Queue, q.URL())}
	}
	if state.Acknowledged {
		return nil, ErrCompleted
	}
	claim, err := regain(ctx, q, state, o)
	if err != nil {
		return nil, err
	}
	r := newRun(ctx, q, newLease(q, claim, o.Logger), redactor, o)
	r.keepIn(folder)
	r.claimRenewed(r.lease.current().until)
	err = folder.removePacked() // copies that died with the process
	if err == nil {
		err = r.restore(state)
	}
	if err != nil {
		// What the claim is good for ends with it: Close leaves the folder.
		r.end(ErrEnded)
		r.goroutines.Wait()
		return nil, &StateError{Dir: folder.path, Err: errors.Join(err, r.releaseLogs())}
	}
	r.background(r.keepLease)
	if state.Frozen == nil {
		r.background(func() { r.logsDocument.keep(r.ctx) })
	}
	return r, nil
}

// regain reclaims the run. Where the claim may have lapsed, or the run been completed, the queue is asked
// first: one that does not check whose run it is would take a reclaim for granted.
func regain(ctx context.Context, q *queue.Client, state journal.State, o Options) (schema.Claim, error) {
	asker := settler{q: q, storage: o.Storage, taskID: state.Claim.TaskID, runID: state.Claim.RunID, worker: state.Claim.Worker}
	lost := func(err error) error {
		return &ClaimLostError{TaskID: state.Claim.TaskID, RunID: state.Claim.RunID, Err: err}
	}
	if state.Sent || time.Now().After(state.Until) {
		switch standing, err := asker.ask(ctx); {
		case errors.Is(err, queue.ErrNotFound) && state.Sent:
			return schema.Claim{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		case errors.Is(err, queue.ErrNotFound):
			return schema.Claim{}, lost(err)
		case err != nil:
			return schema.Claim{}, err
		case standing == completedByUs:
			return schema.Claim{}, ErrCompleted
		case standing == notOurs:
			return schema.Claim{}, lost(errAway)
		}
	}
	claim, err := q.Reclaim(ctx, state.Claim.TaskID, state.Claim.RunID, state.Claim.Worker)
	if !errors.Is(err, queue.ErrNotFound) {
		return claim, err
	}
	// The worker may have reported the run by itself.
	if standing, asking := asker.ask(ctx); asking == nil && standing == completedByUs {
		return schema.Claim{}, ErrCompleted
	}
	return schema.Claim{}, lost(err)
}

var errAway = errors.New("it lapsed while no agent was there to keep it")

// restore puts the run where the journal says it stood.
func (r *Run) restore(state journal.State) error {
	r.started, r.settled = state.Started, state.Outcome
	if state.Outcome != nil {
		r.sealed = state.Finished
		r.endLogs()
	}
	r.restoreArtifacts(state)
	if state.Frozen != nil {
		return r.restoreResult(state)
	}
	r.continued = map[string]int64{}
	for number, known := range state.Logs {
		log, err := r.restoreLog(number, known, state)
		if err != nil {
			return err
		}
		r.logs[log.name] = log
	}
	for _, log := range r.logs {
		if log.settled {
			close(log.done)
			continue
		}
		r.follow(log)
	}
	return nil
}

// restoreLog opens the spool of a log and sees to it that it is all there.
func (r *Run) restoreLog(number int, known journal.Log, state journal.State) (*runLog, error) {
	log := r.newLog(known.Name)
	log.chunks, log.lost = known.Chunks, state.Missing[known.Name]
	file, size, err := r.folder.openLog(number)
	if err != nil {
		return nil, fmt.Errorf("log %q: open spool: %w", known.Name, err)
	}
	var covered int64
	if n := len(known.Chunks); n > 0 {
		covered = known.Chunks[n-1].Offset + known.Chunks[n-1].Size
	}
	want := covered
	sealed, ended := sealedLog(state, known.Name)
	if ended {
		want, log.lost, log.incomplete = sealed.Size, sealed.Lost, sealed.Incomplete
	}
	if size < want {
		return nil, errors.Join(fmt.Errorf("log %q: its spool has %d bytes, and %d are known to have been written", known.Name, size, want), file.Close())
	}
	if ended {
		size = want
	}
	spool := livelog.NewSpool(file, size)
	if ended {
		log.spool, log.writer = spool, r.redactor.Writer(spool)
	} else if err := r.giveSpool(log, spool, number, known); err != nil {
		return nil, errors.Join(fmt.Errorf("log %q: %w", known.Name, err), file.Close())
	}
	r.continued[known.Name] = covered
	if receipt, stored := state.Stored[known.Name]; stored {
		log.settled, log.receipt = true, receiptOf(receipt)
	} else if _, missing := state.Missing[known.Name]; missing && state.Outcome != nil {
		log.settled = true
	}
	if ended {
		_ = log.writer.Close() // nothing is in it
		_ = log.spool.Close()  // never fails
		if !log.settled {
			r.o.Observer.artifactAdded(log.name, size)
		}
	}
	return log, nil
}

// sealedLog says how a log ended, if it has.
func sealedLog(state journal.State, name string) (log journal.SealedLog, ended bool) {
	logs := state.Ended
	if state.Outcome != nil {
		logs = state.Outcome.Logs
	}
	i := slices.IndexFunc(logs, func(l journal.SealedLog) bool { return l.Name == name })
	if i < 0 {
		return journal.SealedLog{}, false
	}
	return logs[i], true
}

// restoreArtifacts takes the names that are taken, and what became of them.
func (r *Run) restoreArtifacts(state journal.State) {
	a := r.artifacts
	for _, log := range state.Logs {
		a.names[log.Name] = nil
	}
	for _, added := range state.Added {
		a.names[added.Name] = nil
		if _, missing := state.Missing[added.Name]; missing {
			continue
		}
		it := earlier(added)
		if receipt, stored := state.Stored[added.Name]; stored && receipt.URL != "" {
			known := receiptOf(receipt)
			it.known = &known
		}
		a.earlier[added.Name] = it
	}
	for name, receipt := range state.Stored {
		if _, is := a.earlier[name]; !is {
			a.stored[name] = receiptOf(receipt) // the text of a log
		}
	}
	for name, reason := range state.Missing {
		a.names[name] = nil
		a.missing[name] = reason
	}
}

// restoreResult goes on with a result that is frozen: nothing that it names is touched any more.
func (r *Run) restoreResult(state journal.State) error {
	body, err := r.folder.frozen(*state.Frozen)
	if err != nil {
		return err
	}
	if err := r.artifacts.close(); err != nil {
		return err
	}
	stored, missing, skipped := r.artifacts.outcome()
	r.result = body
	r.summary = &Summary{
		TaskID: r.lease.taskID, RunID: r.lease.runID, Success: state.Outcome.Success,
		Started: r.started, Finished: r.sealed,
		Logs: receiptOf(*state.LogsStored), LogsAfter: state.LogsFirst.Sub(r.started),
		Artifacts: stored, Missing: missing, Skipped: skipped, Incomplete: incompleteOf(state.Outcome.Logs, stored),
	}
	if state.Result != nil {
		r.summary.Result = receiptOf(*state.Result)
	}
	return nil
}

// Conclude ends a resumed run whose worker is gone. If the worker had given the outcome before, the run is completed
// as [Run.Complete] does, or, if the worker meant to report by itself, as [Run.Finish] does.
// Else nobody knows how the task ended: its logs are published with a last line that says so, nothing is
// reported, and the error is [ErrNoOutcome]: the queue gives the task to another worker. If ctx ends first, it is in
// the error too, and the state folder stays.
func (r *Run) Conclude(ctx context.Context) (*Summary, error) {
	r.finishing.Lock()
	settled := r.settled
	r.finishing.Unlock()
	if settled == nil {
		return nil, errors.Join(fmt.Errorf("conclude run: %w", ErrNoOutcome), r.Abandon(ctx, diedReason))
	}
	outcome, err := outcomeOf(*settled)
	if err != nil {
		return nil, fmt.Errorf("conclude run: %w", err)
	}
	if settled.Report {
		return r.Complete(ctx, outcome)
	}
	summary, err := r.Finish(ctx, outcome)
	if err != nil {
		return nil, err
	}
	return summary, r.Close()
}

const diedReason = "the agent ended unexpectedly here, and the task with it; what the task wrote after this is lost"

// Unfinished lists the state folders of runs below stateDir that [Resume] can take up, sorted. Some may
// be at work in other processes.
func Unfinished(stateDir string) ([]string, error) {
	return unfinished(disk.OS(), stateDir)
}

func unfinished(d disk.Disk, stateDir string) ([]string, error) {
	names, err := d.ReadDir(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list unfinished runs: %w", err)
	}
	var found []string
	for _, name := range names {
		if isFolderName.MatchString(name) {
			found = append(found, filepath.Join(stateDir, name))
		}
	}
	return found, nil
}

// QueueOf is the base URL of the queue that the run in a state folder belongs to. The error is a *[StateError],
// [ErrNotBegun] where Resume would say so.
func QueueOf(dir string) (string, error) {
	state, err := journal.Read(disk.OS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotBegun
	}
	if err != nil {
		return "", &StateError{Dir: dir, Err: err}
	}
	return state.Claim.Queue, nil
}
