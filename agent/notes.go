package agent

import (
	"bytes"
	"fmt"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// What the run writes into its journal besides the steps of its end (run.go, report.go).

// watchJournal ends the run when its journal cannot be kept any more: what it would do from there
// on, nobody could resume.
func (r *Run) watchJournal() {
	select {
	case <-r.folder.journal.Failed():
		r.end(&StateError{Dir: r.folder.path, Err: r.folder.journal.Err()})
		r.o.Observer.journalFailed(r.folder.journal.Err())
	case <-r.ctx.Done():
	}
}

func (r *Run) note(record journal.Record) error { return r.folder.journal.Note(record) }

// claimRenewed is called with the new end of the claim. Where it cannot be noted, the run ends anyway.
func (r *Run) claimRenewed(until time.Time) {
	_ = r.note(journal.Record{Step: journal.Renewed, Until: &until})
	r.o.Observer.reclaimed(until)
}

// artifactAdded notes an artifact, and the file from which a resumed run can upload it.
func (r *Run) artifactAdded(it artifact) error { return r.noteArtifact(journal.ArtifactAdded, it) }

// artifactReplaced notes that an artifact takes the place of what is stored or missing.
func (r *Run) artifactReplaced(it artifact) error {
	return r.noteArtifact(journal.ArtifactReplaced, it)
}

func (r *Run) noteArtifact(step journal.Step, it artifact) error {
	added := journal.Artifact{
		Name: it.name, ContentType: it.options.ContentType, Gzip: it.options.Gzip,
		CacheControl: it.options.CacheControl, ContentDisposition: it.options.ContentDisposition,
	}
	if file := it.source.Path(); file != "" {
		path, err := filepath.Abs(file)
		if err != nil {
			return fmt.Errorf("note artifact %q: %w", it.name, err)
		}
		if utf8.ValidString(path) { // else the journal cannot hold it
			added.Path = path
		}
	}
	if place, ok := it.source.Place(); ok && added.Path != "" {
		added.Path, added.Folder, added.Symlinks, added.HardLinks = place.Name, place.Folder, place.Symlinks, place.HardLinks
	}
	return r.note(journal.Record{Step: step, Artifact: &added})
}

// earlier is an artifact that the journal knows, with the same ways into its file as before.
func earlier(added journal.Artifact) earlierArtifact {
	it := artifact{name: added.Name, source: upload.File(added.Path), options: ArtifactOptions{
		ContentType: added.ContentType, Gzip: added.Gzip, CacheControl: added.CacheControl, ContentDisposition: added.ContentDisposition,
	}}
	if added.Folder != "" {
		it.source = upload.Place{Folder: added.Folder, Name: added.Path, Symlinks: added.Symlinks, HardLinks: added.HardLinks}.Source()
	}
	return earlierArtifact{artifact: it, lost: added.Path == ""}
}

func (r *Run) artifactQueued(name string, size int64) { r.o.Observer.artifactAdded(name, size) }

// artifactStored notes what need not be stored again; it can be, so nobody waits until this is written.
func (r *Run) artifactStored(receipt upload.Receipt) error {
	err := r.folder.journal.Jot(journal.Record{Step: journal.ArtifactStored, Receipt: journalled(receipt)})
	if err == nil {
		r.o.Observer.artifactStored(receipt)
	}
	return err
}

func (r *Run) artifactMissing(name, reason string) error {
	err := r.noteMissing(name, reason)
	if err == nil {
		r.o.Observer.artifactMissing(name, reason)
	}
	return err
}

// noteMissing notes that an artifact is missing, or that a log will be.
func (r *Run) noteMissing(name, reason string) error {
	return r.note(journal.Record{Step: journal.ArtifactMissing, Missing: &journal.Missing{Name: name, Reason: reason}})
}

// logLoss notes what is missing in a log. One that is marked has to be known to whoever resumes the run before anybody sees the mark.
func (r *Run) logLoss(name string, l livelog.Loss) error {
	known := journal.Loss(l)
	record := journal.Record{Step: journal.LogLoss, Log: name, Loss: &known}
	if l.Open {
		r.o.Logger.Warn("disk does not take a log", "log", name, "reason", l.Reason)
		return r.note(record)
	}
	if l.Any() {
		r.o.Logger.Warn("log is not whole, and says so", "log", name, "loss", l.String())
	}
	return r.folder.journal.Append(record)
}

// noteChunk notes a chunk, so that it is not stored again. One that only a signed URL leads to is not noted.
func (r *Run) noteChunk(log string, c schema.Chunk) {
	if !journal.MayHold(c.URL) {
		return
	}
	// Where it cannot be noted, the run ends anyway.
	_ = r.note(journal.Record{Step: journal.ChunkStored, Log: log, Chunk: &c})
}

// journalled is a receipt as the journal keeps it.
func journalled(r upload.Receipt) *journal.Receipt {
	kept := &journal.Receipt{Name: r.Name, URL: r.URL, Size: r.Size, Digest: r.Digest, ETag: r.ETag, Expires: r.Expires, Attempts: r.Attempts}
	if !journal.MayHold(r.URL) {
		kept.URL = "" // a resumed run stores it again
	}
	return kept
}

// receiptOf is the receipt that the journal has kept.
func receiptOf(r journal.Receipt) upload.Receipt {
	return upload.Receipt{Name: r.Name, URL: r.URL, Size: r.Size, Digest: r.Digest, ETag: r.ETag, Expires: r.Expires, Attempts: r.Attempts}
}

// journalled is the claim as the journal keeps it.
func (l *lease) journalled(queueURL string) journal.Claim {
	return journal.Claim{TaskID: l.taskID, RunID: l.runID, Worker: l.worker, Queue: queueURL, Until: l.current().until}
}

// sameOutcome says whether the worker says the same of the run.
func sameOutcome(a, b journal.Outcome) bool {
	return a.Success == b.Success && bytes.Equal(a.Result, b.Result)
}
