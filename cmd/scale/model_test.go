package main

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
)

// What the model says of a run is what the agent does: whole runs in virtual time, through the public API, not compressed. The bounds are for
// the jitter, which the model knows on average only, and of which one flush more or less at the end may come.
func TestModel(t *testing.T) {
	slow := defaultKnobs
	slow.Interval, slow.Claim, slow.URLLife = 10*time.Second, 2*time.Minute, 5*time.Minute
	limited := defaultKnobs
	limited.LogLimit = 128 << 10
	atEnd := defaultKnobs
	atEnd.AtEnd = true
	// No run ends at a multiple of half a claim: whether that one comes is chance.
	hour := profile{Name: "hour", Length: 61 * time.Minute, Line: 1600, Every: 20 * time.Second, Artifacts: 20, ArtifactBytes: 1000}
	busy := profile{Name: "busy", Length: 2 * time.Minute, Line: 100, Every: 100 * time.Millisecond}
	for _, c := range []struct {
		name string
		p    profile
		k    knobs
	}{
		{"an hour", hour, defaultKnobs},
		{"a busy log", busy, defaultKnobs},
		{"a busy log, flushed less often, with short claims and short-lived URLs", profile{Name: "half", Length: 19*time.Minute + 30*time.Second, Line: 2000, Every: 2 * time.Second}, slow},
		{"a log that reaches its limit", profile{Name: "limited", Length: 11 * time.Minute, Line: 500, Every: time.Second}, limited},
		{"artifacts at the end", profile{Name: "artifacts", Length: time.Minute, Line: 100, Every: 10 * time.Second, Artifacts: 200, ArtifactBytes: 100}, atEnd},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := takeVirtualRun(t, c.p, c.k)
			want := predict(c.p, c.k, 1).Requests
			for _, kind := range slices.Concat(queueKinds, putKinds, readerKinds) {
				t.Logf("%-14s %6.0f, predicted %6.0f", kind, got[kind], want[kind])
				if bound := boundOf(kind, want[kind]); math.Abs(got[kind]-want[kind]) > bound {
					t.Errorf("%s: %.0f requests, the model says %.0f; want them to be the same but for %.0f", kind, got[kind], want[kind], bound)
				}
				delete(got, kind)
			}
			if len(got) > 0 {
				t.Errorf("requests that the model does not know: %v", got)
			}
		})
	}
}

// boundOf is how far a run may be from what is predicted.
func boundOf(kind string, n float64) float64 {
	switch kind {
	case "index", "chunk":
		return 1 + math.Round(n*0.02)
	case "artifact-urls": // those of chunks; and who comes together depends on the machine
		return 3 + math.Round(n*0.02)
	case "look", "read":
		return 2 + math.Round(n*0.1)
	case "text":
		return 1
	}
	return 0
}

// takeVirtualRun takes a run in a bubble, and gives its requests by kind.
func takeVirtualRun(t *testing.T, p profile, k knobs) counts {
	dir, err := os.MkdirTemp(memoryFolder(), "scale-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var requests counts
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{listeners: map[string]*pipeListener{}}
		server, err := agenttest.New(dir+"/storage", agenttest.Options{Listen: network.listen, ClaimLength: k.Claim, ArtifactURLLife: k.URLLife})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		transport := &http.Transport{DialContext: network.dial, DisableCompression: true, MaxIdleConnsPerHost: 16, ExpectContinueTimeout: time.Second}
		defer transport.CloseIdleConnections()
		m := newMeter(transport)
		if err := takeRun(t.Context(), server, m, dir, p, k, 1); err != nil {
			t.Fatal(err)
		}
		for _, violation := range server.Violations() {
			t.Error(violation)
		}
		requests = m.requests
	})
	return requests
}

// pipes is a loopback in memory, where time may be faked.
type pipes struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
}

type pipeListener struct {
	name   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n *pipes) listen(_, _ string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &pipeListener{name: []string{"queue:80", "storage:80", "elsewhere:80"}[len(n.listeners)], conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[l.name] = l
	return l, nil
}

func (n *pipes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("no such host")
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return l }

// Network implements net.Addr.
func (l *pipeListener) Network() string { return "tcp" }

// String implements net.Addr.
func (l *pipeListener) String() string { return l.name }
