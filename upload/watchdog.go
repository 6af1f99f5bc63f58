package upload

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// watchdog ends an attempt on which nothing moves any more. It looks at movement, never at the total time.
//
// Movement is: the transport takes bytes of the body, a connection makes a step, the peer acknowledges
// bytes that wait in the socket (there may be megabytes of them, minutes on a slow line), bytes of the answer arrive.
// Where the socket cannot be seen, the transport must be able to hand over 896 KiB within the timeout.
type watchdog struct {
	cancel context.CancelCauseFunc
	tick   time.Duration
	wrote  func() // called whenever the transport has written a request, or has given that up
	moves  atomic.Int64
	held   atomic.Int32 // bodies that wait for their turns: nothing is expected to move

	mu      sync.Mutex // guards the rest
	conn    net.Conn   // that is in use, where the transport shows it
	timer   *time.Timer
	stopped bool
	quiet   int   // looks in a row without movement
	seen    int64 // moves at the last look
	waiting int   // queued at the last look
}

// looks is how often it looks within the timeout. It counts looks instead of reading a clock,
// so that a process that was frozen for an hour does not take the hour for a stall.
const looks = 8

// watch returns a context that is cancelled with ErrStalled when nothing has moved for the timeout,
// and to which the transport reports its steps. It must be stopped.
func watch(ctx context.Context, timeout time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{wrote: func() {}, cancel: cancel, tick: max(timeout/looks, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.tick, w.look)
	return httptrace.WithClientTrace(ctx, w.trace()), w
}

// stop ends the watch and cancels the context. A look that is under way has ended when it returns.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
	w.cancel(nil)
}

func (w *watchdog) moved() { w.moves.Add(1) }

func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	moves, waiting := w.moves.Load(), w.queued()
	w.quiet++
	if moves != w.seen || waiting != w.waiting || w.held.Load() > 0 {
		w.quiet = 0
	}
	w.seen, w.waiting = moves, waiting
	if w.quiet == looks {
		w.cancel(ErrStalled)
		return
	}
	w.timer.Reset(w.tick)
}

// queued is how many bytes wait in the socket for the peer to acknowledge them; 0 if unknown. The caller holds mu.
func (w *watchdog) queued() (n int) {
	raw := socket(w.conn)
	if raw == nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n = unacknowledged(fd) })
	return n
}

// trace reports what the transport does between taking bytes.
func (w *watchdog) trace() *httptrace.ClientTrace {
	moved := w.moved
	return &httptrace.ClientTrace{
		DNSDone:              func(httptrace.DNSDoneInfo) { w.moved() },
		ConnectDone:          func(_, _ string, _ error) { w.moved() },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { w.moved() },
		GotConn:              func(info httptrace.GotConnInfo) { w.moved(); w.observe(info.Conn) },
		WroteHeaders:         moved,
		Got100Continue:       moved,
		WroteRequest:         func(httptrace.WroteRequestInfo) { w.moved(); w.wrote() },
		GotFirstResponseByte: moved,
	}
}

// observe notes the connection that is used.
func (w *watchdog) observe(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = conn
}
