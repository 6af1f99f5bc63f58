package livelog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// ReaderOptions adjust a [Reader]. The zero value works.
type ReaderOptions struct {
	Transport    http.RoundTripper // default: one of its own, with the proxies of the environment
	Offset       int64             // the first byte of the log to read; one that is not written yet is waited for, io.EOF if the log ends before it
	LastLines    int               // if not 0, Offset does not count: begin so many lines before the end that the log has at the first look; -1: at that end
	MinPoll      time.Duration     // least time between two looks at the index; default 100 ms
	MaxPoll      time.Duration     // most time between two looks; default 30 s. Between them the index says how often it is replaced
	Attempts     int               // how often an answer that makes no sense is tried without progress; default 12, about a minute
	StallTimeout time.Duration     // a request on which nothing moves for this long is sent again; default 30 s
	Logger       *slog.Logger      // told of every retry, at debug level; default: discards

	// Once has the reader end where the log ends at the first look, complete or not. Where there is no index yet, that is
	// ErrNotYet. Every failure is then one of those that are tried a bounded number of times.
	Once bool
	// Abandoned, if not nil, says why nobody writes to the log any more, or nil if somebody may. A [Reader] asks it when the index, of a log
	// that is not complete, or the lack of one, has stayed as it is for Patience (default 30 s), and once more after as long again without a change: then
	// the log ends unfinished, with that error. So what was stored before the first answer is read.
	Abandoned func(context.Context) error
	Patience  time.Duration
}

// withDefaults fills in what is not set.
func (o ReaderOptions) withDefaults() ReaderOptions {
	o.Offset = max(o.Offset, 0)
	if o.MinPoll <= 0 {
		o.MinPoll = 100 * time.Millisecond
	}
	if o.MaxPoll <= 0 {
		o.MaxPoll = 30 * time.Second
	}
	o.MaxPoll = max(o.MaxPoll, o.MinPoll)
	if o.Attempts <= 0 {
		o.Attempts = 12
	}
	if o.StallTimeout <= 0 {
		o.StallTimeout = 30 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// reading is what all readers have in common: where they are, and how often they try.
type reading struct {
	ctx    context.Context // as with http.Request: one reader is one operation
	cancel context.CancelCauseFunc
	o      ReaderOptions
	getter *getter
	own    *http.Transport // nil if the transport was given

	offset int64         // the next byte to give
	body   io.ReadCloser // the open chunk or answer; nil: there is none
	source string        // what is being read
	tries  int           // failures in a row
	wrong  int           // those of them that made no sense
	last   error         // the newest of them
	err    error         // final
}

func newReading(ctx context.Context, source string, o ReaderOptions) reading {
	o = o.withDefaults()
	r := reading{o: o, source: source, offset: o.Offset}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	transport := o.Transport
	if transport == nil {
		r.own = newTransport()
		transport = r.own
	}
	r.getter = &getter{transport: transport, stall: o.StallTimeout}
	return r
}

func newTransport() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}

// next reads from offset on, and moves it. It takes steps until one gives bytes or the final error.
func (r *reading) next(p []byte, step func(p []byte) (int, error)) (int, error) {
	for r.err == nil {
		if r.ctx.Err() != nil {
			r.drop()
			r.err = r.ended()
			break
		}
		n, err := step(p)
		r.offset += int64(n)
		if n > 0 {
			r.progress()
			return n, nil
		}
		r.err = err
	}
	return 0, r.err
}

// drop closes body, if there is one.
func (r *reading) drop() {
	if r.body != nil {
		r.body.Close() // only read from: no error to lose
		r.body = nil
	}
}

// close lets go of connections.
func (r *reading) close() {
	if r.own != nil {
		r.own.CloseIdleConnections()
	}
}

// progress forgets the failures so far.
func (r *reading) progress() { r.tries, r.wrong = 0, 0 }

// retry notes a failure and waits before the next attempt. The error is final: after too
// many answers that were wrong, rather than late.
func (r *reading) retry(err error, wrong bool) error {
	if r.ctx.Err() != nil {
		return nil // Read sees it
	}
	r.tries++
	r.last = err
	var untrusted *tls.CertificateVerificationError
	distrust := errors.As(err, &untrusted) // it may be a mistake that is put right, but not if it was so from the beginning
	if wrong || r.o.Once || distrust {
		r.wrong++
	}
	if distrust && !r.getter.answered || r.wrong >= r.o.Attempts || errors.Is(err, ErrRedirected) || errors.Is(err, ErrURL) {
		return r.failed(err)
	}
	pause := jittered(backoff(r.tries, r.o.MinPoll, min(r.o.MaxPoll, 10*time.Second)), rand.Float64())
	r.o.Logger.Debug("trying again to read live log", "url", schema.Redact(r.source),
		"offset", r.offset, "attempt", r.tries, "after", pause, "err", err)
	r.sleep(pause)
	return nil
}

// backoff doubles from least to most with each of the tries, the first of which is 1.
func backoff(tries int, least, most time.Duration) time.Duration {
	pause := least
	for ; tries > 1 && pause < most; tries-- {
		pause *= 2
	}
	return max(min(pause, most), least)
}

// sleep reports whether d has passed before the context ended.
func (r *reading) sleep(d time.Duration) bool {
	if d <= 0 {
		return r.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// ended is the error after the context has ended: its cause, and what was tried until then.
func (r *reading) ended() error {
	cause := context.Cause(r.ctx)
	if r.tries > 0 {
		return r.failed(fmt.Errorf("%w; before that: %w", cause, r.last))
	}
	return r.failed(cause)
}

func (r *reading) failed(err error) error {
	return &ReadError{URL: schema.Redact(r.source), Offset: r.offset, Attempts: max(r.tries, 1), Err: err}
}
