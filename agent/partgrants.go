package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Large artifacts are asked for in parts where the queue says in its answers that it knows that (schema.MultipartOffer). A queue that
// does not is never asked. Nothing of an upload in parts is in the journal: a resumed run asks for a new
// one and leaves the old one alone. Its parts stay until the queue ends the uploads of the run, or the bucket's own rules do.

// heard notes from which size on the queue grants artifacts in parts; 0: it does not.
func (g *grants) heard(from int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inParts = from
}

// wantsParts reports whether an artifact of this size is to be stored in parts, as far as is known by now.
func (g *grants) wantsParts(size int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inParts > 0 && size >= g.inParts
}

// ofArtifact is what gets fresh grants for one artifact, each within the given time: in parts, if it is large enough, as wanted says.
// All are of the kind of the first; single says that this is one for a single PUT, which somebody has got already.
func (g *grants) ofArtifact(name, contentType string, wanted schema.MultipartRequest, within time.Duration, single bool) func(context.Context) (upload.Grant, error) {
	decided, parts := single, false
	return func(ctx context.Context) (grant upload.Grant, err error) {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		if !decided {
			parts = g.wantsParts(wanted.Size)
		}
		if !parts {
			if grant, err = g.one(ctx, name, contentType); err != nil {
				return grant, err
			}
			// Perhaps it is only with this answer that the queue has said that it knows parts.
			parts = !decided && g.wantsParts(wanted.Size)
		}
		if parts {
			grant, err = g.parted(ctx, name, contentType, wanted, within)
		}
		if err == nil {
			decided, parts = true, grant.Multipart != nil
		}
		return grant, err
	}
}

// parted gets a grant in parts; one for a single PUT if the queue does not give any, after all.
func (g *grants) parted(ctx context.Context, name, contentType string, wanted schema.MultipartRequest, within time.Duration) (upload.Grant, error) {
	urls, err := g.partURLs(ctx, name, contentType, wanted)
	var answer *queue.Error
	if errors.As(err, &answer) && answer.Status >= 400 && !errors.Is(err, queue.ErrNotFound) && ctx.Err() == nil {
		g.heard(0) // it is another queue by now, or has its troubles with it
		return g.one(ctx, name, contentType)
	}
	if err != nil {
		return upload.Grant{}, err
	}
	grant := upload.Grant{URL: urls.ArtifactPutURL, ContentType: contentType, ReadURL: urls.ArtifactURL}
	if urls.Multipart == nil {
		return grant, nil
	}
	m := multipartOf(urls.Multipart, wanted)
	m.Renew = func(ctx context.Context, first int) (upload.Multipart, error) {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		more := wanted
		more.UploadID, more.FirstPart = m.UploadID, first
		return g.moreParts(ctx, name, contentType, more)
	}
	grant.Multipart = &m
	return grant, nil
}

// moreParts gets fresh URLs of an upload. A queue that answers 500 may have its own troubles: it is asked until ctx ends.
func (g *grants) moreParts(ctx context.Context, name, contentType string, wanted schema.MultipartRequest) (upload.Multipart, error) {
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		urls, err := g.partURLs(ctx, name, contentType, wanted)
		switch {
		case err == nil && urls.Multipart == nil:
			return upload.Multipart{}, fmt.Errorf("get signed URLs of parts of artifact %q: the queue's answer leaves them out", name)
		case err == nil:
			return multipartOf(urls.Multipart, wanted), nil
		case !errors.Is(err, queue.ErrUnavailable) || ctx.Err() != nil:
			return upload.Multipart{}, err
		}
		select {
		case <-ctx.Done():
			return upload.Multipart{}, fmt.Errorf("%w; last answer: %w", context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
}

func (g *grants) partURLs(ctx context.Context, name, contentType string, wanted schema.MultipartRequest) (schema.ArtifactURLs, error) {
	answer, err := g.call(ctx, map[string]schema.ArtifactRequest{name: {ContentType: contentType, Multipart: &wanted}})
	if err != nil {
		return schema.ArtifactURLs{}, err
	}
	return urlsOf(answer, name, contentType)
}

func multipartOf(m *schema.MultipartURLs, wanted schema.MultipartRequest) upload.Multipart {
	return upload.Multipart{
		UploadID: m.UploadID, PartSize: m.PartSize, FirstPart: m.FirstPart, Parts: m.PartPutURLs, Complete: m.CompleteURL, Abort: m.AbortURL,
		ContentEncoding: wanted.ContentEncoding, CacheControl: wanted.CacheControl, ContentDisposition: wanted.ContentDisposition,
	}
}
