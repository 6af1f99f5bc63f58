package agent

import (
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/content"
	"github.com/taskcluster/upload-agent/upload"
)

// artifactBody is what is stored of an artifact.
type artifactBody struct {
	source                upload.Source
	contentType, encoding string
	discard               func() // after use
}

// settleType tells the type of an artifact, unless it was given: it is part of what is signed.
func (a *artifact) settleType() error {
	if a.options.ContentType == "" {
		a.options.ContentType = content.TypeByName(a.name, a.source.Path())
	}
	if a.options.ContentType != "" {
		return nil
	}
	head, err := a.source.Head(content.HeadSize)
	if err == nil {
		a.options.ContentType = content.Type(head, len(head) < content.HeadSize, a.name, a.source.Path())
	}
	return err
}

// prepare tells the type of an artifact, and packs it where it is to be and that pays.
func (r *Run) prepare(a *artifact) (artifactBody, error) {
	err := a.settleType()
	body := artifactBody{source: a.source, contentType: a.options.ContentType, discard: func() {}}
	if err != nil || !a.options.Gzip {
		return body, err
	}
	head, err := a.source.Head(content.HeadSize)
	if err != nil {
		return body, err
	}
	size, err := a.source.Size()
	if err != nil || !r.packer.Pays(body.contentType, size, head) {
		return body, err
	}
	began := time.Now()
	packed, err := r.pack(a.source, size)
	if err != nil || packed.discard == nil {
		return body, err
	}
	r.o.Logger.Debug("artifact is gzipped", "name", a.name, "size", size, "took", time.Since(began))
	body.source, body.encoding, body.discard = packed.source, "gzip", packed.discard
	return body, nil
}
