package livelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// noCache has caches ask the storage whether what they hold is still so.
const noCache = "no-cache"

// maxHops is how many redirects are followed for one request.
const maxHops = 10

var errStalled = errors.New("nothing moves any more")

// statusError is an answer with another status than those that were hoped for.
type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("the answer is %d %s", int(e), http.StatusText(int(e)))
}

// missing reports whether the object is not there, or not yet, or no more: a storage that
// does not let strangers list says 403 for that.
func (e statusError) missing() bool {
	return e == http.StatusNotFound || e == http.StatusForbidden || e == http.StatusGone
}

// passing reports whether the same request may be answered better in a while.
func (e statusError) passing() bool {
	return e >= 500 || e == http.StatusTooManyRequests || e == http.StatusRequestTimeout || e == http.StatusTooEarly
}

// getter sends GET requests: through redirects, and with a watchdog on progress.
// No error of it holds more of a URL than scheme, host and path: any may be a signed one.
//
// It asks the transport itself: an [http.Client] would send the URL on as Referer, go from
// https to http, and put a Location that does not parse into its error.
type getter struct {
	transport http.RoundTripper
	stall     time.Duration // a request or a body on which nothing moves for this long is given up
	answered  bool          // there was an answer
}

// get gives the first answer that is no redirect, whatever its status.
// ErrURL and ErrRedirected are errors that stay; others may pass.
func (g *getter) get(ctx context.Context, rawURL string, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(g.stall, func() { cancel(errStalled) })
	timer.Stop()
	dog := &watched{ctx: ctx, cancel: cancel, timer: timer, stall: g.stall}
	resp, err := g.follow(dog, rawURL, header)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	g.answered = true
	dog.body = resp.Body
	resp.Body = dog
	return resp, nil
}

// follow sends the request, then those that its redirects ask for.
func (g *getter) follow(dog *watched, rawURL string, header http.Header) (*http.Response, error) {
	at, err := url.Parse(rawURL)
	if err != nil || checkURL(rawURL) != nil {
		return nil, ErrURL
	}
	for hop := 0; hop <= maxHops; hop++ {
		resp, err := g.send(dog, at, header)
		if err != nil {
			return nil, err
		}
		if !isRedirect(resp.StatusCode) {
			return resp, nil
		}
		location := resp.Header.Get("Location")
		dog.timer.Reset(dog.stall)
		discard(resp.Body)
		dog.timer.Stop()
		next, err := checkHop(at, location)
		if err != nil {
			return nil, err
		}
		at = next
	}
	return nil, fmt.Errorf("%w: more than %d in a row, the last to %s", ErrRedirected, maxHops, schema.Redact(at.String()))
}

// checkHop is where a redirect leads, or why it is not followed. Nothing of the URL before goes along: no query, no user.
func checkHop(at *url.URL, location string) (*url.URL, error) {
	next, err := at.Parse(location)
	if location == "" {
		return nil, fmt.Errorf("%w: a redirect that does not say where to", ErrRedirected)
	}
	if err != nil || checkURL(next.String()) != nil {
		return nil, fmt.Errorf("%w: the target is neither http nor https", ErrRedirected)
	}
	given, err := url.Parse(location)
	switch {
	case at.Scheme == "https" && next.Scheme != "https":
		return nil, fmt.Errorf("%w: from https to http, %s", ErrRedirected, schema.Redact(next.String()))
	case err != nil || given.User != nil: // RFC 9110, 4.2.4: an error, in a URL from elsewhere
		return nil, fmt.Errorf("%w: %s names a user", ErrRedirected, schema.Redact(next.String()))
	}
	return next, nil
}

// send sends one request and waits for the header of its answer.
func (g *getter) send(dog *watched, at *url.URL, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(dog.ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, ErrURL
	}
	req.Header = header.Clone()
	dog.timer.Reset(dog.stall)
	resp, err := g.transport.RoundTrip(req)
	dog.timer.Stop()
	if err == nil {
		return resp, nil
	}
	var wrapped *url.Error // of a transport that is not net/http's: it holds the URL
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return nil, dog.explain(err)
}

// discard closes a body that nobody wants. Reading the rest of a short one lets the connection be used again.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close() // only read from: no error to lose
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// watched is a body whose request is cancelled when a Read takes longer than stall.
type watched struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // runs only while we wait for the other side
	stall  time.Duration
	body   io.ReadCloser
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.stall)
	n, err := w.body.Read(p)
	w.timer.Stop()
	return n, w.explain(err)
}

// explain says that it was the watchdog, not the caller, who cancelled.
func (w *watched) explain(err error) error {
	if err != nil && err != io.EOF && context.Cause(w.ctx) == errStalled {
		return fmt.Errorf("%w for %v", errStalled, w.stall)
	}
	return err
}

func (w *watched) Close() error {
	w.cancel(nil)
	return w.body.Close()
}
