package upload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/taskcluster/upload-agent/schema"
)

// Multipart is the permission to store an object in parts: the signed URLs of an upload that whoever signs them has started.
type Multipart struct {
	UploadID  string
	PartSize  int64              // bytes of each part but the last; taken larger where it is below 5 MiB or the object would have more than 10,000 parts
	FirstPart int                // number of the part that Parts[0] is for; 0: 1
	Parts     []schema.SignedURL // of consecutive parts, perhaps not of all
	Complete  schema.SignedURL   // takes a POST that makes the parts the object
	Abort     schema.SignedURL   // takes a DELETE that throws them away

	// ContentEncoding, CacheControl and ContentDisposition are what the upload was started with; those of PutOptions have to be the same.
	ContentEncoding, CacheControl, ContentDisposition string

	// Renew gives fresh URLs of this upload, for parts from firstPart on; it is called from one goroutine at a time, for parts
	// that have no URL yet or one that has expired. nil: there are no others.
	// An error of it ends the Put. (PutOptions.Renew is asked only where the upload itself is gone: it starts another one.)
	Renew func(ctx context.Context, firstPart int) (Multipart, error)
}

const (
	smallestPart = 5 << 20
	maxParts     = schema.MaxParts
)

// partSizeFor is the size of the parts of an object: at least what is wanted, and such that no more than maxParts are needed.
func partSizeFor(wanted, size int64) int64 {
	return max(wanted, smallestPart, (size+maxParts-1)/maxParts)
}

// signedParts is the way of a Multipart.
type signedParts struct {
	whole Grant // its URL is for an object that is no larger than a part

	mu       sync.Mutex // guards the rest; held while Renew is asked, so that one answer serves all who wait
	urls     map[int]schema.SignedURL
	complete schema.SignedURL
	abort    schema.SignedURL
	renewed  int
}

func newSignedParts(g Grant) *signedParts {
	w := &signedParts{whole: g, urls: map[int]schema.SignedURL{}}
	w.take(*g.Multipart)
	return w
}

// take keeps the URLs; w.mu is held, or nobody else has w yet.
func (w *signedParts) take(m Multipart) {
	for i, u := range m.Parts {
		w.urls[max(1, m.FirstPart)+i] = u
	}
	w.complete, w.abort = m.Complete, m.Abort
}

// known is the URL of a step, the zero one if there is none; w.mu is held.
func (w *signedParts) known(s step) schema.SignedURL {
	switch s.what {
	case stepPart:
		return w.urls[s.part]
	case stepComplete:
		return w.complete
	case stepAbort:
		return w.abort
	}
	return w.whole.URL
}

func (w *signedParts) grant(ctx context.Context, s step) (Grant, error) {
	switch s.what {
	case stepPut:
		return Grant{URL: w.whole.URL, ContentType: w.whole.ContentType, Header: w.whole.Header, Expires: w.whole.Expires}, nil
	case stepHead, stepGet:
		return Grant{URL: schema.NewSignedURL(w.whole.ReadURL)}, nil
	}
	return w.renew(ctx, s, Grant{})
}

func (w *signedParts) renew(ctx context.Context, s step, refused Grant) (Grant, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u := w.known(s); !u.IsZero() && !u.Equal(refused.URL) {
		return Grant{URL: u}, nil // it is there, or somebody else has renewed it meanwhile
	}
	if w.whole.Multipart.Renew == nil {
		return Grant{}, fmt.Errorf("%w: there is no URL for %s, and nobody to ask for one", ErrGrant, s)
	}
	m, err := w.whole.Multipart.Renew(ctx, max(1, s.part))
	if err != nil {
		return Grant{}, err
	}
	w.renewed++
	if m.UploadID != w.whole.Multipart.UploadID {
		return Grant{}, fmt.Errorf("%w: asked for fresh URLs of an upload, got those of another", ErrGrant)
	}
	w.take(m)
	u := w.known(s)
	if u.IsZero() {
		return Grant{}, fmt.Errorf("%w: asked for a URL for %s, got none", ErrGrant, s)
	}
	return Grant{URL: u}, nil
}

func (w *signedParts) renewable(s step) bool {
	return w.whole.Multipart.Renew != nil && (s.what == stepPart || s.what == stepComplete || s.what == stepAbort)
}

func (w *signedParts) renewals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.renewed
}

func (w *signedParts) partSize(size int64) int64 {
	return partSizeFor(w.whole.Multipart.PartSize, size)
}

// start gives the id of the upload, which whoever signs has started.
func (w *signedParts) start() (id string, started bool) { return w.whole.Multipart.UploadID, true }

// request of a step is what its signed URL allows, and no more.
func (w *signedParts) request(ctx context.Context, s step, g Grant, o PutOptions, _ *content) (*http.Request, error) {
	if s.what != stepPut {
		o.ContentEncoding, o.CacheControl, o.ContentDisposition = "", "", "" // the upload was started with them
	}
	to, err := url.Parse(g.URL.Reveal())
	if err != nil {
		to = nil // see there
	}
	return signedRequest(ctx, s.what.method(), to, g, o)
}

func (w *signedParts) list(_ context.Context, _ string, parts []storedPart) ([]byte, error) {
	return completion(parts), nil
}

// check says what is wrong with the grant.
func (w *signedParts) check(o PutOptions, size int64) error {
	m := w.whole.Multipart
	switch {
	case m.ContentEncoding != o.ContentEncoding:
		return fmt.Errorf("it was made for the content encoding %q, not %q", m.ContentEncoding, o.ContentEncoding)
	case m.CacheControl != o.CacheControl:
		return fmt.Errorf("it was made for the cache control %q, not %q", m.CacheControl, o.CacheControl)
	case m.ContentDisposition != o.ContentDisposition:
		return fmt.Errorf("it was made for the content disposition %q, not %q", m.ContentDisposition, o.ContentDisposition)
	case m.Complete.IsZero() || m.Abort.IsZero():
		return errors.New("it has no URL to complete or to abort the upload")
	case size <= w.partSize(size) && w.whole.URL.IsZero():
		return errors.New("the object is no larger than a part, and there is no URL for a single PUT")
	}
	return nil
}
