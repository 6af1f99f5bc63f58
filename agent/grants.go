package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

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
	lease       *lease
	giveUpAfter time.Duration // how long a queue is tried that refuses everything with a 500; 0: until the context ends

	mu      sync.Mutex
	kept    map[string]upload.Grant // of objects that are stored again and again
	inParts int64                   // size from which on the queue grants artifacts in parts, as it said last; 0: it does not say that it knows that
}

// refusedNames says of each name why the queue would not grant it, while it granted others.
type refusedNames map[string]error

func (e refusedNames) Error() string {
	names := slices.Sorted(maps.Keys(e))
	if len(names) == 1 {
		return e[names[0]].Error()
	}
	return fmt.Sprintf("get signed URLs: %d names refused, the first of them %q: %v", len(names), names[0], e[names[0]])
}

// ask gets fresh grants for artifacts, by name, with their content types. One bad name makes the first
// queue refuse all that are asked for with it: so the names are halved until it stands alone. If some names
// are refused in the end, the grants of the others come with refusedNames. Any other error is about all of them.
func (g *grants) ask(ctx context.Context, types map[string]string) (map[string]upload.Grant, error) {
	granted, refused := make(map[string]upload.Grant, len(types)), refusedNames{}
	names := slices.Sorted(maps.Keys(types))
	began, wait, healthy := time.Now(), time.Second, false
	for {
		if err := g.halve(ctx, types, names, granted, refused); err != nil {
			return nil, err
		}
		if len(refused) == 0 {
			return granted, nil
		}
		// A 500 may be the queue's own trouble. It is the name's only if the queue has granted others before it was asked.
		names = slices.DeleteFunc(names, func(name string) bool { return !errors.Is(refused[name], queue.ErrUnavailable) })
		if len(names) == 0 || healthy || g.giveUpAfter > 0 && time.Since(began) >= g.giveUpAfter {
			return granted, refused
		}
		if healthy = len(granted) > 0; !healthy {
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("%w; last answer: %w", context.Cause(ctx), refused)
			case <-time.After(wait):
				wait = min(2*wait, 10*time.Second)
			}
		}
		for _, name := range names {
			delete(refused, name)
		}
	}
}

// halve asks for names, and for each half of them if the queue does not like the request.
func (g *grants) halve(ctx context.Context, types map[string]string, names []string, granted map[string]upload.Grant, refused refusedNames) error {
	err := g.request(ctx, types, names, granted, refused)
	var answer *queue.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, errors.Is(err, queue.ErrNotFound), !errors.As(err, &answer), answer.Status < 400:
		return err // not about the names
	case len(names) == 1:
		refused[names[0]] = err
		return nil
	}
	half := len(names) / 2
	if err := g.halve(ctx, types, names[:half], granted, refused); err != nil {
		return err
	}
	return g.halve(ctx, types, names[half:], granted, refused)
}

// request asks once for all of the names. It notes those that the answer does not grant as they were asked for.
func (g *grants) request(ctx context.Context, types map[string]string, names []string, granted map[string]upload.Grant, refused refusedNames) error {
	wanted := make(map[string]schema.ArtifactRequest, len(names))
	for _, name := range names {
		wanted[name] = schema.ArtifactRequest{ContentType: types[name]}
	}
	answer, err := g.call(ctx, wanted)
	if err != nil {
		return err
	}
	for _, name := range names {
		urls, err := urlsOf(answer, name, types[name])
		if err != nil {
			refused[name] = err
			continue
		}
		granted[name] = upload.Grant{URL: urls.ArtifactPutURL, ContentType: types[name], ReadURL: urls.ArtifactURL}
	}
	return nil
}

// call makes the call, and hears whether the queue grants artifacts in parts.
func (g *grants) call(ctx context.Context, wanted map[string]schema.ArtifactRequest) (schema.ArtifactURLsAnswer, error) {
	answer, err := g.lease.q.ArtifactURLs(ctx, g.lease.taskID, schema.ArtifactURLsRequest{RunID: g.lease.runID, Worker: g.lease.worker, Artifacts: wanted})
	if errors.Is(err, queue.ErrNotFound) {
		g.lease.hurry() // perhaps the claim is lost: the lease finds out
	}
	if err != nil {
		return answer, err
	}
	from := int64(0)
	if answer.Multipart != nil {
		from = answer.Multipart.From
	}
	g.heard(from)
	return answer, nil
}

// urlsOf are those of one artifact, if the answer grants it as it was asked for.
func urlsOf(answer schema.ArtifactURLsAnswer, name, contentType string) (schema.ArtifactURLs, error) {
	urls, ok := answer.Artifacts[name]
	switch {
	case !ok:
		return urls, fmt.Errorf("get signed URL of artifact %q: the queue's answer leaves it out", name)
	case urls.ContentType != contentType:
		return urls, fmt.Errorf("get signed URL of artifact %q: asked for content type %q, the queue signed %q", name, contentType, urls.ContentType)
	}
	urls.ArtifactURL = readable(urls.ArtifactURL, name)
	return urls, nil
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
