package upload

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// dialTLS connects for the transport t, with the configuration that it has then.
func dialTLS(t *http.Transport) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		config := t.TLSClientConfig.Clone() // nil of nil
		if config == nil {
			config = new(tls.Config)
		}
		if config.ServerName == "" {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			config.ServerName = host
		}
		conn, err := t.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		below := &gather{Conn: conn}
		c := &tlsConn{Conn: tls.Client(below, config), below: below}
		if err := c.handshake(ctx, t); err != nil {
			conn.Close()
			return nil, err
		}
		return c, nil
	}
}

// tlsConn is a connection over TLS that is fast at sending a large body: crypto/tls writes each record of 16 KiB to the socket by
// itself, and for most of the time that takes, the system is busy with that.
type tlsConn struct {
	*tls.Conn
	below *gather
}

func (c *tlsConn) handshake(ctx context.Context, t *http.Transport) error {
	if t.TLSHandshakeTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.TLSHandshakeTimeout)
		defer cancel()
	}
	err := c.HandshakeContext(ctx)
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(c.ConnectionState(), err)
	}
	return err
}

// NetConn is the connection to the peer.
func (c *tlsConn) NetConn() net.Conn { return c.below.Conn }

// ReadFrom sends all of r.
func (c *tlsConn) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.below.Conn.(sendConn); ok {
		to.prepare()
	}
	return copyBlocks(gathering{c}, r)
}

// Close does not wait for a write that nobody reads, as crypto/tls would do for some seconds to say goodbye after it.
func (c *tlsConn) Close() error {
	if c.below.busy() {
		c.below.Conn.Close()
	}
	return c.Conn.Close()
}

// gathering writes all records of a block at once.
type gathering struct{ *tlsConn }

func (g gathering) Write(p []byte) (int, error) {
	g.below.hold()
	n, err := g.Conn.Write(p)
	if flushErr := g.below.flush(); err == nil && flushErr != nil {
		return 0, flushErr
	}
	return n, err
}

// gather is a connection that keeps what is written to it, from hold to flush.
type gather struct {
	net.Conn

	mu   sync.Mutex // guards held, and the order of what is written
	held *[]byte    // nil: not held
}

// held are the records of a block, each a little longer than what is in it.
var gathered = sync.Pool{New: func() any { b := make([]byte, 0, sendBlock+sendBlock/256); return &b }}

func (g *gather) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = gathered.Get().(*[]byte)
}

func (g *gather) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == nil {
		return g.Conn.Write(p)
	}
	*g.held = append(*g.held, p...)
	return len(p), nil
}

func (g *gather) flush() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.Conn.Write(*g.held)
	*g.held = (*g.held)[:0]
	gathered.Put(g.held)
	g.held = nil
	return err
}

// busy says whether something is being written.
func (g *gather) busy() bool {
	if !g.mu.TryLock() {
		return true
	}
	g.mu.Unlock()
	return false
}
