package upload

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

var (
	longAgo     = time.Unix(1, 0)
	errLongHead = errors.New("the head of the answer is too long")
	writers     = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, writeBuffer) }}
)

// target is what a connection is open to.
type target struct{ scheme, address string }

// idleConns are connections that wait for another request. The zero value has none.
type idleConns struct {
	mu    sync.Mutex
	conns map[target][]idleConn // of each target in the order in which they were kept
	count int                   // of all
	timer *time.Timer           // closes those that have waited for too long; nil while there are none
}

type idleConn struct {
	*wireConn
	since time.Time
}

// take gives the connection to a target that was used last, or nil.
func (i *idleConns) take(to target) *wireConn {
	for {
		c := i.pop(to)
		if c == nil || c.quiet() {
			return c
		}
		c.Close() // the peer has closed it, or has said something that nobody has asked
	}
}

func (i *idleConns) pop(to target) *wireConn {
	i.mu.Lock()
	defer i.mu.Unlock()
	conns := i.conns[to]
	if len(conns) == 0 {
		return nil
	}
	c := conns[len(conns)-1]
	conns[len(conns)-1] = idleConn{}
	i.conns[to] = conns[:len(conns)-1]
	i.count--
	return c.wireConn
}

// keep keeps a connection, or closes it if there are enough.
func (i *idleConns) keep(c *wireConn) {
	t := c.wire.Transport
	i.mu.Lock()
	defer i.mu.Unlock()
	if c.wire.blind.Load() || len(i.conns[c.to]) >= max(t.MaxIdleConnsPerHost, 1) || t.MaxIdleConns > 0 && i.count >= t.MaxIdleConns {
		c.Close()
		return
	}
	if i.conns == nil {
		i.conns = map[target][]idleConn{}
	}
	i.conns[c.to] = append(i.conns[c.to], idleConn{c, time.Now()})
	i.count++
	if i.timer == nil && t.IdleConnTimeout > 0 {
		i.timer = time.AfterFunc(t.IdleConnTimeout, func() { i.expire(t.IdleConnTimeout) })
	}
}

// expire closes those that have waited for so long.
func (i *idleConns) expire(after time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closeBefore(time.Now().Add(-after))
	if i.timer = nil; i.count > 0 {
		i.timer = time.AfterFunc(after, func() { i.expire(after) })
	}
}

func (i *idleConns) closeAll() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closeBefore(time.Now().Add(time.Hour))
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
}

// closeBefore closes those that have waited since then or before. The caller holds mu.
func (i *idleConns) closeBefore(then time.Time) {
	for to, conns := range i.conns {
		for len(conns) > 0 && !conns[0].since.After(then) {
			conns[0].Close()
			conns = conns[1:]
			i.count--
		}
		if i.conns[to] = conns; len(conns) == 0 {
			delete(i.conns, to)
		}
	}
}

// quiet says of an open connection on which nothing is asked that nothing has come, not even its end. It is false, too, where that cannot be seen.
func (c *wireConn) quiet() bool {
	raw := socket(c.Conn)
	if raw == nil || c.readAhead() {
		return false
	}
	nothing := false
	err := raw.Control(func(fd uintptr) { nothing = empty(fd) })
	return nothing && err == nil
}

// readAhead says whether crypto/tls has read more than it was asked for, so that what came is no longer in the socket.
func (c *wireConn) readAhead() bool {
	if _, over := c.Conn.(interface{ NetConn() net.Conn }); !over {
		return false
	}
	c.SetReadDeadline(longAgo) // nothing is read from the socket
	_, err := c.from.Peek(1)
	c.SetReadDeadline(time.Time{})
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// socket is that of a connection, below TLS; nil if it does not show one.
func socket(conn net.Conn) syscall.RawConn {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = over.NetConn()
	}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
