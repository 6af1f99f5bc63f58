package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

func logsPutURL(c schema.Claim) schema.SignedURL   { return c.LogsPutURL }
func resultPutURL(c schema.Claim) schema.SignedURL { return c.ResultPutURL }

// putDocument stores one of the claim's two documents, and goes on trying for as long as the claim lasts.
func (r *Run) putDocument(ctx context.Context, name string, body []byte, of func(schema.Claim) schema.SignedURL) (upload.Receipt, error) {
	release, err := r.o.Pool.acquireFirst(ctx)
	if err != nil {
		return upload.Receipt{}, err
	}
	defer release()
	next := r.lease.documentGrants(of)
	grant, err := next(ctx)
	if err != nil {
		return upload.Receipt{}, err
	}
	return r.put(ctx, grant, upload.Bytes(body), upload.PutOptions{Name: name, Renew: next, First: true})
}

// putLogsDocument stores logs.json with the logs that the run has now.
func (r *Run) putLogsDocument(ctx context.Context) (upload.Receipt, error) {
	doc, err := r.grantLogs(ctx)
	if err != nil {
		return upload.Receipt{}, err
	}
	body, err := schema.Encode(doc)
	if err != nil {
		return upload.Receipt{}, err
	}
	receipt, err := r.putLogs(ctx, body)
	if err != nil {
		return receipt, err
	}
	names := logNames(doc)
	for _, log := range r.allLogs() {
		if log.refused != nil {
			names = append(names, log.name) // left out for good, and so covered
		}
	}
	return receipt, r.note(journal.Record{Step: journal.LogsStored, Names: names, Receipt: journalled(receipt)})
}

// logNames are the logs that a logs.json names, in whatever forms.
func logNames(doc schema.Logs) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(doc.Logs)), func(name string) bool {
		return strings.HasPrefix(name, livePrefix) || strings.HasPrefix(name, streamPrefix)
	})
}

// grantArtifacts asks for signed URLs, for no longer than an artifact is tried.
func (r *Run) grantArtifacts(types map[string]string, granted func(string, upload.Grant), trouble func()) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.o.GiveUpAfter)
	defer cancel()
	return r.orCutOff(r.grants.askEach(ctx, types, granted, trouble))
}

// putArtifact stores one artifact.
func (r *Run) putArtifact(a *artifact, admitted func()) (upload.Receipt, error) {
	release, err := r.o.Pool.acquire(r.ctx, a.isLarge())
	if err != nil {
		return upload.Receipt{}, r.orCutOff(err)
	}
	defer release()
	if r.o.Pool != nil {
		admitted()
	}
	receipt, err := r.tryArtifact(a)
	return receipt, r.orCutOff(err)
}

// orCutOff tells an error that the end of the run has caused.
func (r *Run) orCutOff(err error) error {
	if err != nil && r.ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errCutOff, err)
	}
	return err
}

// tryArtifact settles the type, which is part of what is signed, and the bytes, which take their time to be gzipped, before it asks
// for a URL, unless it has one already.
func (r *Run) tryArtifact(a *artifact) (upload.Receipt, error) {
	body, err := r.prepare(a)
	if err != nil {
		return upload.Receipt{}, fmt.Errorf("read artifact %q: %w", a.name, err)
	}
	defer body.discard()
	if a.known != nil { // stored before the run was resumed: perhaps these very bytes
		size, digest, err := body.source.Digest()
		if err == nil && size == a.known.Size && digest == a.known.Digest {
			return *a.known, nil
		}
	}
	size := a.size
	if a.grant == nil || a.isLarge() || body.encoding != "" { // else it does not matter what it is by now: it goes as one, and Put looks again
		if size, err = body.source.Size(); err != nil {
			return upload.Receipt{}, err
		}
	}
	single := a.grant != nil && !r.grants.wantsParts(size)
	fresh := r.grants.ofArtifact(a.name, body.contentType, schema.MultipartRequest{
		Size: size, ContentEncoding: body.encoding, CacheControl: a.options.CacheControl, ContentDisposition: a.options.ContentDisposition,
	}, r.o.GiveUpAfter, single)
	var grant upload.Grant
	if single {
		grant = *a.grant
	} else if grant, err = fresh(r.ctx); err != nil {
		return upload.Receipt{}, err
	}
	return r.put(r.ctx, grant, body.source, upload.PutOptions{
		Name: a.name, ContentEncoding: body.encoding, CacheControl: a.options.CacheControl, ContentDisposition: a.options.ContentDisposition,
		Renew: fresh, GiveUpAfter: r.o.GiveUpAfter, ReadBack: r.o.ReadBack, OnProgress: r.o.Observer.sent(a.name, size),
	})
}
