package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// expectAbove: larger bodies are sent only once the storage has said that it wants them ("Expect: 100-continue").
// A smaller one fits into the socket's buffer as a whole; while a larger one is being written, an early
// refusal would be lost behind the reset that follows it.
const expectAbove = 64 << 10

// proof is what an attempt that stored the object leaves.
type proof struct {
	digest Digest
	etag   string
	header http.Header // of the answer
}

// attempt makes one request, redirects included. When it returns, the content is not read any more.
func (p *put) attempt() (proof, *failure) {
	ctx, dog := watch(p.ctx, p.client.options.StallTimeout)
	defer dog.stop()
	sent, err := newBodies(p.content, func(n int64) { dog.moved(); p.told.moved(n) })
	if err != nil {
		return proof{}, sourceFailure(err)
	}
	defer sent.close()
	dog.wrote = sent.wrote

	req, err := p.request(ctx, p.limit(ctx, dog, sent.next))
	if p.host == "" && req != nil {
		p.host = req.URL.Host
	}
	if err != nil {
		return proof{}, &failure{what: Error{Kind: ErrGrant, Err: err}, verdict: stop}
	}
	p.attempts++
	p.debug("upload starts", slog.Int64("size", p.content.size))
	proxy := p.client.proxyOf(req)
	res, err := p.client.wire.do(p.client.http, req)
	if res != nil {
		defer res.Body.Close()
	}
	var a answer
	if err == nil {
		p.client.clocks.heard(req.URL.Host, res.Header, time.Now())
		a, err = p.receive(res, dog.moved)
	}
	n, digest, readErr := sent.state()
	if readErr != nil {
		// Whatever happened on the wire followed from this.
		return proof{}, sourceFailure(readErr)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && p.ctx.Err() == nil {
			err = cause
		}
		p.unanswered = p.unanswered || n > 0
		f := p.broken(err)
		f.what.Proxy, f.what.Status = proxy, max(f.what.Status, a.status)
		return proof{}, f
	}
	if f := p.judge(a, n, digest); f != nil {
		f.what.Proxy = proxy
		return proof{}, f
	}
	return proof{digest: digest, etag: a.header.Get("ETag"), header: a.header}, nil
}

// receive reads an answer.
func (p *put) receive(res *http.Response, moved func()) (answer, error) {
	if p.task.read != nil && res.StatusCode == http.StatusOK {
		return answer{status: res.StatusCode, header: res.Header}, p.task.read(movingReader{res.Body, moved})
	}
	return readAnswer(res, moved)
}

// request is what the grant allows for the step, with the body, which may be asked for again.
func (p *put) request(ctx context.Context, body func() (io.ReadCloser, error)) (*http.Request, error) {
	var req *http.Request
	var err error
	if p.task.way == nil {
		req, err = signedRequest(ctx, p.task.step.what.method(), p.url, p.grant, p.options)
	} else {
		req, err = p.task.way.request(ctx, p.task.step, p.grant, p.options, p.content)
	}
	if err != nil {
		return nil, err
	}
	for name, values := range req.Header {
		if strings.ContainsFunc(strings.Join(values, ""), isControl) {
			return nil, fmt.Errorf("header %s holds a control character", name)
		}
	}
	if req.Header.Get("Accept-Encoding") == "" {
		req.Header["Accept-Encoding"] = identity
	}
	if p.content.size > expectAbove && !p.plain {
		req.Header.Set("Expect", "100-continue")
	}
	// The key without a value is not sent: it tells net/http that the request may be replayed
	// when a connection that was kept open turns out to be dead.
	req.Header["Idempotency-Key"] = nil
	req.ContentLength, req.GetBody = p.content.size, body
	req.Body, err = body()
	return req, err
}

// identity is the value of a header. No request changes it.
var identity = []string{"identity"}

// signedRequest is one to a signed URL, which is nil if it does not parse, with what was signed with it, and no body yet.
func signedRequest(ctx context.Context, method string, to *url.URL, g Grant, o PutOptions) (*http.Request, error) {
	if to == nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		// Not why it does not parse: that may quote the URL in parts.
		return nil, errors.New("want a URL that starts with http:// or https:// and a host")
	}
	req, err := http.NewRequestWithContext(ctx, method, "", nil)
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = to, strings.TrimSuffix(to.Host, ":")
	for name, values := range g.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host // net/http does not take it from the headers
	}
	req.Header.Del("Content-Type")
	if g.ContentType != "" {
		req.Header.Set("Content-Type", g.ContentType)
	}
	for _, h := range [...]struct{ name, value string }{
		{"Content-Encoding", o.ContentEncoding}, {"Cache-Control", o.CacheControl}, {"Content-Disposition", o.ContentDisposition},
	} {
		if h.value != "" && req.Header.Get(h.name) == "" { // what was signed stays
			req.Header.Set(h.name, h.value)
		}
	}
	return req, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// broken is what follows from a request without a whole answer.
func (p *put) broken(err error) *failure {
	err = p.scrub().error(err)
	var redirect *redirectError
	var proxy *proxyError
	switch {
	case errors.As(err, &redirect):
		return &failure{what: Error{Kind: ErrRedirected, Status: redirect.status, Err: err}, verdict: stop}
	case strings.HasPrefix(err.Error(), "failed to parse Location header"):
		// net/http has no type for it, and its text holds the target.
		return &failure{what: Error{Kind: ErrRedirected, Err: errors.New("the target is not a URL")}, verdict: stop}
	case errors.As(err, &proxy):
		f := &failure{what: Error{Kind: ErrUnavailable, Status: proxy.status, Err: err}, verdict: retry}
		if v, _ := classify(answer{status: proxy.status}); v != retry {
			f.what.Kind, f.verdict = ErrProxy, stop
		}
		f.after = retryAfter(proxy.header, time.Now())
		return f
	case err.Error() == http.StatusText(http.StatusProxyAuthRequired):
		// All that is left of it where a transport has no OnProxyConnectResponse.
		return &failure{what: Error{Kind: ErrProxy, Status: http.StatusProxyAuthRequired}, verdict: stop}
	case errors.Is(err, ErrStalled):
		// Whatever else is kept open to this storage has likely died the same way.
		p.client.CloseIdleConnections()
		return &failure{what: Error{Kind: ErrStalled, Err: fmt.Errorf("for %v", p.client.options.StallTimeout)}, verdict: retry}
	}
	return &failure{what: Error{Kind: ErrUnavailable, Err: err}, verdict: retry}
}

// judge is what follows from a whole answer to a request that took n bytes; nil if the step is done.
func (p *put) judge(a answer, n int64, digest Digest) *failure {
	v, kind := classify(a)
	var err error
	switch {
	case v == stored && n < p.content.size:
		v, kind, err = retry, ErrUnavailable, fmt.Errorf("answered after %d of %d bytes", n, p.content.size)
	case p.task.judge != nil:
		v, kind, err = p.task.judge(a, v, kind, digest)
	case v == stored:
		v, kind, err = compare(a, digest)
	}
	if v == stored {
		return nil
	}
	if n < p.content.size {
		digest = "" // of a part of it: it says nothing
	}
	scrub := p.scrub()
	return &failure{
		what:    Error{Kind: kind, Status: a.status, Code: scrub.text(a.code), Message: scrub.text(a.message), Err: scrub.error(err)},
		verdict: v,
		after:   retryAfter(a.header, time.Now()),
		digest:  digest,
	}
}

// compare looks whether what the storage says it has stored is what was sent; where it says nothing, it is.
func compare(a answer, sent Digest) (verdict, error, error) {
	if theirs := a.header.Get(digestHeader); theirs != "" && theirs != sent.base64() {
		return retryHashed, ErrDigest, fmt.Errorf("sent %s, stored %s%s", sent, digestPrefix, oneLine(theirs))
	}
	return stored, nil, nil
}
