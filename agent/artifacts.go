package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// smallArtifact is the most bytes that an artifact may have to go before all larger ones.
const smallArtifact = 1 << 20

// artifacts uploads a run's artifacts, a bounded number at once, the smallest first: when there is little time
// left, as many as possible have to be stored. One upload at once is kept for those that are
// small, so that large ones under way do not hold them up.
type artifacts struct {
	limit int
	spawn func(func()) bool // runs in a goroutine that the run waits for, unless it has ended
	put   func(artifact) (upload.Receipt, error)
	notes artifactNotes

	mu      sync.Mutex
	taken   map[string]bool            // names, those of logs too
	closed  bool                       // no more are taken
	earlier map[string]earlierArtifact // of a resumed run, until somebody adds them again or the outcome is known
	waiting []artifact                 // sorted by size
	active  int                        // uploading goroutines
	large   int                        // of which with a large artifact
	idle    chan struct{}              // closed when the last of them ends; nil while there is none
	stored  map[string]upload.Receipt
	missing map[string]string
	skipped []string // stored before the run was resumed
}

// artifactNotes writes down what becomes of artifacts. An error means that it cannot be.
type artifactNotes interface {
	artifactAdded(artifact) error
	artifactStored(upload.Receipt) error
	artifactMissing(name, reason string) error
}

type artifact struct {
	name    string
	options ArtifactOptions
	source  upload.Source
	size    int64
	known   upload.Receipt // of an earlier upload; its Name is "" if there was none
}

// earlierArtifact is one that an earlier process of the run had added.
type earlierArtifact struct {
	artifact
	lost bool // its bytes died with that process
}

func newArtifacts(limit int, spawn func(func()) bool, put func(artifact) (upload.Receipt, error), notes artifactNotes) *artifacts {
	return &artifacts{
		limit: limit, spawn: spawn, put: put, notes: notes, taken: map[string]bool{}, earlier: map[string]earlierArtifact{},
		stored: map[string]upload.Receipt{}, missing: map[string]string{},
	}
}

// CheckName says whether an artifact or a log can have a name: one that
// [schema.ArtifactName] allows, outside the folders of the live logs. What it refuses is a *[schema.NameError].
func CheckName(name string) error {
	if strings.HasPrefix(name, livePrefix) {
		return &schema.NameError{Name: name, Reason: "is below " + livePrefix + ", where live logs are kept; give it another name"}
	}
	if strings.HasPrefix(name, streamPrefix) {
		return &schema.NameError{Name: name, Reason: "is below " + streamPrefix + ", where logs.json has the links to logs that are being written; give it another name"}
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
	if err := it.options.check(); err != nil {
		return fmt.Errorf("add artifact %q: %w", it.name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	earlier, again := a.earlier[it.name]
	if again && !a.closed {
		delete(a.earlier, it.name)
		it.known = earlier.known
		return a.enqueue(it)
	}
	if err := a.take(it.name); err != nil {
		return err
	}
	if err := a.notes.artifactAdded(it); err != nil {
		return fmt.Errorf("add artifact %q: %w", it.name, err)
	}
	return a.enqueue(it)
}

// enqueue has an artifact uploaded. The caller holds mu.
func (a *artifacts) enqueue(it artifact) error {
	it.size, _ = it.source.Size() // what cannot be opened fails soon enough
	at := sort.Search(len(a.waiting), func(i int) bool { return a.waiting[i].size > it.size })
	a.waiting = slices.Insert(a.waiting, at, it)
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
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.take(name); err != nil {
		return err
	}
	if err := a.notes.artifactMissing(name, reason); err != nil {
		return fmt.Errorf("note missing artifact %q: %w", name, err)
	}
	a.missing[name] = reason
	return nil
}

// work uploads until nothing waits any more that it may take.
func (a *artifacts) work() {
	for {
		it, ok := a.begin()
		if !ok {
			return
		}
		receipt, err := a.put(it) // not under the lock, not even a deferred one: a panic has to get through
		a.end(it, receipt, err)
	}
}

// begin takes the next artifact. If there is none, this goroutine is done.
func (a *artifacts) begin() (artifact, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	it, ok := a.next()
	switch {
	case ok && it.size > smallArtifact:
		a.large++
	case !ok:
		if a.active--; a.active == 0 {
			close(a.idle)
			a.idle = nil
		}
	}
	return it, ok
}

// end notes what became of an artifact.
func (a *artifacts) end(it artifact, receipt upload.Receipt, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if it.size > smallArtifact {
		a.large--
	}
	if err == nil && receipt == it.known {
		a.skipped = append(a.skipped, it.name)
	}
	_ = a.settle(it.name, receipt, err) // where it cannot be noted, the run has ended
}

// next takes the artifact to upload now. The caller holds mu.
func (a *artifacts) next() (artifact, bool) {
	if len(a.waiting) == 0 || a.waiting[0].size > smallArtifact && a.large >= max(1, a.limit-1) {
		return artifact{}, false
	}
	it := a.waiting[0]
	a.waiting = a.waiting[1:]
	return it, true
}

// record notes what became of an artifact or a log: it is stored, or missing with a reason.
func (a *artifacts) record(name string, receipt upload.Receipt, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settle(name, receipt, err)
}

// settle is record; the caller holds mu.
func (a *artifacts) settle(name string, receipt upload.Receipt, err error) error {
	if err != nil {
		reason := strings.ToValidUTF8(err.Error(), "\uFFFD") // it may hold a file's name
		if errors.Is(err, errCutOff) {
			return nil // nothing is known of it: a resumed run tries again
		}
		if err := a.notes.artifactMissing(name, reason); err != nil {
			return err
		}
		a.missing[name] = reason
		return nil
	}
	receipt.Name = name
	if err := a.notes.artifactStored(receipt); err != nil {
		return err
	}
	a.stored[name] = receipt
	return nil
}

// errCutOff is the error of an upload that the end of the run has ended.
var errCutOff = errors.New("the run has ended meanwhile")

// close takes no more artifacts; those that came before go on. Of a resumed run, those that
// nobody has added again are what the earlier process made of them.
func (a *artifacts) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for name, it := range a.earlier {
		switch {
		case it.known.Name != "":
			a.stored[name] = it.known
			a.skipped = append(a.skipped, name)
		case it.lost:
			if err := a.settle(name, upload.Receipt{}, errLostBytes); err != nil {
				return err
			}
		default:
			if err := a.enqueue(it.artifact); err != nil {
				return err
			}
		}
		delete(a.earlier, name)
	}
	return nil
}

var errLostBytes = errors.New("the agent has ended unexpectedly before it was stored, and there is no file to upload it from: add artifacts as files whose path is UTF-8")

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

// outcome is what is stored and what is missing so far, and what was stored before the run was resumed.
func (a *artifacts) outcome() (stored map[string]upload.Receipt, missing map[string]string, skipped []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.stored), maps.Clone(a.missing), slices.Sorted(slices.Values(a.skipped))
}
