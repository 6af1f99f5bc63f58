package agent

import (
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

// askForLogs asks the queue in the background where the logs will be.
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
	answer := make(chan grantedLogs, 1)
	r.logGrants = answer
	r.background(func() {
		granted, err := r.grants.ask(r.ctx, types)
		answer <- grantedLogs{types, granted, err}
	})
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
		doc.Logs[log.name], doc.Logs[livePrefix+log.name] = text.ReadURL, live.ReadURL
		if link, ok := r.streamLink(log.name); ok {
			doc.Logs[streamPrefix+log.name] = link.Reveal()
		}
	}
	return doc, nil
}
