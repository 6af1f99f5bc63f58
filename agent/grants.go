package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	pool        *Pool         // may be nil
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

// ask gets fresh grants for artifacts, by name, with their content types. If some names
// are refused in the end, the grants of the others come with refusedNames. Any other error is about all of them.
func (g *grants) ask(ctx context.Context, types map[string]string) (map[string]upload.Grant, error) {
	granted := make(map[string]upload.Grant, len(types))
	err := g.askEach(ctx, types, func(name string, grant upload.Grant) { granted[name] = grant }, func() {})
	if refused := refusedNames(nil); err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	return granted, err
}

// askEach is ask, but hands over each grant as soon as it is there. One bad name makes the first queue refuse all
// that are asked for with it: so the names are halved until it stands alone, which takes its time. trouble is called before that.
func (g *grants) askEach(ctx context.Context, types map[string]string, grant func(string, upload.Grant), trouble func()) error {
	a := asking{grants: g, types: types, grant: grant, trouble: sync.OnceFunc(trouble), refused: refusedNames{}}
	names := slices.Sorted(maps.Keys(types))
	began, wait, healthy := time.Now(), time.Second, false
	for {
		untried, err := a.round(ctx, names)
		if err != nil {
			return err
		}
		if len(a.refused) == 0 && len(untried) == 0 {
			return nil
		}
		// A 500 may be the queue's own trouble. It is the name's only if the queue has granted others before it was asked.
		again := slices.DeleteFunc(slices.Sorted(maps.Keys(a.refused)), func(name string) bool { return !errors.Is(a.refused[name], queue.ErrUnavailable) })
		names = append(untried, again...)
		if len(names) == 0 || healthy || g.giveUpAfter > 0 && time.Since(began) >= g.giveUpAfter {
			for _, name := range untried {
				a.refused[name] = a.last
			}
			return a.refused
		}
		if healthy = a.granted > 0; !healthy {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w; last answer: %w", context.Cause(ctx), a.refused)
			case <-time.After(wait):
				wait = min(2*wait, 10*time.Second)
			}
		}
		for _, name := range again {
			delete(a.refused, name)
		}
	}
}

// asking is one askEach under way.
type asking struct {
	grants  *grants
	types   map[string]string
	grant   func(string, upload.Grant)
	trouble func()
	granted int
	refused refusedNames
	last    error // the latest refusal
}

// inVain is how many requests of a round may bring nothing, before anything was granted: a queue that is
// down refuses all names, and each of them would be asked for alone. The names that are left are tried first in the next round.
const inVain = 24

// round asks for all names, and for each half of them if the queue does not like the request.
func (a *asking) round(ctx context.Context, names []string) (untried []string, err error) {
	pieces := [][]string{names}
	for requests := 1; len(pieces) > 0; requests++ {
		piece := pieces[0]
		pieces = pieces[1:]
		if a.granted == 0 && requests > inVain {
			return slices.Concat(append([][]string{piece}, pieces...)...), nil
		}
		err := a.request(ctx, piece)
		var answer *queue.Error
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil, errors.Is(err, queue.ErrNotFound), !errors.As(err, &answer), answer.Status < 400:
			return nil, err // not about the names
		}
		a.trouble()
		a.last = err
		if half := len(piece) / 2; half > 0 {
			pieces = append([][]string{piece[:half], piece[half:]}, pieces...)
		} else {
			a.refused[piece[0]] = err
		}
	}
	return nil, nil
}

// request asks once for all of the names. It notes those that the answer does not grant as they were asked for.
func (a *asking) request(ctx context.Context, names []string) error {
	wanted := make(map[string]schema.ArtifactRequest, len(names))
	for _, name := range names {
		wanted[name] = schema.ArtifactRequest{ContentType: a.types[name]}
	}
	answer, err := a.grants.call(ctx, wanted)
	if err != nil {
		return err
	}
	for _, name := range names {
		urls, err := urlsOf(answer, name, a.types[name])
		if err != nil {
			a.refused[name] = err
			continue
		}
		a.granted++
		a.grant(name, upload.Grant{URL: urls.ArtifactPutURL, ContentType: a.types[name], ReadURL: strings.Clone(urls.ArtifactURL)}) // a clone, as it is kept: else the whole answer would be
	}
	return nil
}

// call makes the call, and hears whether the queue grants artifacts in parts.
func (g *grants) call(ctx context.Context, wanted map[string]schema.ArtifactRequest) (schema.ArtifactURLsAnswer, error) {
	release, err := g.pool.acquireAsk(ctx)
	if err != nil {
		return schema.ArtifactURLsAnswer{}, err
	}
	defer release()
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
