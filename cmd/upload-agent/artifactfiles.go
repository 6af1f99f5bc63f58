package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/files"
	"github.com/taskcluster/upload-agent/agent/watch"
)

// artifactFiles are the files that the artifacts of a run are made of. Those that have settled are uploaded while the command runs,
// all that is left when it has ended.
type artifactFiles struct {
	artifactSpecs
	run   *agent.Run
	watch watch.Options

	end      context.CancelFunc // nil: nothing is followed
	finished sync.WaitGroup

	// of whoever looks: of follow's goroutine, then of who has stopped it
	settled watch.Settled
	ours    []string        // folders that the agent itself writes to
	added   map[string]bool // artifacts by name
	refused []string        // names that could not be added
	matched map[string]bool // specs of what was added
}

func newArtifactFiles(run *agent.Run, specs artifactSpecs, logger *slog.Logger) *artifactFiles {
	return &artifactFiles{artifactSpecs: specs, run: run, watch: watch.Options{Hub: &watch.Hub{}, Logger: logger}, added: map[string]bool{}, matched: map[string]bool{}}
}

// follow uploads files while the command runs, each once it has not changed for so long. What was there before, and stays as it is, waits for the
// end: it may be of an earlier command, and this one about to remove it. So does what is in folders of ours, which would never come to rest.
func (a *artifactFiles) follow(settle time.Duration, ours ...string) {
	a.settled.After = settle
	for _, dir := range ours {
		if path, err := filepath.Abs(dir); err == nil && dir != "" {
			a.ours = append(a.ours, path)
		}
	}
	hints := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(a.run.Context())
	a.end = cancel
	a.settled.Before(a.look())
	for _, dir := range foldersOf(a.specs) {
		w, err := watch.New(dir, a.watch)
		if err != nil {
			a.watch.Logger.Warn("artifacts are not looked for before the end", "error", err)
			continue
		}
		a.finished.Go(func() {
			defer w.Close()
			pass(ctx, w.Changes(), hints)
		})
	}
	a.finished.Go(func() { a.addSettled(ctx, hints) })
}

// stop ends that.
func (a *artifactFiles) stop() {
	if a.end != nil {
		a.end()
		a.finished.Wait()
	}
}

// pass hands hints on.
func pass(ctx context.Context, from <-chan struct{}, to chan<- struct{}) {
	for {
		select {
		case <-from:
			select {
			case to <- struct{}{}:
			default:
			}
		case <-ctx.Done():
			return
		}
	}
}

// addSettled looks when there is a hint, or a file may have settled; but the looks take a twentieth of the time at most.
func (a *artifactFiles) addSettled(ctx context.Context, hints <-chan struct{}) {
	for {
		began := time.Now()
		look := a.settled.Look(began, a.look())
		for _, f := range look.Settled {
			if err := a.add(f); err != nil {
				a.refused = append(a.refused, f.Name) // the last look will say so
			}
		}
		next := time.NewTimer(20*time.Since(began) + 20*time.Millisecond)
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		}
		var settles <-chan time.Time
		if !look.Next.IsZero() {
			next.Reset(time.Until(look.Next))
			settles = next.C
		}
		select {
		case <-hints:
		case <-settles:
		case <-ctx.Done():
			next.Stop()
			return
		}
		next.Stop()
	}
}

// look finds what can be uploaded before the end.
func (a *artifactFiles) look() []files.File {
	found, _ := files.Select(a.specs, a.where) // what is wrong may be right at the end
	return slices.DeleteFunc(found, func(f files.File) bool {
		return slices.ContainsFunc(a.ours, func(dir string) bool { return isBelow(f.Source.Path(), dir) })
	})
}

// add gives the run a file, in the place of the same file as it was.
func (a *artifactFiles) add(f files.File) error {
	o := a.options
	o.Replace = a.added[f.Name]
	if err := a.run.AddArtifact(f.Name, f.Source, o); err != nil {
		return err
	}
	a.added[f.Name], a.matched[a.specs[f.Spec].String()] = true, true
	return nil
}

// addRest gives the run all files that it has not been given as they are now, the small ones first: if there is little
// time left, that is how most of them are stored. What cannot be added is listed as missing. What is gone, but was stored, stays.
func (a *artifactFiles) addRest() error {
	found, problems := files.Select(a.specs, a.where)
	for _, name := range a.refused {
		a.settled.Forget(name)
	}
	rest := a.settled.Rest(found)
	slices.SortStableFunc(rest, func(a, b files.File) int { return cmp.Compare(a.Size, b.Size) })
	var errs []error
	for _, f := range rest {
		if err := a.add(f); err != nil {
			name := f.Name
			if errors.Is(err, agent.ErrArtifactName) { // the name alone would not tell which is meant
				place, _ := f.Source.Place()
				name += "=" + place.Name
			}
			errs = append(errs, a.run.AddMissing(name, err.Error()))
		}
	}
	for _, p := range problems {
		name := p.Name
		switch {
		case errors.Is(p.Err, files.ErrNone) && a.matched[name], errors.Is(p.Err, fs.ErrNotExist) && a.added[name]:
			continue
		case a.added[name]:
			name += " (at the end)" // what it was before is stored
		}
		errs = append(errs, a.run.AddMissing(name, p.Err.Error()))
	}
	return errors.Join(errs...)
}

// foldersOf are the folders where files of the specs may be, or the files themselves, none below another.
func foldersOf(specs []files.Spec) (folders []string) {
	for _, s := range specs {
		dir, err := filepath.Abs(filepath.Join(s.Folder, filepath.FromSlash(s.Path)))
		if err != nil {
			continue // there is no working folder
		}
		if slices.ContainsFunc(folders, func(above string) bool { return isBelow(dir, above) }) {
			continue
		}
		folders = append(slices.DeleteFunc(folders, func(below string) bool { return isBelow(below, dir) }), dir)
	}
	return folders
}

// isBelow reports whether a path is that of a folder or of something in it.
func isBelow(path, folder string) bool {
	below, err := filepath.Rel(folder, path)
	return err == nil && below != ".." && !strings.HasPrefix(below, ".."+string(filepath.Separator))
}
