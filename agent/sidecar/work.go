package sidecar

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/files"
	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
	"github.com/taskcluster/upload-agent/agent/watch"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// work is one run while it is open, from its start to its end.
type work struct {
	*folder
	run       *agent.Run
	places    *places
	followers map[string]*follower // by log
	settled   watch.Settled
	tally     *ops.Tally

	logs, artifacts, ending, reading trouble
	logsAgain, artifactsAgain        time.Time // they are not looked for before that
	settles                          time.Time // when the next artifact may have settled; zero: none
	reported                         schema.Phase
	reportAgain                      time.Time        // in the same phase there is no report before that
	logsDue, artifactsDue, reportDue bool             // there may be something new
	refused                          map[string]error // artifacts that the run did not take
	wake                             time.Time        // when to look again whatever happens; zero: it is not known that anything will
}

func newWork(f *folder, run *agent.Run) *work {
	w := &work{folder: f, run: run, settled: watch.Settled{After: f.s.o.Settle}, followers: map[string]*follower{}, refused: map[string]error{}, tally: f.s.o.Counters.NewTally()}
	p := run.Progress()
	w.tally.Skip(p.Logs, p.Stored, p.Missing) // what an earlier process has done
	return w
}

// trouble is what is wrong with some files: their names as artifacts or logs, and what is wrong.
type trouble struct {
	dir string
	bad map[string]error
}

func (t *trouble) add(name string, err error) {
	if t.bad == nil {
		t.bad = map[string]error{}
	}
	if t.bad[name] == nil {
		t.bad[name] = err
	}
}

// toTheEnd follows logs and uploads artifacts until the worker says that it has finished, and ends the run.
// The error is why the run is not over; nil also when ctx has ended.
func (w *work) toTheEnd(ctx, life context.Context) (err error) {
	defer w.closeFollowers()
	if w.places, err = openPlaces(w.s.records.path(w.name, placesEnding)); err != nil {
		return err
	}
	defer w.places.close() // what is in it is synced
	if outcome, settled := w.run.Settled(); settled {
		return w.finish(ctx, life, outcome)
	}
	for _, name := range w.places.logs() { // their files may have other names by now
		w.follow(name, lookBelow(w.root, logsDir))
	}
	for {
		more := w.look()
		finish, finished := w.readFinish()
		w.report(schema.PhaseRunning, "")
		switch {
		case w.run.Context().Err() != nil:
			return w.ended(ctx, context.Cause(w.run.Context()))
		case ctx.Err() != nil:
			return nil
		case finished:
			err := w.complete(ctx, life, finish)
			if _, settled := w.run.Settled(); settled || err == nil || w.run.Context().Err() != nil {
				return err
			}
			w.ends.err = err // what it says cannot be: the worker has to say something else
		case !more && !w.awaitChange(ctx):
			if ctx.Err() == nil && w.gone() {
				return w.abandon(life)
			}
			return nil
		}
	}
}

// awaitChange waits until there may be something to do.
func (w *work) awaitChange(ctx context.Context) bool {
	var wake <-chan time.Time
	if !w.wake.IsZero() {
		timer := time.NewTimer(max(time.Until(w.wake), time.Millisecond))
		defer timer.Stop()
		wake = timer.C
	}
	return w.await(ctx, wake, w.run.Context().Done())
}

// wakeAt sees to it that there is a look at a time, or before.
func (w *work) wakeAt(t time.Time) {
	if w.wake.IsZero() || t.Before(w.wake) {
		w.wake = t
	}
}

// look sees what has changed. more says that there is more to read at once.
func (w *work) look() (more bool) {
	now := time.Now()
	if w.hinted { // or a timer has run down, for what is due alone: else each would set another one
		w.hinted, w.logsDue, w.artifactsDue, w.reportDue = false, true, true, true
	}
	if !w.settles.IsZero() && !now.Before(w.settles) {
		w.artifactsDue = true
	}
	w.wake = time.Time{}
	if w.logsDue && !now.Before(w.logsAgain) {
		w.logsDue = false
		w.lookForLogs()
	}
	more = w.readLogs()
	if w.artifactsDue && !now.Before(w.artifactsAgain) {
		w.artifactsDue = false
		w.lookForArtifacts(false)
		w.reportDue = true
	}
	if w.logsDue {
		w.wakeAt(w.logsAgain)
	}
	if w.artifactsDue {
		w.wakeAt(w.artifactsAgain)
	}
	if !w.settles.IsZero() {
		w.wakeAt(later(w.settles, w.artifactsAgain))
	}
	return more
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// A folder is not listed again so soon, nor sooner than ten times what that takes.
const (
	logsAfter      = 100 * time.Millisecond
	artifactsAfter = 500 * time.Millisecond
)

// reportAfter is how long status.json is not written again in the same phase, nor sooner than twenty times what that takes.
const reportAfter = 250 * time.Millisecond

// lookForLogs finds new ones.
func (w *work) lookForLogs() {
	began := time.Now()
	there := lookBelow(w.root, logsDir)
	w.logs = trouble{dir: logsDir}
	for name, err := range there.problems {
		w.logs.add(name, err)
	}
	for _, file := range there.files {
		if w.followers[file.path] != nil || w.isRead(file) {
			continue
		}
		if err := w.mayBeLog(file.path); err != nil {
			w.logs.add(file.path, err)
			continue
		}
		w.follow(file.path, there)
	}
	w.logsAgain = time.Now().Add(max(logsAfter, 10*time.Since(began)))
}

// follow begins to read a log, or goes on.
func (w *work) follow(name string, there tree) {
	w.followers[name] = newFollower(w.root, w.run, w.places, &w.s.pieces, name, path.Join(logsDir, name), func(id identity) (*os.File, fs.FileInfo) { return w.fileOf(id, there) })
}

// readLogs reads what is new in the logs.
func (w *work) readLogs() (more bool) {
	w.reading = trouble{dir: logsDir}
	for name, f := range w.followers {
		again, err := f.pass()
		if err != nil {
			w.reading.add(name, err)
		}
		more = more || again
	}
	return more
}

func (w *work) mayBeLog(name string) error {
	if err := agent.CheckName(name); err != nil {
		return err
	}
	if len(w.followers) >= w.s.o.MaxLogs {
		return refused("more than %d logs: this one is not read", w.s.o.MaxLogs)
	}
	return nil
}

// isRead reports whether a file is one that a log is read from, or was: it was rotated. That one is still open leaves no doubt; else
// it has to have begun as that file did, and to be called after the log.
func (w *work) isRead(file found) bool {
	head, seen := w.places.headOf(identify(file.info))
	for name, f := range w.followers {
		if f.reads(file.info) || seen && strings.HasPrefix(file.path, name) && w.begins(file, head) {
			return true
		}
	}
	return false
}

func (w *work) begins(file found, head []byte) bool {
	f, info, err := openPlain(w.root, path.Join(logsDir, file.path))
	if err != nil {
		return false
	}
	s := newSource(f, info)
	defer s.close()
	return s.beginsWith(head)
}

// fileOf opens the file of an identity, which may have another name than before.
func (w *work) fileOf(id identity, logs tree) (*os.File, fs.FileInfo) {
	for _, file := range logs.files {
		if identify(file.info) != id {
			continue
		}
		if f, info, err := openPlain(w.root, path.Join(logsDir, file.path)); err == nil {
			return f, info
		}
	}
	return nil, nil
}

// lookForArtifacts uploads those that have settled; at the end, all.
func (w *work) lookForArtifacts(end bool) {
	began := time.Now()
	there := lookBelow(w.root, artifactsDir)
	w.artifacts = trouble{dir: artifactsDir}
	for name, err := range there.problems {
		w.artifacts.add(name, err)
	}
	var candidates []files.File
	for _, file := range there.files {
		if err := agent.CheckName(file.path); err != nil {
			w.artifacts.add(file.path, err)
			continue
		}
		candidates = append(candidates, files.File{Name: file.path, Size: file.info.Size(), Info: file.info, Source: w.source(file.path)})
	}
	look := watch.Look{}
	if end {
		look.Settled = w.settled.Rest(candidates)
	} else {
		look = w.settled.Look(began, candidates)
	}
	for _, file := range look.Settled {
		delete(w.refused, file.Name)
		if err := w.run.AddArtifact(file.Name, file.Source, agent.ArtifactOptions{Replace: true}); err != nil {
			w.refused[file.Name] = err
		}
	}
	for name, err := range w.refused {
		w.artifacts.add(name, err)
	}
	w.settles = look.Next
	w.artifactsAgain = time.Now().Add(max(artifactsAfter, 10*time.Since(began)))
}

// source reads an artifact, and nothing outside of the folders of the runs, whatever happens to it meanwhile.
func (w *work) source(name string) upload.Source {
	return upload.Place{Folder: w.s.dir, Name: path.Join(w.name, artifactsDir, name), Symlinks: upload.SymlinksSkip}.Source()
}

// readFinish says whether the worker has finished, and how.
func (w *work) readFinish() (schema.Finish, bool) {
	w.ending = trouble{}
	finish, err := w.ends.read(w.root, w.mayOwn)
	if errors.Is(err, fs.ErrNotExist) {
		return finish, false
	}
	if err != nil {
		w.ending.add(finishFile, err)
		return finish, false
	}
	return finish, true
}

// report shows how far the run is.
func (w *work) report(phase schema.Phase, reason string) {
	began := time.Now()
	if w.reported == phase && began.Before(w.reportAgain) {
		if w.reportDue {
			w.wakeAt(w.reportAgain)
		}
		return
	}
	p := w.run.Progress()
	w.board.claimed(p.TakenUntil)
	w.tally.Look(p.Logs, p.Stored, p.Missing)
	s := schema.Status{
		Phase: phase, Reason: printable(reason), Waiting: p.Waiting,
		Logs: map[string]int64{}, Stored: make(map[string]int64, len(p.Stored)), Missing: p.Missing, Problems: map[string]string{},
	}
	for _, t := range []trouble{w.ending, w.logs, w.reading, w.artifacts} {
		for _, name := range slices.Sorted(maps.Keys(t.bad)) {
			note(s.Problems, path.Join(t.dir, name), t.bad[name])
		}
	}
	for name, f := range w.followers {
		s.Logs[name] = f.taken
	}
	for name, receipt := range p.Stored {
		s.Stored[name] = receipt.Size
	}
	w.put(s)
	w.reported, w.reportAgain = phase, time.Now().Add(max(reportAfter, 20*time.Since(began)))
	if w.reportDue = p.Waiting > 0; w.reportDue {
		w.wakeAt(w.reportAgain)
	}
}
