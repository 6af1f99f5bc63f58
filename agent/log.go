package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// runLog is one log of a run: a spool on the local disk and its publisher.
type runLog struct {
	name  string
	spool *livelog.Spool

	done    chan struct{}  // closed when the log is published to its end, or given up
	err     error          // why it was given up; read after done
	receipt upload.Receipt // of the text as it was stored last; read after done
}

// livePrefix is where the parts of live logs are stored, and where logs.json names their indexes.
const livePrefix = "live/"

// Log is the writer of a log, which is made and declared in logs.json if there is none of that name.
// Writes never wait for the network. They fail after the run has ended, on a full
// disk, and where the name cannot be a log's: it is checked as an artifact's is.
// A log that a full disk has cut counts as missing, with that reason, whether or not the writer looked.
// Safe for concurrent use; one Write is never torn apart.
func (r *Run) Log(name string) io.Writer {
	log, err := r.log(name)
	if err != nil {
		return brokenLog{err}
	}
	return log.spool
}

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
	path := filepath.Join(r.dir, "logs", strconv.Itoa(len(r.logs))) // "a" and "a/b" may both be logs
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make log %q: %w", name, err)
	}
	spool, err := livelog.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make log %q: %w", name, err)
	}
	log := &runLog{name: name, spool: spool, done: make(chan struct{})}
	r.logs[name] = log
	if !r.background(func() { r.publish(log) }) {
		close(log.done) // Close has come first: it removes the spool
	}
	r.logsDocument.declare()
	return log, nil
}

// publish ships a log to the storage while it grows, until it is sealed and stored.
func (r *Run) publish(log *runLog) {
	defer close(log.done)
	store := func(ctx context.Context, o livelog.Object) (string, error) {
		receipt, err := r.putLogObject(ctx, o)
		if err == nil && o.Name == log.name {
			log.receipt = receipt
		}
		return receipt.URL, err
	}
	_, log.err = livelog.Publish(r.ctx, log.name, log.spool, store, r.o.Publish)
}

// outcome is nil if the whole log is stored, all that was written to it. To be read after done.
func (l *runLog) outcome() error {
	if l.err != nil {
		return l.err
	}
	if lost, err := l.spool.Lost(); err != nil {
		var onDisk *fs.PathError
		if errors.As(err, &onDisk) {
			err = onDisk.Err // readers of the result have no use for our paths
		}
		return fmt.Errorf("incomplete: %d bytes of it could not be kept, the rest is where logs.json says: %w", lost, err)
	}
	return nil
}

// putLogObject stores one object of a live log. The index and the text are replaced
// time and again, so their grants are kept until they expire.
func (r *Run) putLogObject(ctx context.Context, o livelog.Object) (upload.Receipt, error) {
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
	return r.uploads.Put(ctx, grant, upload.Section(o.Body), upload.PutOptions{
		Name: o.Name, ContentEncoding: o.ContentEncoding, Renew: fresh, GiveUpAfter: r.o.GiveUpAfter,
	})
}

// sealLogs ends every log. Nothing can be written after it.
func (r *Run) sealLogs() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed.IsZero() {
		r.sealed = time.Now()
	}
	for _, log := range r.logs {
		if err := log.spool.Close(); err != nil {
			r.o.Logger.Error("log could not be sealed", "log", log.name, "error", err)
		}
	}
}

// waitLogs returns when every log is published to its end or given up, or ctx ends.
func (r *Run) waitLogs(ctx context.Context) error {
	for _, log := range r.allLogs() {
		select {
		case <-log.done:
			r.artifacts.record(log.name, log.receipt, log.outcome())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(r.ctx) // a log that was given up because the run has ended is not published
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

// grantLogs gets, in one call, the grants for the index and the text of every log, and keeps
// them: where readers will find a log is known before there is anything to read.
func (r *Run) grantLogs(ctx context.Context) (schema.Logs, error) {
	doc := schema.Logs{Version: schema.Version, Logs: map[string]string{}}
	all, types := r.allLogs(), map[string]string{}
	for _, log := range all {
		if _, ok := r.grants.reused(log.name); !ok {
			types[log.name] = textType
			types[livelog.IndexName(log.name)] = jsonType
		}
	}
	if len(types) > 0 {
		granted, err := r.grants.ask(ctx, types)
		if err != nil {
			return doc, err
		}
		r.grants.keep(granted)
	}
	for _, log := range all {
		text, _ := r.grants.reused(log.name)
		index, _ := r.grants.reused(livelog.IndexName(log.name))
		doc.Logs[log.name] = text.ReadURL
		doc.Logs[livePrefix+log.name] = index.ReadURL
	}
	return doc, nil
}
