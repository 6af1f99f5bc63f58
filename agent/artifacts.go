package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// artifacts uploads a run's artifacts, a bounded number at once. Each waits for its signed URL, which is asked
// for together with those of others, and then for its turn.
type artifacts struct {
	spawn func(func()) bool // runs in a goroutine that the run waits for, unless it has ended
	grant grantFunc
	put   putFunc
	notes artifactNotes

	pooled bool // artifacts wait for their turns among those of other runs

	mu      sync.Mutex
	names   map[string]*artifact       // all that are taken, those of logs too; with the artifact while it waits or is under way
	closed  bool                       // no more are taken
	earlier map[string]earlierArtifact // of a resumed run, until somebody adds them again or the outcome is known
	waiting artifactQueue              // without a signed URL
	ready   artifactQueue              // with one
	asking  bool                       // for signed URLs, and nothing is wrong with it so far
	lanes   lanes                      // what is under way
	lined   linedUp                    // what of it waits for its turn among all runs
	idle    chan struct{}              // closed when the last of them ends; nil while there is none
	stored  map[string]upload.Receipt
	missing map[string]string
	skipped []string      // stored before the run was resumed
	changed chan struct{} // closed and replaced when an artifact is stored or missing
}

// artifactNotes writes down what becomes of artifacts. An error means that it cannot be.
type artifactNotes interface {
	artifactAdded(artifact) error
	artifactReplaced(artifact) error
	artifactQueued(name string, size int64)
	artifactStored(upload.Receipt) error
	artifactMissing(name, reason string) error
}

// grantFunc asks for the signed URLs of artifacts, by name, with their content types, and hands over each grant as soon as it is there.
// It calls trouble when that is going to take its time for those that are left. What the error means for a name, see grants.ask.
type grantFunc func(types map[string]string, granted func(string, upload.Grant), trouble func()) error

// putFunc stores an artifact. Where they wait for their turns among those of other runs, it calls admitted when it has its own, unless
// the run ends before.
type putFunc func(it *artifact, admitted func()) (upload.Receipt, error)

type artifact struct {
	name    string
	options ArtifactOptions
	source  upload.Source
	size    int64
	order   int             // in which it was queued
	grant   *upload.Grant   // nil until there is one. This and the next two are pointers, as ten thousand may wait
	known   *upload.Receipt // of an upload by an earlier process; nil if there was none
	before  *upload.Receipt // of what is stored, and is to be replaced; the same
	next    *artifact       // takes the place of this one when that has come to its end, whichever it is
}

// earlierArtifact is one that an earlier process of the run had added.
type earlierArtifact struct {
	artifact
	lost bool // its bytes died with that process
}

func newArtifacts(limit int, spawn func(func()) bool, grant grantFunc, put putFunc, notes artifactNotes) *artifacts {
	return &artifacts{
		lanes: lanes{limit: limit}, spawn: spawn, grant: grant, put: put, notes: notes, names: map[string]*artifact{}, earlier: map[string]earlierArtifact{},
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
	if _, taken := a.names[name]; taken {
		return fmt.Errorf("add artifact %q: %w by another artifact or log of this run", name, ErrArtifactName)
	}
	a.names[name] = nil
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
	switch {
	case again && !a.closed:
		if it.options.Replace {
			if err := a.notes.artifactReplaced(it); err != nil {
				return fmt.Errorf("replace artifact %q: %w", it.name, err)
			}
		}
		delete(a.earlier, it.name)
		it.known = earlier.known
		return a.enqueue(it)
	case it.options.Replace && !a.closed && a.knows(it.name):
		return a.replace(it)
	}
	if err := a.take(it.name); err != nil {
		return err
	}
	if err := a.notes.artifactAdded(it); err != nil {
		return fmt.Errorf("add artifact %q: %w", it.name, err)
	}
	return a.enqueue(it)
}

// knows says whether there is an artifact of that name. The caller holds mu.
func (a *artifacts) knows(name string) bool {
	_, stored := a.stored[name]
	_, missing := a.missing[name]
	return a.names[name] != nil || stored || missing
}

// replace has an artifact uploaded in the place of another. That is noted first: from the first byte on nobody knows what is stored.
// The caller holds mu.
func (a *artifacts) replace(it artifact) error {
	if err := a.notes.artifactReplaced(it); err != nil {
		return fmt.Errorf("replace artifact %q: %w", it.name, err)
	}
	if now := a.names[it.name]; now != nil {
		now.next = &it // two uploads at once, and nobody could tell which was the last
		return nil
	}
	if before, ok := a.stored[it.name]; ok {
		it.before = &before
	}
	delete(a.stored, it.name)
	delete(a.missing, it.name)
	a.hasChanged()
	return a.enqueue(it)
}

// enqueue has an artifact uploaded. The caller holds mu.
func (a *artifacts) enqueue(it artifact) error {
	a.names[it.name] = &it
	it.size, _ = it.source.Size() // what cannot be opened fails soon enough
	if it.known != nil || it.options.Gzip && it.isLarge() {
		a.ready.push(&it) // perhaps it need not be uploaded at all, or it takes its time before it can be
	} else {
		a.waiting.push(&it)
	}
	a.notes.artifactQueued(it.name, it.size)
	if !a.work() {
		return fmt.Errorf("add artifact %q: %w", it.name, ErrEnded)
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
	a.hasChanged()
	return nil
}

// end notes what became of an artifact.
func (a *artifacts) end(it *artifact, receipt upload.Receipt, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if it.isLarge() {
		a.lanes.large--
	}
	if err == nil && it.known != nil && receipt == *it.known {
		a.skipped = append(a.skipped, it.name)
	}
	_ = a.settle(it.name, receipt, err) // where it cannot be noted, the run has ended
}

// record notes what became of an artifact or a log: it is stored, or missing with a reason.
func (a *artifacts) record(name string, receipt upload.Receipt, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settle(name, receipt, err)
}

// settle is record; the caller holds mu.
func (a *artifacts) settle(name string, receipt upload.Receipt, err error) error {
	if errors.Is(err, errCutOff) {
		return nil // nothing is known of it: a resumed run tries again
	}
	if it := a.names[name]; it != nil {
		a.names[name] = nil
		if it.next != nil {
			return a.enqueue(*it.next)
		}
		if it.before != nil && errors.Is(err, fs.ErrNotExist) {
			receipt, err = *it.before, nil // it was gone before anything was sent, and is stored as it was
		}
	}
	if err != nil {
		reason := strings.ToValidUTF8(err.Error(), "\uFFFD") // it may hold a file's name
		if err := a.notes.artifactMissing(name, reason); err != nil {
			return err
		}
		a.missing[name] = reason
		a.hasChanged()
		return nil
	}
	receipt.Name = name
	if err := a.notes.artifactStored(receipt); err != nil {
		return err
	}
	a.stored[name] = receipt
	a.hasChanged()
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
		case it.known != nil:
			a.stored[name] = *it.known
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
	a.hasChanged()
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

// outcome is what is stored and what is missing, and what was stored before the run was resumed. It is for the end, when
// nothing changes any more: so nothing is copied, of ten thousand artifacts megabytes.
func (a *artifacts) outcome() (stored map[string]upload.Receipt, missing map[string]string, skipped []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stored, a.missing, slices.Sorted(slices.Values(a.skipped))
}
