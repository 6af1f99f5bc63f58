package amqp_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/taskcluster/upload-agent/schema"
)

// line is a connection to the broker that can be cut.
type line struct {
	to   string
	here net.Listener

	mu       sync.Mutex
	refusing bool
	refused  func()        // is called when a connection was refused
	swallows chan struct{} // not nil: whatever is written is lost, and closed once something was
	lost     bool
	conns    map[net.Conn]bool
	wait     sync.WaitGroup
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	here, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{to: to, here: here, conns: map[net.Conn]bool{}}
	l.wait.Go(l.accept)
	t.Cleanup(func() {
		here.Close()
		l.cut()
		l.wait.Wait()
	})
	return l
}

// url is that of the broker by way of the line.
func (l *line) url(direct schema.SignedURL) schema.SignedURL {
	return schema.NewSignedURL(strings.Replace(direct.Reveal(), l.to, l.here.Addr().String(), 1))
}

func (l *line) accept() {
	for {
		near, err := l.here.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.to)
		if err != nil {
			near.Close()
			continue
		}
		l.mu.Lock()
		refusing, refused := l.refusing, l.refused
		if !refusing {
			l.conns[near], l.conns[far] = true, true
		}
		l.mu.Unlock()
		if refusing {
			near.Close()
			far.Close()
			if refused != nil {
				refused()
			}
			continue
		}
		l.wait.Go(func() { l.copy(near, near, far) })
		l.wait.Go(func() { l.copy(lossy{l, far}, far, near) })
	}
}

func (l *line) copy(to io.Writer, a, from net.Conn) {
	_, _ = io.Copy(to, from)
	a.Close()
	from.Close()
}

// lossy is the way to the broker.
type lossy struct {
	*line
	far net.Conn
}

func (w lossy) Write(p []byte) (int, error) {
	w.mu.Lock()
	swallows := w.swallows
	if swallows != nil && !w.lost {
		w.lost = true
		close(swallows)
	}
	w.mu.Unlock()
	if swallows != nil {
		return len(p), nil
	}
	return w.far.Write(p)
}

// swallow loses whatever is written to the broker until the line is cut; the channel is closed once something was.
func (l *line) swallow() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.swallows, l.lost = make(chan struct{}), false
	return l.swallows
}

// cut breaks all connections, with whatever is on its way.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.swallows = nil
	for conn := range l.conns {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		delete(l.conns, conn)
	}
}

// refuse says whether connections are refused from now on.
func (l *line) refuse(refusing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusing = refusing
}

// whenRefused is for who waits for that.
func (l *line) whenRefused(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = do
}
