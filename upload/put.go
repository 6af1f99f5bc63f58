package upload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// PutOptions are the options of one Put; the zero value works.
type PutOptions struct {
	Name            string // what to call the object in errors and logs ("result.json", an artifact's name)
	ContentEncoding string // sent as Content-Encoding; "" sends none
	// Renew gives a fresh grant for the same object; it is called from one goroutine at a time. That of a signed PUT is
	// a signed PUT, that of a Bucket the same with other credentials; a Multipart that the storage has lost may be followed by either.
	// nil: an expired grant is the end (ErrExpired). An error of Renew ends the Put, wrapped.
	Renew func(ctx context.Context) (Grant, error)
	// GiveUpAfter: no attempt starts later than this after the first failure (of the same part); one that runs is left to end.
	// 0: tried again until ctx ends or (without Renew) the grant expires.
	GiveUpAfter time.Duration
	// CacheControl and ContentDisposition are sent as the headers of these names; "" sends none. As a Content-Encoding they need not be
	// signed, with either version of the signatures; one that was, with the grant, goes before.
	CacheControl, ContentDisposition string

	// First is never held up by Options.Limiter: what is small and has to be there soon.
	First bool

	// ReadBack reads the object once more where readers find it (Grant.ReadURL) and compares size and digest: an object that
	// cannot be read back as it was sent is an ErrReadBack. See Put. Default: what the storage answers to the upload is believed.
	ReadBack bool

	// OnProgress, if not nil, is told how many bytes of the object are on their way or have arrived: at most ten times a second
	// while they move, and once when all are. It falls where some are sent again, because an attempt has failed.
	OnProgress func(sent int64)
	// OnRetry, if not nil, is told each time that something is tried again, and which of the Err... of this package the reason was.
	OnRetry func(kind error)
	// Both are called from goroutines of the Put, one call at a time, which wait for them.
}

// maxStale is how many fresh grants in a row may come back expired.
const maxStale = 8

// put is one Put of a whole object under way, or one of the other steps that an upload in parts is made of.
// It is used by one goroutine.
type put struct {
	ctx     context.Context
	client  *Client
	options PutOptions
	task    task
	content *content
	pace    *pace
	told    told

	grant   Grant
	url     *url.URL      // that of the grant; nil if it does not parse
	host    string        // where it leads, "" if nowhere
	expires time.Time     // when it does, zero if unknown
	margin  time.Duration // it is renewed this long before

	renewNext bool // before the next attempt
	fresh     bool // the grant was renewed and not used yet
	stale     int  // fresh grants in a row that came back expired
	denied    bool // a refused grant was renewed; not a second time
	rehashed  bool // a digest mismatch was tried again; not a second time
	plain     bool // without Expect

	unanswered         bool // bytes were sent, and no answer came: the storage may have stored them, or be about to
	attempts, renewals int
	proof              proof
	last               *failure  // of the last attempt that failed by itself
	failed             time.Time // when the first did
	final              bool      // the last failure is not worth another attempt
}

// Put stores src where g allows, and returns when the storage has it. The error is an [*Error], or nil.
//
// In parts: with a grant that is a [Multipart] or a [Bucket], what is larger than a part is sent in parts, some at once
// (Options.PartsAtOnce). Each is tried again and its grant renewed by itself, by the rules below; the first that fails for good ends
// the others. The parts become the object only when all are stored and the source is unchanged. What fails leaves no parts
// behind: they are thrown away, for which Put takes up to ten seconds more, even if ctx has ended. An upload that the storage
// has lost is started anew once. Where the answer to the completion was lost, the storage is asked what it has.
//
// Expired: a grant is renewed early, a margin before it expires by the storage's clock as estimated: a tenth of its
// life, at most 30 s (its life being X-Amz-Expires, or what was left of it when Put got it). A grant just renewed is always
// tried. Without Renew, a grant that has certainly expired is ErrExpired at once; with a storage whose
// clock is not known yet it is tried once, because our clock may be the wrong one.
//
// Read back: with PutOptions.ReadBack, the object is read where Grant.ReadURL leads, through redirects but not from https to http,
// without the rights to store it. A storage that does not show it yet, or still shows another one, is asked again for up to 30 s; one that
// does not answer, for as long as an upload is tried. That the URL refuses us (401, 403) is final: readers need rights that we do not
// have, so nothing is known of what they get. Stored bytes are compared, whatever their Content-Encoding.
func (c *Client) Put(ctx context.Context, g Grant, src Source, o PutOptions) (Receipt, error) {
	start := time.Now()
	p := c.newPut(ctx, g, task{}, o)
	p.told.teller = newTeller(o)
	if o.ReadBack && g.ReadURL == "" {
		return Receipt{}, p.error(&failure{what: Error{Kind: ErrGrant, Err: errNoReadURL}}, nil)
	}
	content, err := src.opened()
	if err != nil {
		return Receipt{}, p.error(sourceFailure(err), nil)
	}
	defer content.close() // only read
	var receipt Receipt
	var e *Error
	if g.Multipart == nil && g.Bucket == nil {
		p.content = content
		receipt, e = p.whole()
	} else {
		receipt, e = c.putInParts(ctx, g, content, o, p.told.teller)
	}
	if e == nil && o.ReadBack {
		e = c.readBack(p, receipt)
	}
	if e != nil {
		return Receipt{}, e
	}
	receipt.Duration = time.Since(start)
	return receipt, nil
}

func (c *Client) newPut(ctx context.Context, g Grant, t task, o PutOptions) *put {
	p := &put{ctx: ctx, client: c, options: o, task: t}
	p.pace = newPace(ctx, c.options, p.noLaterThan)
	p.use(g)
	return p
}

// whole stores a whole object.
func (p *put) whole() (Receipt, *Error) {
	if e := p.run(); e != nil {
		return Receipt{}, e
	}
	return Receipt{
		Name: p.options.Name, URL: p.grant.ReadURL, Size: p.content.size, Digest: p.proof.digest, ETag: p.proof.etag,
		Expires: expires(p.proof.header), Attempts: p.attempts, Retries: max(0, p.attempts-1), Renewals: p.renewals,
	}, nil
}

// run makes attempts until one succeeds, or no other is worth it.
func (p *put) run() *Error {
	first := p.try()
	if first == nil {
		return nil // as a rule: what follows is not made ready for nothing
	}
	err := backoff.RetryNotify(func() (err error) {
		if err, first = first, nil; err == nil {
			err = p.try()
		}
		return err
	}, backoff.WithContext(p.pace, p.ctx), p.notify)
	switch {
	case err == nil:
		return nil
	case p.final:
		return p.error(p.last, nil)
	case p.ctx.Err() != nil:
		return p.error(p.last, interrupted(p.ctx))
	}
	_, reason := p.deadline()
	return p.error(p.last, reason)
}

// interrupted is why a context ended: its cause, and its own error where the cause does not hold it.
func interrupted(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// try is one turn of the loop: a grant that can be used, an unchanged source, one attempt, and what follows from it.
func (p *put) try() error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if f := p.ready(); f != nil {
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		return p.follow(f)
	}
	if p.attempts > 0 {
		if err := p.content.check(""); err != nil {
			return p.follow(sourceFailure(err))
		}
	}
	proof, f := p.attempt()
	if f == nil {
		if err := p.content.check(proof.digest); err != nil {
			f = sourceFailure(err)
		}
	}
	if f != nil {
		p.debug("upload attempt ends", slog.Any("error", f))
		return p.follow(f)
	}
	p.debug("upload attempt succeeds", slog.String("digest", string(proof.digest)))
	p.told.done(p.content.size)
	p.proof = proof
	return nil
}

// ready sees to it that the grant can be used, renewing it if needed.
func (p *put) ready() *failure {
	expired := p.expired()
	if !p.renewNext && !expired {
		return nil
	}
	if p.options.Renew == nil {
		f := &failure{what: Error{Kind: ErrExpired}, verdict: stop}
		if p.last != nil {
			f.what = *p.error(p.last, ErrExpired)
		}
		return f
	}
	g, err := p.options.Renew(p.ctx)
	if err != nil {
		f := &failure{what: Error{Kind: ErrExpired}, verdict: stop}
		if p.renewNext {
			f.what = p.last.what // why it had to be renewed
		}
		f.what.Err = fmt.Errorf("renew grant: %w", p.scrub().error(err))
		return f
	}
	p.renewals++
	same := p.renewNext && g.same(p.grant)
	p.use(g)
	p.fresh = true
	if same {
		// Never the URL again that was refused.
		f := *p.last
		f.what.Err = errors.New("the renewed grant holds the same signed URL")
		return &f
	}
	p.renewNext = false
	return nil
}

// follow decides what comes after a failure: the same error to try again, or a permanent one.
func (p *put) follow(f *failure) error {
	if p.ctx.Err() != nil && f.what.Status == 0 && f.what.Kind != ErrChanged {
		return context.Cause(p.ctx) // it broke because the context ended: what failed before says more
	}
	if p.failed.IsZero() {
		p.failed = time.Now()
	}
	fresh := p.fresh
	p.last, p.fresh = f, false
	p.pace.asked = f.after
	if p.again(f, fresh) {
		return f
	}
	p.final = true
	return backoff.Permanent(f)
}

// again says whether another attempt may end better, and prepares it. fresh: the grant had just been renewed.
func (p *put) again(f *failure, fresh bool) bool {
	switch f.verdict {
	case retry:
		return true
	case retryPlain:
		once := !p.plain
		p.plain, p.pace.soon = true, true
		return once
	case retryHashed:
		once := !p.rehashed
		p.rehashed = true
		return once && p.unchanged(f)
	case renewOnce:
		once := !p.denied
		p.denied, p.renewNext, p.pace.soon = true, true, true
		return once && p.options.Renew != nil
	case renew:
		p.stale++
		if !fresh {
			p.stale = 0
		}
		p.renewNext, p.pace.soon = true, p.stale == 0
		if p.stale == maxStale {
			f.what.Err = fmt.Errorf("%d fresh grants in a row: do the clocks of the storage and of whoever signs agree?", p.stale)
		}
		return p.stale < maxStale && p.options.Renew != nil
	}
	return false
}

// unchanged hashes the source again, to tell a body that was damaged on its way from a source that has changed.
func (p *put) unchanged(f *failure) bool {
	again, err := p.content.digest()
	if err == nil && f.digest != "" && again != f.digest {
		err = fmt.Errorf("%w: hashed again, its bytes are others now", ErrChanged)
	}
	if err != nil {
		p.last = sourceFailure(err)
	}
	return err == nil
}

func (p *put) notify(err error, pause time.Duration) {
	p.told.again(p.last.what.Kind)
	p.client.log.Warn("upload is tried again", "name", p.options.Name, "step", p.task.step.String(), "attempts", p.attempts, "pause", pause, "renew", p.renewNext, "error", err)
}

// debug logs a step of an attempt.
func (p *put) debug(message string, more slog.Attr) {
	if p.client.log.Enabled(p.ctx, slog.LevelDebug) {
		p.client.log.Debug(message, more, "name", p.options.Name, "step", p.task.step.String(), "attempt", p.attempts, "url", p.grant.URL)
	}
}

// use takes a grant, and fixes how early it will be renewed.
func (p *put) use(g Grant) {
	p.grant, p.url, p.host, p.expires, p.margin = g, nil, "", g.Expires, 0
	var life time.Duration
	if g.Bucket != nil {
		p.host, p.expires = g.Bucket.host(), g.Bucket.Credentials.Expires
	} else if u, err := url.Parse(g.URL.Reveal()); err == nil {
		p.url, p.host = u, u.Host
		at, signedFor, ok := validity(u)
		life = signedFor
		if ok && g.Expires.IsZero() {
			p.expires = at
		}
	}
	if p.expires.IsZero() {
		return
	}
	if life == 0 {
		life = p.expires.Sub(p.now())
	}
	p.margin = max(0, min(life/10, 30*time.Second))
}

// scrub takes what the grant holds of secrets out of texts from outside.
func (p *put) scrub() scrubber {
	s := newScrubber(p.grant.URL.Reveal())
	if b := p.grant.Bucket; b != nil {
		s.secrets = append(s.secrets, b.Credentials.SecretAccessKey.Reveal(), b.Credentials.SessionToken.Reveal())
	}
	return s
}

// now is the time by the clock of the grant's storage, as far as that is known.
func (p *put) now() time.Time {
	skew, _ := p.client.clocks.skew(p.host)
	return time.Now().Add(skew)
}

// lapsed reports that the grant is over by the storage's clock.
func (p *put) lapsed() bool { return !p.expires.IsZero() && !p.now().Before(p.expires) }

// expired reports that the grant should not be sent, see Put.
func (p *put) expired() bool {
	switch {
	case p.expires.IsZero() || p.fresh:
		return false
	case p.options.Renew != nil:
		return !p.now().Add(p.margin).Before(p.expires)
	}
	_, known := p.client.clocks.skew(p.host)
	return (known || p.attempts > 0) && p.lapsed()
}

// deadline is when the last attempt may start, besides the context's, and what it is then that ends the Put; nil if there is none.
func (p *put) deadline() (at time.Time, reason error) {
	if p.options.GiveUpAfter > 0 {
		at, reason = p.failed.Add(p.options.GiveUpAfter), ErrGaveUp
	}
	if !p.expires.IsZero() && p.options.Renew == nil {
		t := time.Now().Add(p.expires.Sub(p.now())) // by our clock
		if reason == nil || t.Before(at) {
			at, reason = t, ErrExpired
		}
	}
	return at, reason
}

func (p *put) noLaterThan() (time.Time, bool) {
	at, reason := p.deadline()
	return at, reason != nil
}
