package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

const (
	jsonType = "application/json"
	textType = "text/plain; charset=utf-8"
)

// grants asks the queue for permission to store artifacts of one run.
type grants struct {
	lease *lease

	mu   sync.Mutex
	kept map[string]upload.Grant // of objects that are stored again and again
}

// ask gets fresh grants for artifacts, by name, with their content types.
func (g *grants) ask(ctx context.Context, types map[string]string) (map[string]upload.Grant, error) {
	request := schema.ArtifactURLsRequest{RunID: g.lease.runID, Worker: g.lease.worker, Artifacts: map[string]schema.ArtifactRequest{}}
	for name, contentType := range types {
		request.Artifacts[name] = schema.ArtifactRequest{ContentType: contentType}
	}
	answer, err := g.lease.q.ArtifactURLs(ctx, g.lease.taskID, request)
	if err != nil {
		if errors.Is(err, queue.ErrNotFound) {
			g.lease.hurry() // perhaps the claim is lost: the lease finds out
		}
		return nil, err
	}
	granted := make(map[string]upload.Grant, len(types))
	for name, contentType := range types {
		urls, ok := answer.Artifacts[name]
		if !ok {
			return nil, fmt.Errorf("get signed URL of artifact %q: the queue's answer leaves it out", name)
		}
		if urls.ContentType != contentType {
			return nil, fmt.Errorf("get signed URL of artifact %q: asked for content type %q, the queue signed %q", name, contentType, urls.ContentType)
		}
		granted[name] = upload.Grant{URL: urls.ArtifactPutURL, ContentType: contentType, ReadURL: urls.ArtifactURL}
	}
	return granted, nil
}

// one gets a fresh grant for one artifact.
func (g *grants) one(ctx context.Context, name, contentType string) (upload.Grant, error) {
	granted, err := g.ask(ctx, map[string]string{name: contentType})
	return granted[name], err
}

// keep remembers grants for reuse.
func (g *grants) keep(granted map[string]upload.Grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kept == nil {
		g.kept = map[string]upload.Grant{}
	}
	for name, grant := range granted {
		g.kept[name] = grant
	}
}

// reused gives the grant that is kept under name, if there is one.
func (g *grants) reused(name string) (upload.Grant, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	grant, ok := g.kept[name]
	return grant, ok
}
