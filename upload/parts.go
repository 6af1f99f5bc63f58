package upload

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// step is one of the things that an upload in parts is made of.
type step struct {
	what stepKind
	part int    // of stepPart
	id   string // of the upload, once there is one
}

type stepKind int

const (
	stepPut      stepKind = iota // a single PUT of the whole object
	stepCreate                   // start an upload
	stepPart                     // store a part
	stepComplete                 // make the parts the object
	stepAbort                    // throw the parts away
	stepHead                     // look what is stored
	stepGet                      // read what is stored
)

func (k stepKind) method() string {
	return [...]string{http.MethodPut, http.MethodPost, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodHead, http.MethodGet}[k]
}

func (s step) String() string {
	if s.what == stepPart {
		return fmt.Sprintf("part %d", s.part)
	}
	return [...]string{"put", "create", "part", "complete", "abort", "head", "get"}[s.what]
}

// task is what a put does, if not a PUT of the whole object to a signed URL.
type task struct {
	step  step
	way   way                        // nil: the signed URL of the grant
	judge judge                      // of a whole answer, after it was classified
	read  func(body io.Reader) error // of a 200, instead of keeping the beginning of its body
}

// way is how the steps of an upload in parts are permitted: by signed URLs, or by credentials. It is safe for concurrent use.
type way interface {
	// check says what is wrong with the grant for a source of this size.
	check(o PutOptions, size int64) error
	// partSize is that for an object of this size.
	partSize(size int64) int64
	// start gives the id of the upload; false if stepCreate has to ask for it.
	start() (id string, started bool)
	// grant is what permits a step, renew another one in place of what was refused.
	grant(ctx context.Context, s step) (Grant, error)
	renew(ctx context.Context, s step, refused Grant) (Grant, error)
	renewable(s step) bool
	renewals() int
	// list is the body of the completion.
	list(ctx context.Context, id string, parts []storedPart) ([]byte, error)
	// request is that of a step, without its body.
	request(ctx context.Context, s step, g Grant, o PutOptions, c *content) (*http.Request, error)
}

// storedPart is a part that the storage has.
type storedPart struct {
	number int
	etag   string
	digest Digest
	size   int64
}

// parts is a Put in parts under way.
type parts struct {
	client  *Client
	options PutOptions
	content *content
	teller  *teller
	way     way
	read    string // Grant.ReadURL
	size    int64  // of a part
	ctx     context.Context
	end     context.CancelFunc // the steps that are under way: one has failed

	mu       sync.Mutex // guards the rest
	id       string     // of the upload, "" if there is none that would have to be aborted
	stored   map[int]storedPart
	receipt  Receipt
	attempts int
	late     bool // the storage may still be storing a part: its answer was not waited for, or was lost
	retries  int
	failed   *Error // what failed first; what follows from it does not count
}

// restarts is how often an upload that the storage has lost is started anew.
const restarts = 1

// putInParts is Put for a grant that is a Multipart or a Bucket.
func (c *Client) putInParts(ctx context.Context, g Grant, source *content, o PutOptions, t *teller) (Receipt, *Error) {
	attempts, retries, renewals := 0, 0, 0
	for round := 0; ; round++ {
		u := c.newParts(ctx, g, source, o, t)
		e := u.store()
		attempts, retries, renewals = attempts+u.attempts, retries+u.retries, renewals+u.way.renewals()
		if e == nil {
			u.receipt.Attempts, u.receipt.Retries, u.receipt.Renewals = attempts, retries, renewals
			return u.receipt, nil
		}
		e.Attempts, e.Renewals = attempts, renewals
		if e.Code != "NoSuchUpload" || round == restarts || ctx.Err() != nil || g.Bucket == nil && o.Renew == nil {
			return Receipt{}, e
		}
		c.log.Warn("the storage has lost the upload, it is started anew", "name", o.Name, "error", e)
		t.anew(e.Kind)
		retries++
		if g.Bucket == nil {
			fresh, err := o.Renew(ctx)
			renewals++
			if err == nil && fresh.Multipart == nil && fresh.Bucket == nil {
				p := c.newPut(ctx, fresh, task{}, o)
				p.content, p.attempts, p.renewals, p.told.teller = source, attempts, renewals, t
				receipt, e := p.whole()
				receipt.Retries = retries + max(0, p.attempts-attempts-1)
				return receipt, e
			}
			if err != nil {
				e.Err, e.Renewals = fmt.Errorf("renew grant: %w", newScrubber("").error(err)), renewals
				return Receipt{}, e
			}
			g = fresh
		}
	}
}

func (c *Client) newParts(ctx context.Context, g Grant, source *content, o PutOptions, t *teller) *parts {
	u := &parts{client: c, options: o, content: source, teller: t, read: g.ReadURL, stored: map[int]storedPart{}}
	u.ctx, u.end = context.WithCancel(ctx)
	if g.Bucket != nil {
		u.way = newBucketParts(g, o.Renew)
	} else {
		u.way = newSignedParts(g)
	}
	u.size = u.way.partSize(source.size)
	return u
}

// store stores the object, or fails and leaves no parts behind.
func (u *parts) store() *Error {
	defer u.end()
	u.id, _ = u.way.start()
	defer u.abort()
	if err := u.way.check(u.options, u.content.size); err != nil {
		return &Error{Name: u.options.Name, Kind: ErrGrant, Err: err}
	}
	if err := u.drive(); err != nil {
		if u.failed != nil {
			return u.failed
		}
		// Of the manager's own; it has nothing to say of its own but that its context ended.
		return &Error{Name: u.options.Name, Kind: ErrGrant, Err: newScrubber("").error(err)}
	}
	u.receipt.Name, u.receipt.URL, u.receipt.Size = u.options.Name, u.read, u.content.size
	return nil
}

// judge changes what follows from an answer; nil changes nothing.
type judge func(a answer, v verdict, kind error, sent Digest) (verdict, error, error)

// do takes a step until it is done or has failed for good. What it gives is the put that did it.
func (u *parts) do(ctx context.Context, s step, body *content, j judge) (*put, *Error) {
	return u.run(ctx, task{step: s, way: u.way, judge: j}, body)
}

func (u *parts) run(ctx context.Context, t task, body *content) (*put, *Error) {
	t.step.id = u.upload()
	s := t.step
	o := PutOptions{
		Name: u.options.Name, GiveUpAfter: u.options.GiveUpAfter, First: u.options.First,
		ContentEncoding: u.options.ContentEncoding, CacheControl: u.options.CacheControl, ContentDisposition: u.options.ContentDisposition,
	}
	if s.what == stepAbort {
		o.GiveUpAfter = 0 // its context ends it
	}
	g, err := u.way.grant(ctx, s)
	if err != nil {
		p := u.client.newPut(ctx, Grant{}, t, o)
		f := &failure{what: Error{Kind: ErrGrant, Err: fmt.Errorf("get URL for %s: %w", s, p.scrub().error(err))}}
		if ctx.Err() != nil {
			return p, p.error(nil, interrupted(ctx))
		}
		return p, p.error(f, nil)
	}
	p := u.client.newPut(ctx, g, t, o)
	if u.way.renewable(s) {
		p.options.Renew = func(ctx context.Context) (Grant, error) { return u.way.renew(ctx, s, p.grant) }
	}
	p.content, p.told = body, told{teller: u.teller, other: s.what != stepPut && s.what != stepPart}
	e := p.run()
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.what <= stepComplete {
		u.attempts += p.attempts
		u.retries += max(0, p.attempts-1)
	}
	u.late = u.late || s.what == stepPart && p.unanswered
	return p, e
}

// fail keeps the first failure, and ends what else is under way.
func (u *parts) fail(e *Error) *Error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed == nil {
		u.failed = e
	}
	u.end()
	return e
}

func (u *parts) upload() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.id
}

// create starts an upload, if that is ours to do.
func (u *parts) create() *Error {
	if u.upload() != "" {
		return nil
	}
	var result struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		UploadID string   `xml:"UploadId"`
	}
	_, e := u.do(u.ctx, step{what: stepCreate}, nothing, func(a answer, v verdict, kind error, _ Digest) (verdict, error, error) {
		if v == stored && (xml.Unmarshal(a.body, &result) != nil || result.UploadID == "") {
			return retry, ErrUnavailable, errors.New("answered without an upload id")
		}
		return v, kind, nil
	})
	if e != nil {
		return u.fail(e)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.id = result.UploadID
	return nil
}

// one stores the object with a single PUT: it is no larger than a part.
func (u *parts) one() *Error {
	p, e := u.do(u.ctx, step{what: stepPut}, u.content, nil)
	if e != nil {
		return u.fail(e)
	}
	u.receipt.Digest, u.receipt.ETag, u.receipt.Expires = p.proof.digest, p.proof.etag, expires(p.proof.header)
	return nil
}

// part stores one part.
func (u *parts) part(number int, offset, size int64) (storedPart, *Error) {
	section := u.content.section(offset, size)
	same := func(a answer, v verdict, kind error, sent Digest) (verdict, error, error) {
		if v != stored {
			return v, kind, nil
		}
		return comparePart(a, section, sent)
	}
	p, e := u.do(u.ctx, step{what: stepPart, part: number}, section, same)
	if e != nil {
		return storedPart{}, u.fail(e)
	}
	done := storedPart{number: number, etag: p.proof.etag, digest: p.proof.digest, size: size}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stored[number] = done
	return done, nil
}

// digest is that of the whole object, out of those of its parts.
func (u *parts) digest() Digest {
	var crc uint64
	for number := 1; number <= len(u.stored); number++ {
		crc = combine(crc, u.stored[number].digest.sum(), u.stored[number].size)
	}
	return digestOfSum(crc)
}

// abortWithin bounds how long it is tried to throw parts away.
const abortWithin = 10 * time.Second

// abort throws the parts away, if there are any; they may cost money for as long as they lie there.
// The upload may have ended because its context did: so this has one of its own.
//
// A part that the storage is just storing may turn up after the abort, which then has to be repeated (Amazon S3,
// AbortMultipartUpload in the API reference; seen with versitygw). Nobody says when, so it is done a few times.
func (u *parts) abort() {
	if u.upload() == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), abortWithin)
	defer cancel()
	e := u.abortOnce(ctx)
	for pause := 100 * time.Millisecond; e == nil && u.late && pause < time.Second; pause *= 3 {
		select {
		case <-time.After(pause):
			e = u.abortOnce(ctx)
		case <-ctx.Done():
		}
	}
	u.id = "" // nothing else is under way any more
	if e != nil {
		u.client.log.Warn("parts are left behind: they could not be thrown away", "name", u.options.Name, "error", e)
	}
}

func (u *parts) abortOnce(ctx context.Context) *Error {
	_, e := u.do(ctx, step{what: stepAbort}, nothing, func(a answer, v verdict, kind error, _ Digest) (verdict, error, error) {
		if a.status == http.StatusNotFound {
			return stored, nil, nil // it is gone already
		}
		return v, kind, nil
	})
	return e
}

// nothing is the body of a request that has none.
var nothing = &content{check: func(Digest) error { return nil }}
