package agent

import (
	"context"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

func logsPutURL(c schema.Claim) schema.SignedURL   { return c.LogsPutURL }
func resultPutURL(c schema.Claim) schema.SignedURL { return c.ResultPutURL }

// putDocument stores one of the claim's two documents, and goes on trying for as long as the claim lasts.
func (r *Run) putDocument(ctx context.Context, name string, body []byte, of func(schema.Claim) schema.SignedURL) (upload.Receipt, error) {
	next := r.lease.documentGrants(of)
	grant, err := next(ctx)
	if err != nil {
		return upload.Receipt{}, err
	}
	return r.uploads.Put(ctx, grant, upload.Bytes(body), upload.PutOptions{Name: name, Renew: next})
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
	return r.putDocument(ctx, "logs.json", body, logsPutURL)
}

// putArtifact stores one artifact. Its type is settled before its URL is asked for,
// because the type is part of what is signed.
func (r *Run) putArtifact(a artifact) (upload.Receipt, error) {
	if a.contentType == "" {
		var err error
		if a.contentType, err = contentType(a.source); err != nil {
			return upload.Receipt{}, err
		}
	}
	fresh := func(ctx context.Context) (upload.Grant, error) {
		ctx, cancel := context.WithTimeout(ctx, r.o.GiveUpAfter)
		defer cancel()
		return r.grants.one(ctx, a.name, a.contentType)
	}
	grant, err := fresh(r.ctx)
	if err != nil {
		return upload.Receipt{}, err
	}
	return r.uploads.Put(r.ctx, grant, a.source, upload.PutOptions{Name: a.name, Renew: fresh, GiveUpAfter: r.o.GiveUpAfter})
}
