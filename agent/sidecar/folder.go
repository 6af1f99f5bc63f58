package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
	"github.com/taskcluster/upload-agent/agent/watch"
	"github.com/taskcluster/upload-agent/schema"
)

// folder is one run folder. All of it belongs to the goroutine of serve, but for the board.
type folder struct {
	s      *Sidecar
	name   string
	info   fs.FileInfo // of the folder itself
	board  *board
	over   atomic.Bool // serve has returned, or there was nothing to serve
	logger *slog.Logger

	root    *os.Root
	changes <-chan struct{}
	hinted  bool // there may be something new in the folder
	claims  document[schema.Claim]
	ends    document[schema.Finish]

	task    schema.TaskID
	runID   schema.RunID
	known   bool // whose run it is
	current atomic.Pointer[agent.Run]
}

func newFolder(s *Sidecar, name string) *folder {
	return &folder{
		s: s, name: name, board: newBoard(), logger: s.o.Logger.With("folder", name),
		claims: document[schema.Claim]{name: claimFile, most: mostClaim},
		ends:   document[schema.Finish]{name: finishFile, most: mostFinish},
	}
}

// ended reports whether nobody works on the folder.
func (f *folder) ended() bool { return f.over.Load() }

// hasAnotherClaim reports whether there is another claim than the one of the run that is over: it may be another folder by now, with the
// same inode. Only for a folder that nobody works on.
func (f *folder) hasAnotherClaim() bool {
	if !f.info.IsDir() {
		return false
	}
	info, err := f.s.root.Lstat(f.name + "/" + claimFile)
	return err == nil && !f.claims.isAsRead(info)
}

// refuseEntry is for what is no folder.
func (f *folder) refuseEntry(info fs.FileInfo, err error) {
	if err == nil {
		err = refused("not a folder but %s", kindOf(info.Mode()))
	}
	f.show(schema.PhaseRefused, withoutPath(err).Error())
	f.over.Store(true)
}

// serve works on the folder until its run is over, or ctx ends: a run that is finishing may take as long as life.
func (f *folder) serve(ctx, life context.Context) {
	defer f.over.Store(true)
	for {
		err := f.open()
		if err == nil {
			break
		}
		f.show(schema.PhaseRefused, err.Error())
		if !f.await(ctx, nil, nil) {
			return
		}
	}
	defer f.root.Close() // only read
	watcher, err := watch.New(filepath.Join(f.s.dir, f.name), watch.Options{Poll: f.s.o.Poll, NoEvents: f.s.o.NoEvents, Hub: &f.s.hub, Logger: f.s.o.Logger})
	if err != nil {
		f.show(schema.PhaseRefused, err.Error())
		return
	}
	defer watcher.Close()
	f.changes = watcher.Changes()
	f.untilOver(ctx, life)
}

// open opens the folder, which has to be one that a worker of ours may have made.
func (f *folder) open() error {
	root, info, err := openFolder(f.s.root, f.name)
	if err != nil {
		return err
	}
	f.root, f.info = root, info
	uid, ok := ownerOf(info)
	above, _ := ownerOf(f.s.owner)
	if us := os.Geteuid(); ok && us != 0 && uid != us && uid != above {
		return errors.Join(refused("it belongs to user %d, who is neither the agent's nor the one of the folder above it", uid), root.Close())
	}
	return nil
}

// mayOwn says whether a claim or a finish may be from the user that it is from.
func (f *folder) mayOwn(info fs.FileInfo) error {
	uid, ok := ownerOf(info)
	folders, _ := ownerOf(f.info)
	if ok && uid != folders && uid != os.Geteuid() && uid != 0 {
		return refused("it belongs to user %d, and the run folder to user %d", uid, folders)
	}
	return nil
}

// show sets the phase, and writes it.
func (f *folder) show(phase schema.Phase, reason string) {
	s := f.board.snapshot("").Status
	s.Phase, s.Reason = phase, printable(reason)
	f.put(s)
}

// put shows a status, and writes it.
func (f *folder) put(s schema.Status) {
	if f.known {
		run := f.runID
		s.TaskID, s.RunID = f.task, &run
	}
	for _, m := range []*map[string]int64{&s.Logs, &s.Stored} {
		if *m == nil {
			*m = map[string]int64{}
		}
	}
	for _, m := range []*map[string]string{&s.Missing, &s.Problems} {
		if *m == nil {
			*m = map[string]string{}
		}
	}
	was := f.board.snapshot("").Status
	f.board.set(s)
	if s.Phase == schema.PhaseRefused && was.Phase != s.Phase {
		f.s.o.Counters.RunEnded(ops.Refused)
	}
	if was.Phase != s.Phase || was.Reason != s.Reason {
		f.logger.Log(context.Background(), levelOf(s.Phase), "run folder", "phase", s.Phase, "reason", s.Reason)
	}
	if f.root != nil {
		f.board.write(f.root)
	}
}

func levelOf(p schema.Phase) slog.Level {
	switch p {
	case schema.PhaseRefused, schema.PhaseClaimLost, schema.PhaseFailed:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// await waits until it is time to look again, wake wakes, or done is closed: false when ctx has ended, or the folder is gone.
func (f *folder) await(ctx context.Context, wake <-chan time.Time, done <-chan struct{}) bool {
	var tick <-chan time.Time
	if f.changes == nil {
		timer := time.NewTimer(f.s.o.Poll)
		defer timer.Stop()
		tick = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-f.changes:
		f.hinted = true
	case <-tick:
	case <-wake:
	case <-done:
	}
	return !f.gone()
}

// gone reports whether the folder is not there any more, under its name.
func (f *folder) gone() bool {
	info, err := f.s.root.Lstat(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return err == nil && !os.SameFile(info, f.info)
}

// untilOver takes the run of the folder to its end, trying again where that may help.
func (f *folder) untilOver(ctx, life context.Context) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		claim, ok := f.awaitClaim(ctx)
		if !ok {
			return
		}
		err := f.oneRun(ctx, life, claim)
		if err == nil || ctx.Err() != nil {
			return
		}
		phase := schema.PhaseFailed
		if errors.As(err, new(errRefused)) {
			phase = schema.PhaseRefused
		}
		f.show(phase, fmt.Sprintf("%v; it is tried again", err))
		timer := time.NewTimer(wait)
		again := f.claims.changed
		for fired := false; !fired && f.claims.changed.Equal(again); {
			select {
			case <-timer.C:
				fired = true
			case <-ctx.Done():
				fired = true
			case <-f.changes:
			}
			if f.gone() {
				timer.Stop()
				return
			}
			_, _ = f.claims.read(f.root, f.mayOwn) // only whether it has changed
		}
		timer.Stop()
	}
}

// How long a run that cannot be started or ended is left alone.
const (
	firstRetry = 2 * time.Second
	lastRetry  = 2 * time.Minute
)

// awaitClaim waits for a claim that can be read. A run that has begun is known without it.
func (f *folder) awaitClaim(ctx context.Context) (schema.Claim, bool) {
	for {
		claim, err := f.claims.read(f.root, f.mayOwn)
		if err == nil && !claim.Task().Valid() {
			err = refused("it does not say whose run it is; add taskId")
		}
		if err == nil {
			return claim, true
		}
		if one, begun, recordErr := f.s.records.read(f.name); recordErr == nil && begun {
			return schema.Claim{TaskID: one.TaskID, ClaimAnswer: schema.ClaimAnswer{RunID: one.RunID}}, true
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if f.board.snapshot("").Phase != schema.PhaseWaiting || f.hasStatus() {
				f.show(schema.PhaseWaiting, "there is no claim.json")
			}
		default:
			f.show(schema.PhaseRefused, claimFile+": "+err.Error())
		}
		if !f.await(ctx, nil, nil) {
			return schema.Claim{}, false
		}
	}
}

// hasStatus reports whether something was said of the folder already.
func (f *folder) hasStatus() bool { return f.board.snapshot("").Reason != "" }

// oneRun takes a run from its claim as far as it comes. The error is why it is not over, nil also when ctx has ended.
func (f *folder) oneRun(ctx, life context.Context, claim schema.Claim) error {
	f.task, f.runID, f.known = claim.Task(), claim.RunID, true
	key := record{TaskID: f.task, RunID: f.runID}.run()
	if other, taken := f.s.takeRun(key, f.name); taken {
		return refused("the run is that of the folder %s", printable(other))
	}
	one, begun, err := f.s.records.read(f.name)
	switch {
	case err != nil:
		return err
	case begun && one.run() != key:
		if begun, err = false, f.anotherRun(ctx, one); err != nil {
			return err
		}
	case begun && one.Over != "" && !f.keepsClaim(one, key):
		f.showEnd(one)
		return nil
	}
	if !f.slot(ctx) {
		return nil
	}
	defer func() { <-f.s.slots }()

	run, err := f.start(ctx, life, claim, filepath.Join(f.s.o.State, key), begun)
	if err != nil || run == nil {
		return f.notStarted(ctx, err)
	}
	f.current.Store(run)
	f.hinted = true
	err = newWork(f, run).toTheEnd(ctx, life)
	f.current.Store(nil)
	f.board.claimed(time.Time{})
	if closing := run.Close(); closing != nil {
		f.logger.Error("cannot close run", "error", closing)
	}
	return err
}

// anotherRun is for a claim of another run than the folder was for: perhaps it is a new folder of the same name, and the
// old one has gone while nobody looked.
func (f *folder) anotherRun(ctx context.Context, one record) error {
	finish, err := f.root.Lstat(finishFile)
	if err == nil && one.Over != "" && finish.ModTime().Before(f.claims.changed) { // the one of the old run
		return refused("%s is for another run now: this folder was that of run %d of task %s; make a folder for each run", claimFile, one.RunID, one.TaskID)
	}
	if !f.s.conclude(ctx, one) {
		return fmt.Errorf("run %d of task %s, which this folder was for, cannot be ended", one.RunID, one.TaskID)
	}
	if err := f.s.records.forget(f.name); err != nil {
		return fmt.Errorf("forget the run that this folder was for: %w", err)
	}
	return nil
}

// keepsClaim reports whether the claim of a run that is over has to be kept until the worker has reported it.
func (f *folder) keepsClaim(one record, key string) bool {
	_, err := os.Lstat(filepath.Join(f.s.o.State, key))
	return err == nil && one.Over == schema.PhaseResultStored
}

// lose says that the claim is gone.
func (f *folder) lose(cause error) error {
	var lost *agent.ClaimLostError
	reason := cause.Error()
	if errors.As(cause, &lost) {
		reason = lost.Error()
	}
	if err := replace(f.root, claimLostFile, []byte(printable(reason)+"\n")); err != nil {
		f.logger.Warn("cannot tell the worker that the claim is lost", "error", err)
	}
	f.s.o.Counters.RunEnded(ops.ClaimLost)
	return f.end(schema.PhaseClaimLost, reason)
}

// end says that the run is over, and how, also to the next process.
func (f *folder) end(phase schema.Phase, reason string) error {
	err := f.remember(phase, reason)
	f.show(phase, reason)
	if err != nil {
		f.logger.Error("cannot remember that a run is over", "error", err)
	}
	return nil
}

// showEnd says what became of a run that was over before. If status.json says so already, it stays as it is.
func (f *folder) showEnd(one record) {
	file, _, err := openPlain(f.root, statusFile)
	if err == nil {
		defer file.Close() // only read
		var data []byte
		if data, err = readWhole(file, schema.MaxBytes); err == nil {
			said, err := schema.Decode[schema.Status](statusFile, data)
			if err == nil && said.Phase == one.Over && said.TaskID == one.TaskID {
				f.board.restore(said)
				return
			}
		}
	}
	f.show(one.Over, one.Reason)
}

// remember writes down how the run ended, or that it has begun.
func (f *folder) remember(over schema.Phase, reason string) error {
	return f.s.records.write(record{Folder: f.name, TaskID: f.task, RunID: f.runID, Over: over, Reason: reason})
}

// logNames are the logs that there are, so that logs.json names them from the start.
func (f *folder) logNames() []string {
	names := []string{}
	for _, file := range lookBelow(f.root, logsDir).files {
		if agent.CheckName(file.path) == nil && len(names) < f.s.o.MaxLogs {
			names = append(names, file.path)
		}
	}
	return names
}
