package upload

import (
	"bufio"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
)

// wire sends small bodies over connections of its own, and leaves everything else to the transport, with whose settings it connects.
//
// net/http gives each connection two goroutines, between which a request and its answer are handed over. With a file of 4 KiB that
// costs a fifth of the time: measured with cmd/bench. What is written and read is left to net/http here, too.
type wire struct {
	*http.Transport
	idle  idleConns
	blind atomic.Bool // there are connections of which nobody can see whether they are still good: it is left to the transport, then
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if !w.takes(req) {
		return w.Transport.RoundTrip(req)
	}
	return w.carry(req)
}

// carry sends a request that this takes.
func (w *wire) carry(req *http.Request) (*http.Response, error) {
	to := target{req.URL.Scheme, address(req)}
	if c := w.idle.take(to); c != nil {
		res, answered, err := c.exchange(req)
		if err == nil || answered || req.Context().Err() != nil {
			return res, err
		}
		// It was kept open, and has turned out to be dead.
		again := req.Clone(req.Context())
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		req = again
	}
	c, err := w.connect(req, to)
	if err != nil {
		req.Body.Close()
		return nil, err
	}
	res, _, err := c.exchange(req)
	return res, err
}

// do is what the client c does with a request, with the same outcome, but makes nothing ready for redirects before there is one.
func (w *wire) do(c *http.Client, req *http.Request) (*http.Response, error) {
	if w == nil || req.URL.User != nil || !w.takes(req) {
		return c.Do(req)
	}
	res, err := w.carry(req)
	if err != nil || res.StatusCode/100 != 3 {
		return res, err
	}
	onward := *c
	onward.Transport = &answered{res, w}
	return onward.Do(req)
}

// answered is a transport to whose first request there is an answer already.
type answered struct {
	first *http.Response
	then  http.RoundTripper
}

func (a *answered) RoundTrip(req *http.Request) (*http.Response, error) {
	if res := a.first; res != nil {
		a.first = nil
		return res, nil
	}
	return a.then.RoundTrip(req)
}

// takes says whether a request is for this, and nothing is set on the transport that only that knows how to do.
func (w *wire) takes(req *http.Request) bool {
	t := w.Transport
	dials := req.URL.Scheme == "http" && t.DialContext != nil || req.URL.Scheme == "https" && t.DialTLSContext != nil
	if !canPeek || w.blind.Load() || !dials || req.Method != http.MethodPut || req.ContentLength <= 0 || req.ContentLength > smallBody || req.GetBody == nil || req.Close {
		return false
	}
	if p := t.Protocols; p == nil || !p.HTTP1() || p.HTTP2() || p.UnencryptedHTTP2() || t.DisableKeepAlives || t.MaxConnsPerHost > 0 || t.ResponseHeaderTimeout > 0 {
		return false
	}
	if strings.ContainsFunc(req.URL.Host, func(r rune) bool { return r > '~' }) { // a name that has to be translated
		return false
	}
	for name := range req.Header {
		if !isToken(name) { // the transport has a good error for it
			return false
		}
	}
	if t.Proxy != nil {
		proxy, err := t.Proxy(req)
		return proxy == nil && err == nil
	}
	return true
}

// isToken says whether s can be the name of a header (RFC 9110, 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) })
}

// address is where a request goes.
func address(req *http.Request) string {
	port := req.URL.Port()
	switch {
	case port != "":
	case req.URL.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(req.URL.Hostname(), port)
}

func (w *wire) connect(req *http.Request, to target) (*wireConn, error) {
	dial := w.DialContext
	if to.scheme == "https" {
		dial = w.DialTLSContext
	}
	conn, err := dial(req.Context(), "tcp", to.address)
	if err != nil {
		return nil, err
	}
	c := &wireConn{Conn: conn, wire: w, to: to}
	c.from = bufio.NewReader(limitedHead{c})
	if socket(conn) == nil {
		w.blind.Store(true)
	}
	return c, nil
}

// CloseIdleConnections closes those of the transport, too.
func (w *wire) CloseIdleConnections() {
	w.idle.closeAll()
	w.Transport.CloseIdleConnections()
}

// wireConn is a connection, used by one request at a time.
type wireConn struct {
	net.Conn
	wire   *wire
	to     target
	from   *bufio.Reader
	head   int64       // how much of the head of an answer may still come
	reused bool        // it has carried a request before
	stop   func() bool // ends the watch over the context of the request
}

// limitedHead reads from a connection, but not more of a head than may come.
type limitedHead struct{ *wireConn }

func (c limitedHead) Read(p []byte) (int, error) {
	if c.head <= 0 {
		return 0, errLongHead
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.head)])
	c.head -= int64(n)
	return n, err
}

// exchange sends a request and gives the answer, whose body has to be closed. answered says that bytes of an answer came, good or bad.
func (c *wireConn) exchange(req *http.Request) (res *http.Response, answered bool, err error) {
	ctx, trace := req.Context(), httptrace.ContextClientTrace(req.Context())
	c.stop = context.AfterFunc(ctx, func() { c.SetDeadline(longAgo) })
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c.Conn, Reused: c.reused})
	}
	c.reused = true
	wrong := c.send(req)
	// Whoever does not want the request may have answered and closed the connection before it was written.
	res, answered, err = c.receive(req, trace)
	if err == nil {
		return res, true, nil
	}
	c.stop()
	c.Close()
	if wrong != nil && !answered {
		err = wrong
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, answered, err
}

// send writes a request, in one piece if it can.
func (c *wireConn) send(req *http.Request) error {
	to := writers.Get().(*bufio.Writer)
	to.Reset(c.Conn)
	defer func() {
		to.Reset(nil)
		writers.Put(to)
	}()
	if err := req.Write(to); err != nil {
		return err
	}
	return to.Flush()
}

// receive reads the head of the answer.
func (c *wireConn) receive(req *http.Request, trace *httptrace.ClientTrace) (*http.Response, bool, error) {
	c.head = c.wire.MaxResponseHeaderBytes
	if c.head <= 0 {
		c.head = maxAnswer
	}
	if _, err := c.from.Peek(1); err != nil {
		return nil, false, err
	}
	if trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	for {
		res, err := http.ReadResponse(c.from, req)
		if err != nil {
			return nil, true, err
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			c.head = math.MaxInt64
			res.Body = &wireBody{ReadCloser: res.Body, conn: c, ended: res.ContentLength == 0, last: res.Close || res.StatusCode < 200}
			return res, true, nil
		}
	}
}

// wireBody is the body of an answer. When it is closed, the connection is kept for the next request or closed.
type wireBody struct {
	io.ReadCloser
	conn   *wireConn
	ended  bool // it is read to its end
	last   bool // there will be no other on this connection
	closed bool
}

func (b *wireBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err == io.EOF
	return n, err
}

// Close does not read what is left, as that of net/http would.
func (b *wireBody) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	c := b.conn
	if !c.stop() || !b.ended || b.last || c.from.Buffered() > 0 {
		return c.Close()
	}
	c.wire.idle.keep(c)
	return nil
}
