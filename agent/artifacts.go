package agent

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/gabriel-vasile/mimetype"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// ArtifactOptions of one artifact. The zero value works.
type ArtifactOptions struct {
	// ContentType is what the artifact is served as. Default: told from its first bytes.
	ContentType string
}

// artifacts uploads a run's artifacts, a bounded number at once, in the order they came.
type artifacts struct {
	limit int
	spawn func(func()) bool // runs in a goroutine that the run waits for, unless it has ended
	put   func(artifact) (upload.Receipt, error)

	mu      sync.Mutex
	taken   map[string]bool // names, those of logs too
	closed  bool            // no more are taken
	waiting []artifact
	active  int           // uploading goroutines
	idle    chan struct{} // closed when the last of them ends; nil while there is none
	stored  map[string]upload.Receipt
	missing map[string]string
}

type artifact struct {
	name        string
	contentType string
	source      upload.Source
}

func newArtifacts(limit int, spawn func(func()) bool, put func(artifact) (upload.Receipt, error)) *artifacts {
	return &artifacts{
		limit: limit, spawn: spawn, put: put, taken: map[string]bool{},
		stored: map[string]upload.Receipt{}, missing: map[string]string{},
	}
}

// CheckName says whether an artifact or a log can have a name: one that
// [schema.ArtifactName] allows, outside the folder of the live logs. What it refuses is a *[schema.NameError].
func CheckName(name string) error {
	if strings.HasPrefix(name, livePrefix) {
		return &schema.NameError{Name: name, Reason: "is below " + livePrefix + ", where live logs are kept; give it another name"}
	}
	return schema.ArtifactName(name)
}

// reserve takes a name, so that no other artifact or log can have it.
func (a *artifacts) reserve(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.take(name)
}

// take reserves a name whatever it looks like. The caller holds mu until it has noted what the
// name is for: else the result could be frozen in between, without it.
func (a *artifacts) take(name string) error {
	if a.closed {
		return fmt.Errorf("add artifact %q: %w", name, ErrEnded)
	}
	if a.taken[name] {
		return fmt.Errorf("add artifact %q: %w by another artifact or log of this run", name, ErrArtifactName)
	}
	a.taken[name] = true
	return nil
}

// add uploads an artifact in the background.
func (a *artifacts) add(it artifact) error {
	if err := CheckName(it.name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.take(it.name); err != nil {
		return err
	}
	a.waiting = append(a.waiting, it)
	if a.active < a.limit {
		if !a.spawn(a.work) {
			return fmt.Errorf("add artifact %q: %w", it.name, ErrEnded)
		}
		if a.active == 0 {
			a.idle = make(chan struct{})
		}
		a.active++
	}
	return nil
}

// addMissing notes an artifact that there should have been.
func (a *artifacts) addMissing(name, reason string) error {
	name = strings.ToValidUTF8(name, "\uFFFD")
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.take(name); err != nil {
		return err
	}
	a.missing[name] = strings.ToValidUTF8(reason, "\uFFFD")
	return nil
}

// work uploads until nothing waits any more.
func (a *artifacts) work() {
	for {
		a.mu.Lock()
		if len(a.waiting) == 0 {
			a.active--
			if a.active == 0 {
				close(a.idle)
				a.idle = nil
			}
			a.mu.Unlock()
			return
		}
		it := a.waiting[0]
		a.waiting = a.waiting[1:]
		a.mu.Unlock()

		receipt, err := a.put(it)
		a.record(it.name, receipt, err)
	}
}

// record notes what became of an artifact: it is stored, or missing with a reason.
func (a *artifacts) record(name string, receipt upload.Receipt, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.missing[name] = strings.ToValidUTF8(err.Error(), "\uFFFD") // it may hold a file's name
		return
	}
	a.stored[name] = receipt
}

// close takes no more artifacts; those that came before go on.
func (a *artifacts) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// wait returns when nothing is being uploaded, or ctx ends.
func (a *artifacts) wait(ctx context.Context) error {
	for {
		a.mu.Lock()
		idle := a.idle
		a.mu.Unlock()
		if idle == nil {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// outcome is what is stored and what is missing so far.
func (a *artifacts) outcome() (stored map[string]upload.Receipt, missing map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.stored), maps.Clone(a.missing)
}

// contentType tells the type of an artifact from its first bytes.
func contentType(source upload.Source) (string, error) {
	head, err := source.Head(3072) // as much as mimetype looks at
	if err != nil {
		return "", err
	}
	return mimetype.Detect(head).String(), nil
}
