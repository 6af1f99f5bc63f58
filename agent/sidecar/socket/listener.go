package socket

import (
	"net"
	"sync"
)

// limited accepts no more connections than it may hold.
type limited struct {
	*net.UnixListener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limit(l *net.UnixListener, most int) *limited {
	return &limited{UnixListener: l, slots: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept waits for a slot, then for a caller.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.AcceptUnix()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return heldConn{c, &sync.Once{}, l.slots}, nil
}

// Close ends Accept.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.UnixListener.Close()
}

// heldConn gives its slot back.
type heldConn struct {
	*net.UnixConn
	once  *sync.Once
	slots chan struct{}
}

// Close closes the connection, for another.
func (c heldConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.UnixConn.Close()
}
