package queue

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/taskcluster/upload-agent/schema"
)

const (
	documentTries  = 4                // attempts that may bring a 2xx without the document
	maxRefusal     = 64 << 10         // bytes read of an answer that refuses
	expectedAnswer = 1 << 20          // bytes of an answer for which room is made at once, where it says that it is so long
	maxRetryAfter  = 30 * time.Second // the longest Retry-After that is honoured: a claim must not lapse meanwhile
)

// call is one request, made as often as it takes.
type call struct {
	op      string
	taskID  schema.TaskID
	object  string // what is read, for calls to the storage
	method  string
	url     string
	header  http.Header            // beyond the usual ones
	body    []byte                 // nil: none
	answer  string                 // what the answer is called in errors
	refusal func(status int) error // the kind of error that a status stands for; nil for none
	bad     *Error                 // what is wrong with the call itself: it is not made
	// incidents is how many 500s in a row say that the request, not the queue, is at fault; 0: none do.
	incidents int
}

// failed is an error of this call.
func (k call) failed(err error) *Error {
	return &Error{Op: k.op, TaskID: k.taskID, Object: k.object, Err: err}
}

// caller makes calls; it is what a Client and a Storage have in common.
type caller struct {
	base    *url.URL
	http    http.Client
	log     *slog.Logger
	backoff backoff.ExponentialBackOff // copied for each call
	timeout time.Duration
	skew    skew
	lives   lives // of objects
}

func newCaller(base *url.URL, hops int, o Options) *caller {
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MinBackoff <= 0 {
		o.MinBackoff = 200 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 10 * time.Second
	}
	if o.AttemptTimeout <= 0 {
		o.AttemptTimeout = 30 * time.Second
	}
	return &caller{
		base: base,
		http: http.Client{Transport: o.Transport, CheckRedirect: redirects(hops)},
		log:  o.Logger,
		backoff: backoff.ExponentialBackOff{
			InitialInterval:     min(o.MinBackoff, o.MaxBackoff),
			RandomizationFactor: 0.5,
			Multiplier:          2,
			MaxInterval:         o.MaxBackoff,
			Stop:                backoff.Stop,
			Clock:               backoff.SystemClock,
		},
		timeout: o.AttemptTimeout,
	}
}

// fetch makes a call whose answer is a document.
func fetch[T schema.Document](ctx context.Context, c *caller, k call) (T, error) {
	var doc T
	err := c.document(ctx, k, func(data []byte) (err error) {
		doc, err = schema.DecodeLenient[T](k.answer, data)
		return err
	})
	return doc, err
}

// document makes a call until decode takes its answer. One that decode refuses may be a proxy's page, so it gets a few more tries.
func (c *caller) document(ctx context.Context, k call, decode func([]byte) error) error {
	unreadable := 0
	return c.retry(ctx, k, func() *Error {
		data, status, e := c.exchange(ctx, k)
		if e == nil {
			err := decode(data)
			if err == nil {
				return nil
			}
			e = k.failed(quiet(err))
			e.Status, e.unsure = status, true
			e.Message = "the answer is not the document asked for; is a proxy in between, or the base URL wrong?"
		} else if !errors.Is(e, ErrTooLarge) {
			return e
		}
		unreadable++
		e.temporary = unreadable < documentTries
		return e
	})
}

// exchange makes one attempt and reads the answer, at most schema.MaxBytes of it.
func (c *caller) exchange(ctx context.Context, k call) (data []byte, status int, e *Error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, c.slow())
	defer cancel()
	resp, e := c.send(ctx, k)
	if e != nil {
		return nil, 0, e
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent && k.refusal(resp.StatusCode) != nil {
		e = k.failed(k.refusal(resp.StatusCode))
		e.Status = resp.StatusCode
		return nil, 0, e
	}
	data, err := readBody(resp, schema.MaxBytes)
	if err != nil {
		e = k.failed(broken(ctx, err))
		e.Status, e.temporary, e.unsure = resp.StatusCode, true, true
		return nil, 0, e
	}
	return data, resp.StatusCode, nil
}

// slow is the cause of an attempt that took too long.
func (c *caller) slow() error { return fmt.Errorf("%w: %v passed", ErrTimeout, c.timeout) }

// send makes one request. It returns an answer of success, with its body still to be read and closed, or what went wrong.
func (c *caller) send(ctx context.Context, k call) (*http.Response, *Error) {
	var body io.Reader
	if k.body != nil {
		body = bytes.NewReader(k.body) // gives the request a length and GetBody
	}
	req, err := http.NewRequestWithContext(ctx, k.method, k.url, body)
	if err != nil {
		return nil, k.failed(broken(ctx, err))
	}
	req.Header.Set("User-Agent", "upload-agent")
	req.Header.Set("Accept-Encoding", "gzip") // said by us, the transport leaves decoding, and so its bounds, to us
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range k.header {
		req.Header[name] = values
	}
	start := time.Now()
	resp, err := c.http.Do(req)
	if err = notFollowed(err); err != nil {
		e := k.failed(broken(ctx, err))
		var untrusted *tls.CertificateVerificationError
		e.temporary = !errors.Is(err, ErrRedirected) && !(k.object != "" && errors.As(err, &untrusted)) // a claim goes on trying, a reader is told
		e.unsure = e.temporary && !neverSent(err)
		return nil, e
	}
	c.skew.add(resp.Header, start, time.Now())
	if resp.StatusCode/100 == 2 {
		c.lives.saw(k.url, resp.Header)
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := readBody(resp, maxRefusal) // whatever there is of it
	said := parseRefusal(text)
	e := k.failed(k.refusal(resp.StatusCode))
	e.Status, e.Message, e.Pointer, e.IncidentID = resp.StatusCode, said.message, said.pointer, said.incidentID
	if e.Message == "" && resp.StatusCode == http.StatusProxyAuthRequired {
		e.Message = "the proxy wants a user and a password: see HTTPS_PROXY and HTTP_PROXY"
	}
	if e.Message == "" && resp.StatusCode/100 == 3 && resp.Header.Get("Location") == "" {
		e.Message = "a redirect that does not say where to"
	}
	if gone := c.lives.missed(k.url, c.now()); gone != nil && errors.Is(e.Err, ErrNotFound) && (!gone.Expired.IsZero() || resp.StatusCode != http.StatusForbidden) {
		e.Err = gone
	}
	e.temporary = temporary(resp.StatusCode)
	e.unsure = resp.StatusCode >= 500
	e.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return nil, e
}

// retry makes attempts until one succeeds, one fails for good, or ctx ends.
func (c *caller) retry(ctx context.Context, k call, attempt func() *Error) error {
	waits := c.backoff
	waits.Reset()
	maybeDone, incidents := false, 0
	var last *Error
	ended := func(attempts int) error {
		e := k.failed(nil)
		if last != nil {
			*e = *last
		}
		e.Attempts, e.MaybeDone = attempts, maybeDone
		e.Err = &endError{cause: context.Cause(ctx), ctx: ctx.Err(), last: e.Err}
		return e
	}
	if k.bad != nil {
		return k.bad
	}
	for attempts := 0; ; {
		if ctx.Err() != nil {
			return ended(attempts)
		}
		e := attempt()
		if e == nil {
			return nil
		}
		attempts++
		e.Attempts, e.MaybeDone = attempts, maybeDone
		if ctx.Err() != nil && errors.Is(e.Err, context.Cause(ctx)) { // the attempt before this one tells more
			maybeDone = maybeDone || e.unsure
			return ended(attempts)
		}
		if incidents++; e.Status != http.StatusInternalServerError {
			incidents = 0
		}
		if !e.temporary || k.incidents > 0 && incidents == k.incidents {
			return e
		}
		last, maybeDone = e, maybeDone || e.unsure
		wait := max(waits.NextBackOff(), min(e.retryAfter, maxRetryAfter))
		c.log.LogAttrs(ctx, slog.LevelWarn, "call is tried again",
			slog.String("call", k.op), slog.String("taskId", string(k.taskID)), slog.Duration("wait", wait), slog.Any("error", e))
		pause(ctx, wait)
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// readBody reads a body of at most limit bytes, counted after gzip is undone. What was read is returned with the error too.
func readBody(resp *http.Response, limit int64) ([]byte, error) {
	r, err := decoded(resp.Header.Get("Content-Encoding"), resp.Body)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	body.Grow(int(min(max(resp.ContentLength, 0), expectedAnswer)) + bytes.MinRead)
	_, err = body.ReadFrom(io.LimitReader(r, limit+1))
	data := body.Bytes()
	if err != nil {
		return data, fmt.Errorf("read answer: %w", err)
	}
	if int64(len(data)) > limit {
		return data[:limit], fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return data, nil
}

// decoded undoes a content encoding.
func decoded(encoding string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return r, nil
	case "gzip", "x-gzip":
		return &lazyGzip{src: r}, nil
	}
	return nil, fmt.Errorf("%w %q: want gzip or none", ErrEncoding, abbreviate(encoding, 40))
}

// lazyGzip reads the gzip header with the first Read. An empty body is empty: some servers mark those too.
type lazyGzip struct {
	src io.Reader
	z   *gzip.Reader
}

func (l *lazyGzip) Read(p []byte) (int, error) {
	if l.z == nil {
		z, err := gzip.NewReader(l.src)
		if err != nil {
			return 0, err
		}
		l.z = z
	}
	return l.z.Read(p)
}
