package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// meter counts the requests that pass through it, and the bytes of their bodies.
type meter struct {
	next http.RoundTripper

	mu       sync.Mutex
	requests counts
	bytes    counts
}

func newMeter(next http.RoundTripper) *meter {
	return &meter{next: next, requests: counts{}, bytes: counts{}}
}

// RoundTrip implements http.RoundTripper.
func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := kindOf(r)
	m.mu.Lock()
	m.requests[kind]++
	m.bytes[kind] += float64(max(r.ContentLength, 0))
	m.mu.Unlock()
	return m.next.RoundTrip(r)
}

// kindOf is what the model calls a request; what it does not know is called by method and path.
func kindOf(r *http.Request) string {
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1/") {
		kind := path[strings.LastIndexByte(path, '/')+1:]
		if kind == "claim" && isReclaim(r) {
			return "reclaim"
		}
		return kind
	}
	_, name, found := strings.Cut(path, "/runs/0/")
	live := strings.HasPrefix(name, "artifacts/live/")
	switch index := strings.HasSuffix(name, "/index.json"); {
	case !found:
	case r.Method == http.MethodGet && live && index:
		return "look"
	case r.Method == http.MethodGet && live:
		return "read"
	case r.Method != http.MethodPut:
	case live && index:
		return "index"
	case live:
		return "chunk"
	case name == "artifacts/terminal.log":
		return "text"
	case strings.HasPrefix(name, "artifacts/"):
		return "artifact"
	default:
		return name
	}
	return r.Method + " " + path
}

// isReclaim says whether a claim names the run that it has.
func isReclaim(r *http.Request) bool {
	if r.GetBody == nil {
		return false
	}
	body, err := r.GetBody()
	if err != nil {
		return false
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return err == nil && strings.Contains(string(data), `"runId"`)
}

// wire counts what passes through the connections of a server, with the heads of requests, as its clients see it.
type wire struct {
	Sent     atomic.Int64
	Received atomic.Int64
	Open     atomic.Int64 // connections
}

// wires are those of the queue, the storage, and where redirects lead, in the order in which agenttest listens.
type wires struct {
	all [3]wire
	n   int
}

func (w *wires) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	w.n++
	return &meteredListener{l, &w.all[w.n-1]}, nil
}

type meteredListener struct {
	net.Listener
	wire *wire
}

// Accept implements net.Listener.
func (l *meteredListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.wire.Open.Add(1)
	return &meteredConn{Conn: conn, wire: l.wire}, nil
}

type meteredConn struct {
	net.Conn
	wire *wire
	once sync.Once
}

// Read implements net.Conn.
func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.Sent.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.wire.Received.Add(int64(n))
	return n, err
}

// Close implements net.Conn.
func (c *meteredConn) Close() error {
	c.once.Do(func() { c.wire.Open.Add(-1) })
	return c.Conn.Close()
}
