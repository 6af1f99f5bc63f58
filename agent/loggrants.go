package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"

	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// grantedLogs is what the queue has answered about the first logs.
type grantedLogs struct {
	types   map[string]string
	granted map[string]upload.Grant
	err     error
}

// addLogTypes adds what is stored of a log under names that are known from the start.
func addLogTypes(types map[string]string, log string) {
	types[log] = textType
	types[livelog.IndexName(log)] = jsonType
}

// earlyLogs is a logs.json that was put before the run had a state folder.
type earlyLogs struct {
	body    []byte
	receipt upload.Receipt
	err     error
}

// askForLogs asks the queue in the background where the logs will be, and puts logs.json there and then: it says where
// logs are going to be, and nothing that would have to be in the journal first. But a link to a stream waits until somebody serves it.
func (r *Run) askForLogs(names []string) {
	types := map[string]string{}
	for _, name := range names {
		if CheckName(name) != nil {
			return // Start fails
		}
		addLogTypes(types, name)
	}
	if len(types) == 0 {
		return
	}
	answer, early := make(chan grantedLogs, 1), make(chan earlyLogs, 1)
	r.logGrants, r.early = answer, early
	r.background(func() {
		defer close(early)
		granted, err := r.grants.ask(r.ctx, types)
		answer <- grantedLogs{types, granted, err}
		if err != nil || r.o.Stream != nil {
			return
		}
		doc := schema.Logs{Version: schema.Version, Logs: map[string]string{}}
		for _, name := range names {
			nameLog(doc, name, granted[name], granted[livelog.IndexName(name)])
		}
		var first earlyLogs
		if first.body, first.err = schema.Encode(doc); first.err == nil {
			first.receipt, first.err = r.putDocument(r.ctx, "logs.json", first.body, logsPutURL)
		}
		early <- first
	})
}

// nameLog enters a log in logs.json: its text, and its index.
func nameLog(doc schema.Logs, name string, text, live upload.Grant) {
	doc.Logs[name], doc.Logs[livePrefix+name] = text.ReadURL, live.ReadURL
}

// putLogs puts logs.json, unless these are the bytes that were put early. Only the keeper of logs.json calls it.
func (r *Run) putLogs(ctx context.Context, body []byte) (upload.Receipt, error) {
	if r.early != nil {
		first := <-r.early // it ends when the run does; two at once, and nobody could tell which was the last
		r.early = nil
		if first.err == nil && bytes.Equal(first.body, body) {
			return first.receipt, nil
		}
	}
	return r.putDocument(ctx, "logs.json", body, logsPutURL)
}

// grantLogNames is grants.ask, or the answer to what Start has asked. Only the keeper of logs.json calls it.
func (r *Run) grantLogNames(ctx context.Context, types map[string]string) (map[string]upload.Grant, error) {
	if r.logGrants == nil {
		return r.grants.ask(ctx, types)
	}
	first := <-r.logGrants // it ends when the run does
	r.logGrants = nil
	if maps.Equal(types, first.types) {
		return first.granted, first.err
	}
	// A log was added meanwhile.
	r.grants.keep(first.granted)
	for name := range first.granted {
		delete(types, name)
	}
	return r.grants.ask(ctx, types)
}

// grantLogs gets, in one call, the grants for the index and the text of every log, and keeps
// them: where readers will find a log is known before there is anything to read.
// A log that the queue refuses is left out and given up: it counts as missing.
func (r *Run) grantLogs(ctx context.Context) (schema.Logs, error) {
	doc := schema.Logs{Version: schema.Version, Logs: map[string]string{}}
	all, types := r.allLogs(), map[string]string{}
	for _, log := range all {
		if _, ok := r.grants.reused(log.name); !ok && log.refused == nil {
			addLogTypes(types, log.name)
		}
	}
	var refused refusedNames
	if len(types) > 0 {
		granted, err := r.grantLogNames(ctx, types)
		if err != nil && !errors.As(err, &refused) {
			return doc, err
		}
		r.grants.keep(granted)
	}
	for _, log := range all {
		index := livelog.IndexName(log.name)
		if err := cmp.Or(refused[log.name], refused[index]); err != nil {
			r.o.Logger.Error("queue refuses the log's name; it is not published", "log", log.name, "error", err)
			log.refused = err
			log.giveUp(err)
		}
		if log.refused != nil {
			continue
		}
		text, _ := r.grants.reused(log.name)
		live, _ := r.grants.reused(index)
		nameLog(doc, log.name, text, live)
		if link, ok := r.streamLink(log.name); ok {
			doc.Logs[streamPrefix+log.name] = link.Reveal()
		}
	}
	return doc, nil
}
