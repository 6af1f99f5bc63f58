package agent

import (
	"context"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/upload"
)

// Observer is told what happens in a run: enough for metrics and for progress bars. Any of its functions may be nil. For how
// things stand at a moment, ask [Run.Progress].
//
// They are called from goroutines of the run, several at a time, some with a lock held: they must be safe for concurrent use, return at
// once, and not call methods of the Run. Nothing they are given holds a secret: a URL that lets in whoever knows it is left out of receipts.
type Observer struct {
	// ArtifactAdded: an artifact of so many bytes is to be stored; it ends as stored or missing, unless the run ends before. One
	// that is added again starts over. A log is one from its end on.
	ArtifactAdded func(name string, size int64)
	// ArtifactSent: of the size bytes that are stored of an artifact, gzipped perhaps, so many are on their way or have
	// arrived. At most ten times a second for each, and when all are; sent falls where an attempt has failed.
	ArtifactSent func(name string, sent, size int64)
	// ArtifactStored: an artifact is stored, now, or before the run was resumed, which its receipt does not tell.
	ArtifactStored func(upload.Receipt)
	// ArtifactMissing: an artifact will not be stored.
	ArtifactMissing func(name, reason string)

	// ObjectStored: an object was stored just now: a document, an artifact, or one of those that a live log is made of.
	ObjectStored func(upload.Receipt)
	// LogFlushed: readers of a log can see so many bytes of it.
	LogFlushed func(name string, size int64)
	// Retrying: something of an object is sent again, because of one of the Err... of package upload.
	Retrying func(name string, kind error)
	// GrantRenewed: there are fresh signed URLs for an object, while it is stored.
	GrantRenewed func(name string)
	// Reclaimed: the queue has renewed the claim, until then.
	Reclaimed func(takenUntil time.Time)
	// JournalFailed: the disk cannot keep the run's journal, so that the run ends.
	JournalFailed func(error)
}

func (o *Observer) artifactAdded(name string, size int64) {
	if o.ArtifactAdded != nil {
		o.ArtifactAdded(name, size)
	}
}

func (o *Observer) artifactStored(r upload.Receipt) {
	if o.ArtifactStored != nil {
		o.ArtifactStored(withoutSecret(r))
	}
}

func (o *Observer) artifactMissing(name, reason string) {
	if o.ArtifactMissing != nil {
		o.ArtifactMissing(name, reason)
	}
}

func (o *Observer) logFlushed(name string, size int64) {
	if o.LogFlushed != nil {
		o.LogFlushed(name, size)
	}
}

func (o *Observer) reclaimed(until time.Time) {
	if o.Reclaimed != nil {
		o.Reclaimed(until)
	}
}

func (o *Observer) journalFailed(err error) {
	if o.JournalFailed != nil {
		o.JournalFailed(err)
	}
}

// sent is what tells of an artifact on its way; nil if nobody listens.
func (o *Observer) sent(name string, size int64) func(int64) {
	if o.ArtifactSent == nil {
		return nil
	}
	return func(sent int64) { o.ArtifactSent(name, sent, size) }
}

// withoutSecret is a receipt without a URL that is a password.
func withoutSecret(r upload.Receipt) upload.Receipt {
	if !journal.MayHold(r.URL) {
		r.URL = ""
	}
	return r
}

// put stores an object, and tells the observer how it goes.
func (r *Run) put(ctx context.Context, g upload.Grant, src upload.Source, o upload.PutOptions) (upload.Receipt, error) {
	told := &r.o.Observer
	if told.Retrying != nil {
		o.OnRetry = func(kind error) { told.Retrying(o.Name, kind) }
	}
	if told.GrantRenewed != nil && o.Renew != nil {
		fresh := o.Renew
		o.Renew = func(ctx context.Context) (upload.Grant, error) {
			g, err := fresh(ctx)
			if err == nil {
				told.GrantRenewed(o.Name)
			}
			return told.ofParts(o.Name, g), err
		}
	}
	receipt, err := r.uploads.Put(ctx, told.ofParts(o.Name, g), src, o)
	if err == nil && told.ObjectStored != nil {
		told.ObjectStored(withoutSecret(receipt))
	}
	return receipt, err
}

// ofParts is a grant that tells, too, when the URLs of parts are renewed.
func (o *Observer) ofParts(name string, g upload.Grant) upload.Grant {
	if o.GrantRenewed == nil || g.Multipart == nil || g.Multipart.Renew == nil {
		return g
	}
	m, fresh := *g.Multipart, g.Multipart.Renew
	m.Renew = func(ctx context.Context, first int) (upload.Multipart, error) {
		more, err := fresh(ctx, first)
		if err == nil {
			o.GrantRenewed(name)
		}
		return more, err
	}
	g.Multipart = &m
	return g
}

// textSent is what tells of the text of a log that has ended; nil of other objects, and before.
func (r *Run) textSent(log string, o livelog.Object) func(int64) {
	if o.Name != log {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed.IsZero() {
		return nil
	}
	return r.o.Observer.sent(log, o.Body.Size())
}
