package agent_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// simNetwork is a loopback in memory, where time may be faked.
type simNetwork struct {
	mu        sync.Mutex
	listeners map[string]*simListener
}

type simListener struct {
	addr   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newSimNetwork() *simNetwork { return &simNetwork{listeners: map[string]*simListener{}} }

// listen is for agenttest.Options.Listen, which opens the queue's listener first, then the storage's.
func (n *simNetwork) listen(_, _ string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := []string{"queue", "storage", "elsewhere"}[len(n.listeners)]
	l := &simListener{addr: name + ":80", conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[l.addr] = l
	return l, nil
}

func (n *simNetwork) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no such host")}
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (n *simNetwork) transport() *http.Transport {
	return &http.Transport{
		DialContext: n.dial, DisableCompression: true, MaxIdleConnsPerHost: 16,
		IdleConnTimeout: 20 * time.Second, ExpectContinueTimeout: time.Second,
	}
}

func (l *simListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *simListener) Close() error    { l.once.Do(func() { close(l.closed) }); return nil }
func (l *simListener) Addr() net.Addr  { return l }
func (l *simListener) Network() string { return "tcp" }
func (l *simListener) String() string  { return l.addr }

// simWire is what one process of the agent sends its requests through: it takes time, it may be
// cut, the queue may be away behind it, and the process may die before or after any request.
type simWire struct {
	next    *http.Transport
	secrets *simSecrets
	began   time.Time
	outage  outage
	dead    <-chan struct{} // the process has died
	die     func()
	dieAt   int  // the number of the request at which the process dies; 0: none
	after   bool // it dies when the server has answered, but nobody has read it

	mu     sync.Mutex
	random *rand.Rand
	count  int
}

var (
	errSimDead = errors.New("simulation: the process is dead")
	errSimAway = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("simulation: the queue is away")}
)

func (w *simWire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.count++
	dying := w.count == w.dieAt
	latency := time.Duration(w.random.IntN(40)) * time.Millisecond
	w.mu.Unlock()
	w.secrets.note(r.URL.RawQuery)
	if err := w.before(r, latency); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	if dying && !w.after {
		w.die()
	}
	if w.isDead() {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errSimDead
	}
	resp, err := w.next.RoundTrip(r)
	if dying {
		w.die()
	}
	if w.isDead() {
		if err == nil {
			resp.Body.Close()
		}
		return nil, errSimDead
	}
	if err == nil {
		w.secrets.note(resp.Header.Get("Location"))
	}
	return resp, err
}

// before is the way to the server.
func (w *simWire) before(r *http.Request, latency time.Duration) error {
	if latency < 20*time.Millisecond { // half of the requests are there at once
		latency = 0
	}
	if !simSleep(r.Context(), latency) {
		return context.Cause(r.Context())
	}
	if strings.HasPrefix(r.URL.Host, "queue") && w.outage.at(time.Since(w.began)) {
		if w.outage.silent {
			<-r.Context().Done()
			return context.Cause(r.Context())
		}
		return errSimAway
	}
	return nil
}

func (w *simWire) isDead() bool {
	select {
	case <-w.dead:
		return true
	default:
		return false
	}
}

func (w *simWire) CloseIdleConnections() { w.next.CloseIdleConnections() }

// simSleep reports whether d has passed before ctx ended.
func simSleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// simSecrets collects the signatures that pass by, and looks for them where they must not be.
type simSecrets struct {
	mu   sync.Mutex
	seen map[string]bool // the first 16 digits of each
	v2   bool            // there are other digits than those of version 4
}

var simSignature = regexp.MustCompile(`Signature=([0-9A-Za-z%]{16})`)

func (s *simSecrets) note(text string) {
	i := strings.Index(text, "Signature=")
	if i < 0 {
		return
	}
	found := simSignature.FindStringSubmatch(text[i:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[found[1]] = true
}

// in tells what secret a text holds, "" for none.
func (s *simSecrets) in(text []byte) string {
	if bytes.Contains(text, []byte("Signature=")) {
		return "Signature="
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	run := 0
	for i, c := range text {
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || s.v2 && ('g' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '%') {
			if run++; run >= 16 && s.seen[string(text[i-15:i+1])] {
				return string(text[i-15 : i+1])
			}
			continue
		}
		run = 0
	}
	return ""
}
