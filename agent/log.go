package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// runLog is one log of a run: a spool on the local disk and its publisher.
type runLog struct {
	name   string
	spool  *livelog.Spool
	quota  *livelog.Quota           // before the spool; nil where the log had ended before the run was resumed
	writer *livelog.RedactingWriter // to the quota; nothing gets to the spool otherwise
	chunks []schema.Chunk           // stored before the run was resumed

	// If known before the run was resumed:
	lost       string // why the spool is not whole, and does not say so
	incomplete string // what is missing in it, where it says so

	ctx     context.Context // of its publishing
	giveUp  context.CancelCauseFunc
	refused error // why the queue grants nothing to a log of this name; only the keeper of logs.json looks at it

	done    chan struct{}  // closed when the log is published to its end, or given up
	settled bool           // published, or given up, before the run was resumed
	err     error          // why it was given up; read after done
	receipt upload.Receipt // of the text as it was stored last; read after done

	stream *streamedLog // to readers who come to us, if anybody serves it
}

// livePrefix is where the parts of live logs are stored, and where logs.json names their indexes.
const livePrefix = "live/"

// Log is the writer of a log, which is made and declared in logs.json if there is none of that name.
// Writes never wait for the network. They fail after the run has ended, on a disk that has failed for good, and where
// the name cannot be a log's: it is checked as an artifact's is. A log that reaches [Options].LogLimit, or meets a full disk, goes on,
// and says itself what is missing in it, see [livelog.Quota] and [Summary].Incomplete. One that cannot
// say so counts as missing, with that reason, whether or not the writer looked.
// Secrets are taken out, see [Run.Redact].
// Safe for concurrent use; one Write is never torn apart.
func (r *Run) Log(name string) io.Writer {
	log, err := r.log(name)
	if err != nil {
		return brokenLog{err}
	}
	if log.lost != "" {
		return brokenLog{fmt.Errorf("write to log %q: it is not whole since before the run was resumed: %w", name, livelog.ErrSealed)}
	}
	return log.writer
}

// Redact has more values redacted in all logs of the run, besides those of [Options].Redact: from now on, so before the
// task knows them. See [livelog.Redactor] for the forms in which they are found. Values that are too short
// are a *[livelog.ShortSecretError] each; all others are redacted all the same.
func (r *Run) Redact(values ...string) error { return r.redactor.Add(values...) }

// Redacted is a writer without the secrets of the run in front of another one, such as the worker's own output. Close it after the last Write.
func (r *Run) Redacted(w io.Writer) *livelog.RedactingWriter { return r.redactor.Writer(w) }

// brokenLog stands for a log that could not be made.
type brokenLog struct{ err error }

func (b brokenLog) Write([]byte) (int, error) { return 0, b.err }

func (r *Run) log(name string) (*runLog, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if log, ok := r.logs[name]; ok {
		return log, nil
	}
	if !r.sealed.IsZero() {
		return nil, fmt.Errorf("make log %q: %w", name, ErrEnded)
	}
	if err := r.artifacts.reserve(name); err != nil {
		return nil, err
	}
	file, err := r.folder.createLog(len(r.logs))
	if err == nil {
		// Nobody may write to a log, or see it, that a resumed run would not know.
		err = r.folder.journal.Append(journal.Record{Step: journal.LogAdded, Log: name, Limit: r.o.LogLimit})
	}
	log := r.newLog(name)
	if err == nil {
		err = r.giveSpool(log, livelog.NewSpool(file, 0), len(r.logs), journal.Log{Limit: r.o.LogLimit})
	}
	if err != nil {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		err = fmt.Errorf("make log %q: %w", name, err)
		return nil, errors.Join(err, r.artifacts.record(name, upload.Receipt{}, fmt.Errorf("it could not be kept: %w", withoutPath(err)))) // missing, whether or not the writer looks
	}
	r.logs[name] = log
	r.follow(log)
	return log, nil
}

// newLog is a log without a spool.
func (r *Run) newLog(name string) *runLog {
	log := &runLog{name: name, done: make(chan struct{})}
	log.ctx, log.giveUp = context.WithCancelCause(r.ctx)
	return log
}

// giveSpool puts the redactor and the quota before the spool, and sees to it that a loss is noted: whoever resumes the run has to know.
func (r *Run) giveSpool(log *runLog, spool *livelog.Spool, number int, known journal.Log) (err error) {
	spool.OnLoss(func() error { return r.noteMissing(log.name, deadReason(spool.Lost())) })
	log.spool = spool
	log.quota, err = livelog.NewQuota(spool, livelog.QuotaOptions{
		Limit: cmp.Or(known.Limit, r.o.LogLimit), Loss: livelog.Loss(known.Loss),
		Tail: tailFiles{r.folder, number}, MakeRoom: r.folder.freeReserve,
		OnLoss: func(l livelog.Loss) error { return r.logLoss(log.name, l) },
	})
	if err == nil {
		log.writer = r.redactor.Writer(log.quota)
	}
	return err
}

// follow publishes a log in the background, lets readers in, and declares it.
func (r *Run) follow(log *runLog) {
	if r.o.Stream != nil {
		log.stream = r.o.Stream.open(r.streamPath(log.name), log.spool)
	}
	if !r.background(func() { r.publish(log) }) {
		close(log.done) // Close has come first
	}
	r.logsDocument.declare()
}

// publish ships a log to the storage while it grows, until it is sealed and stored.
func (r *Run) publish(log *runLog) {
	defer close(log.done)
	store := func(ctx context.Context, o livelog.Object) (string, error) {
		receipt, err := r.putLogObject(ctx, o, r.textSent(log.name, o))
		if err == nil && o.Name == log.name {
			log.receipt = receipt
		}
		return receipt.URL, err
	}
	o := r.o.Publish
	o.Chunks, o.Final = log.chunks, r.logsEnded
	o.OnChunk = func(c schema.Chunk) { r.noteChunk(log.name, c) }
	o.OnFlush = func(size int64) { r.o.Observer.logFlushed(log.name, size) }
	_, log.err = livelog.Publish(log.ctx, log.name, log.spool, store, o)
}

// outcome is nil if the whole log is stored, all that was written to it. To be read when the log and logs.json are done.
func (l *runLog) outcome() error {
	if l.refused != nil {
		return l.refused // logs.json does not name it, whatever is stored
	}
	if l.err != nil {
		return l.err
	}
	if lost := l.whatIsLost(); lost != "" {
		return errors.New(lost)
	}
	return nil
}

// whatIsLost says why the spool is not all that was written, and does not say so; "" if it is or does. The log has ended.
func (l *runLog) whatIsLost() string {
	if l.lost != "" || l.quota == nil {
		return l.lost
	}
	loss := l.quota.Lost()
	lost, err := l.spool.Lost()
	switch {
	case err != nil:
		return deadReason(lost+loss.Unmarked, err)
	case loss.Open && loss.Any():
		return deadReason(loss.Bytes, errors.New(loss.Reason))
	}
	return ""
}

// whatIsMarked says what is missing where the log itself says so; "" if nothing is. The log has ended.
func (l *runLog) whatIsMarked() string {
	if l.quota == nil || l.whatIsLost() != "" {
		return l.incomplete
	}
	if loss := l.quota.Lost(); loss.Any() {
		return loss.String()
	}
	return ""
}

// deadReason is why a log counts as missing whose disk has failed.
func deadReason(lost int64, err error) string {
	return fmt.Sprintf("incomplete: %d bytes of it could not be kept, the rest is where logs.json says: %v", lost, withoutPath(err))
}

// incompleteOf are those of the logs that are stored and say that something is missing in them.
func incompleteOf(logs []journal.SealedLog, stored map[string]upload.Receipt) map[string]string {
	incomplete := map[string]string{}
	for _, log := range logs {
		if _, is := stored[log.Name]; is && log.Incomplete != "" {
			incomplete[log.Name] = log.Incomplete
		}
	}
	return incomplete
}

// withoutPath is what the disk said: readers of the result have no use for our paths.
func withoutPath(err error) error {
	if onDisk := (*fs.PathError)(nil); errors.As(err, &onDisk) {
		return onDisk.Err
	}
	return err
}

// putLogObject stores one object of a live log. The index and the text are replaced
// time and again, so their grants are kept until they expire.
func (r *Run) putLogObject(ctx context.Context, o livelog.Object, sent func(int64)) (upload.Receipt, error) {
	fresh := func(ctx context.Context) (upload.Grant, error) {
		grant, err := r.grants.one(ctx, o.Name, o.ContentType)
		if _, again := r.grants.reused(o.Name); again && err == nil {
			r.grants.keep(map[string]upload.Grant{o.Name: grant})
		}
		return grant, err
	}
	grant, ok := r.grants.reused(o.Name)
	if !ok {
		var err error
		if grant, err = fresh(ctx); err != nil {
			return upload.Receipt{}, err
		}
	}
	release, err := r.o.Pool.acquireFirst(ctx)
	if err != nil {
		return upload.Receipt{}, err
	}
	defer release()
	return r.put(ctx, grant, upload.Section(o.Body), upload.PutOptions{
		Name: o.Name, ContentEncoding: o.ContentEncoding, Renew: fresh, GiveUpAfter: r.o.GiveUpAfter, First: true, OnProgress: sent,
	})
}

// sealLogs ends every log, and makes what was written to them survive a power cut. Nothing can be written after it.
func (r *Run) sealLogs() {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.sealed.IsZero()
	if first {
		r.sealed = time.Now()
		if r.o.Stream != nil {
			r.logsDocument.declare() // without the links
		}
	}
	for _, log := range r.logs {
		_ = log.writer.Close() // the quota and the spool count what is lost
		if log.quota != nil {
			_ = log.quota.Close() // never fails
		}
		_ = log.spool.Close() // never fails
		if _, err := log.spool.Sync(); err != nil && !errors.Is(err, fs.ErrClosed) {
			r.o.Logger.Error("log is not whole", "log", log.name, "error", err)
		}
		if first {
			r.o.Observer.artifactAdded(log.name, log.spool.Size())
		}
	}
}

// sealedLogs is what the journal has to know of the logs for somebody else to publish them to their end.
func (r *Run) sealedLogs() []journal.SealedLog {
	var sealed []journal.SealedLog
	for _, log := range r.allLogs() {
		sealed = append(sealed, journal.SealedLog{Name: log.name, Size: log.spool.Size(), Lost: log.whatIsLost(), Incomplete: log.whatIsMarked()})
	}
	return sealed
}

// endLogs lets indexes say that the logs are complete: whoever resumes the run knows that they are, and adds nothing to them.
func (r *Run) endLogs() { r.endingLogs.Do(func() { close(r.logsEnded) }) }

// endLogsEarly ends the logs of a run without an outcome.
func (r *Run) endLogsEarly() error {
	r.sealLogs()
	if ended := r.sealedLogs(); r.settled == nil && len(ended) > 0 {
		if err := r.folder.journal.Append(journal.Record{Step: journal.LogsEnded, Ended: ended}); err != nil {
			return err
		}
	}
	r.endLogs()
	return nil
}

// markLogs writes a last line into every log that has not ended, unless it ends with that line already.
func (r *Run) markLogs(line string) {
	for _, log := range r.allLogs() {
		if log.quota == nil {
			continue
		}
		_ = log.writer.Flush() // the quota and the spool count what is lost
		mark := line
		switch {
		case log.quota.EndsWith(line):
			continue
		case log.spool.Size() > 0 && !log.quota.EndsWith("\n"):
			mark = "\n" + line
		}
		if _, err := io.WriteString(log.writer, mark); err != nil && !errors.Is(err, livelog.ErrSealed) {
			r.o.Logger.Warn("log ends without a mark", "log", log.name, "error", err)
		}
	}
}

// releaseLogs closes the files of the logs.
func (r *Run) releaseLogs() error {
	var errs []error
	for _, log := range r.allLogs() {
		errs = append(errs, log.spool.Release())
	}
	return errors.Join(errs...)
}

// waitLogs returns when every log is published to its end or given up, or ctx ends.
func (r *Run) waitLogs(ctx context.Context) error {
	for _, log := range r.allLogs() {
		select {
		case <-log.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(r.ctx) // a log that was given up because the run has ended is not published
}

// recordLogs notes what became of the logs. To be called when they and logs.json have come to their end.
func (r *Run) recordLogs() error {
	for _, log := range r.allLogs() {
		if log.settled {
			continue
		}
		if err := r.artifacts.record(log.name, log.receipt, log.outcome()); err != nil {
			return err
		}
		log.settled = true
	}
	return nil
}

func (r *Run) allLogs() []*runLog {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*runLog, 0, len(r.logs))
	for _, log := range r.logs {
		all = append(all, log)
	}
	return all
}
