package upload_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/upload"
)

// The tests of what small bodies are sent over: everything else that is tested of Put with a small body is too.

const storedAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// storedBodies are the bodies that a storage made by hand has read to their ends.
type storedBodies struct {
	mu   sync.Mutex
	each []string
}

// read takes the next request from a connection; false at its end.
func (s *storedBodies) read(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each = append(s.each, string(body))
	return true
}

func (s *storedBodies) want(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Join(s.each, " ") != strings.Join(want, " ") {
		t.Errorf("the storage has read %q, want %q", s.each, want)
	}
}

func (l *listener) wantConnections(t *testing.T, want int) {
	t.Helper()
	if n := l.connections(); n != want {
		t.Errorf("%d connections, want %d", n, want)
	}
}

func TestSmallBodiesShareAConnection(t *testing.T) {
	for name, answer := range map[string]string{
		"without a body":      storedAnswer,
		"with a body":         "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes",
		"chunked":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
		"after an early hint": "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + storedAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			var bodies storedBodies
			s := listen(t, func(conn net.Conn, _ int) {
				for r := bufio.NewReader(conn); bodies.read(r); {
					io.WriteString(conn, answer)
				}
			})
			c := client(t)
			for _, body := range []string{"one", "two", "three"} {
				if _, err := c.Put(within(t), s.grant("a"), upload.Bytes([]byte(body)), upload.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			bodies.want(t, "one", "two", "three")
			s.wantConnections(t, 1)
		})
	}
}

// A connection is not used again when there is anything about it that the next answer could be mistaken for, or that would cut it off.
func TestSmallBodyAfterABadEnd(t *testing.T) {
	for name, test := range map[string]struct {
		answer      string
		closes      bool
		connections int
	}{
		"an answer too many, at once":        {storedAnswer + storedAnswer, false, 2},
		"closed after the answer":            {storedAnswer, true, 2},
		"says that it closes":                {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false, 2},
		"an old server":                      {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, 2},
		"an answer that ends with the close": {"HTTP/1.1 200 OK\r\n\r\nyes", true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var bodies storedBodies
			closed := make(chan struct{}, 1)
			s := listen(t, func(conn net.Conn, n int) {
				r := bufio.NewReader(conn)
				for bodies.read(r) {
					if n > 1 {
						io.WriteString(conn, storedAnswer)
						continue
					}
					io.WriteString(conn, test.answer)
					if test.closes {
						conn.Close()
						closed <- struct{}{}
						return
					}
				}
			})
			c := client(t)
			for i, body := range []string{"one", "two"} {
				got, err := c.Put(within(t), s.grant("a"), upload.Bytes([]byte(body)), upload.PutOptions{})
				if err != nil || got.Attempts != 1 {
					t.Fatalf("Put %d: %d attempts, error %v", i, got.Attempts, err)
				}
				if test.closes && i == 0 {
					<-closed
				}
			}
			bodies.want(t, "one", "two")
			s.wantConnections(t, test.connections)
		})
	}
}

// Whatever a storage says before it is asked is not the answer to what it is asked next.
func TestUnaskedAnswerIsNotBelieved(t *testing.T) {
	var bodies storedBodies
	said, next := make(chan struct{}), make(chan struct{})
	s := listen(t, func(conn net.Conn, n int) {
		r := bufio.NewReader(conn)
		for bodies.read(r) {
			io.WriteString(conn, storedAnswer)
			if n == 1 {
				<-next
				io.WriteString(conn, storedAnswer)
				close(said)
			}
		}
	})
	c := client(t)
	if _, err := c.Put(within(t), s.grant("a"), upload.Bytes([]byte("one")), upload.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	close(next)
	<-said
	if _, err := c.Put(within(t), s.grant("a"), upload.Bytes([]byte("two")), upload.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	bodies.want(t, "one", "two")
	s.wantConnections(t, 2)
}

// Over TLS it may have come in one packet with the answer, and be no longer in the socket.
func TestUnaskedAnswerOverTLSIsNotBelieved(t *testing.T) {
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	var bodies storedBodies
	s := listen(t, func(conn net.Conn, n int) {
		packet := &packetConn{Conn: conn}
		over := tls.Server(packet, &tls.Config{Certificates: https.TLS.Certificates})
		r := bufio.NewReader(over)
		for bodies.read(r) {
			packet.held = true
			io.WriteString(over, storedAnswer)
			if n == 1 {
				io.WriteString(over, storedAnswer) // a record of its own
			}
			packet.flush()
		}
	})
	c := client(t, func(o *upload.Options) {
		transport := upload.NewTransport()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots(https)}
		o.Transport = transport
	})
	for _, body := range []string{"one", "two", "three"} {
		grant := grantAt("https://"+s.Addr().String()+"/a", time.Hour)
		if _, err := c.Put(within(t), grant, upload.Bytes([]byte(body)), upload.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	bodies.want(t, "one", "two", "three")
	s.wantConnections(t, 2)
}

// packetConn is a connection that can send in one packet what is written to it in several pieces.
type packetConn struct {
	net.Conn
	held    bool
	waiting []byte
}

func (c *packetConn) Write(p []byte) (int, error) {
	if !c.held {
		return c.Conn.Write(p)
	}
	c.waiting = append(c.waiting, p...)
	return len(p), nil
}

func (c *packetConn) flush() {
	c.Conn.Write(c.waiting)
	c.held, c.waiting = false, nil
}

// A connection that was kept and turns out to be dead is no failed attempt.
func TestSmallBodyIsSentAgainOverAFreshConnection(t *testing.T) {
	var bodies storedBodies
	s := listen(t, func(conn net.Conn, n int) {
		r := bufio.NewReader(conn)
		for i := 0; bodies.read(r); i++ {
			if n == 1 && i == 1 {
				return // without a word
			}
			io.WriteString(conn, storedAnswer)
		}
	})
	c := client(t)
	for _, body := range []string{"one", "two"} {
		got, err := c.Put(within(t), s.grant("a"), upload.Bytes([]byte(body)), upload.PutOptions{})
		if err != nil || got.Attempts != 1 {
			t.Fatalf("%d attempts, error %v", got.Attempts, err)
		}
	}
	bodies.want(t, "one", "two", "two")
	s.wantConnections(t, 2)
}

// On a connection that was just opened it is one: it is tried again after a pause.
func TestSmallBodyWithoutAnAnswer(t *testing.T) {
	var bodies storedBodies
	s := listen(t, func(conn net.Conn, n int) {
		if r := bufio.NewReader(conn); bodies.read(r) && n > 1 {
			io.WriteString(conn, storedAnswer)
		}
	})
	got, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("one")), upload.PutOptions{})
	if err != nil || got.Attempts != 2 {
		t.Errorf("%d attempts, error %v", got.Attempts, err)
	}
	bodies.want(t, "one", "one")
}

// Refused before the body was read: the refusal counts, not the connection that was closed.
func TestSmallBodyRefusedAtTheHead(t *testing.T) {
	s := listen(t, func(conn net.Conn, _ int) {
		io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		io.Copy(io.Discard, conn)
	})
	_, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("one")), upload.PutOptions{})
	var e *upload.Error
	if !errors.As(err, &e) || e.Status != http.StatusRequestEntityTooLarge || e.Attempts != 1 {
		t.Errorf("error is %v", err)
	}
}

func TestEndlessHead(t *testing.T) {
	s := listen(t, func(conn net.Conn, _ int) {
		line := []byte("X-More: " + strings.Repeat("x", 1000) + "\r\n")
		for _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n"); err == nil; {
			_, err = conn.Write(line)
		}
	})
	_, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("one")), upload.PutOptions{GiveUpAfter: time.Millisecond})
	if !errors.Is(err, upload.ErrUnavailable) || !strings.Contains(err.Error(), "too long") {
		t.Errorf("error is %v", err)
	}
}

// A Put whose context ends while the storage takes its time returns at once, and its connection carries nothing else.
func TestSmallBodyCutOff(t *testing.T) {
	var bodies storedBodies
	read, cut := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(read) })
	s := listen(t, func(conn net.Conn, n int) {
		r := bufio.NewReader(conn)
		for bodies.read(r) {
			if n == 1 {
				first()
				<-cut
			}
			io.WriteString(conn, storedAnswer)
		}
	})
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(within(t))
	go func() { <-read; cancel(why) }()
	c := client(t)
	if _, err := c.Put(ctx, s.grant("a"), upload.Bytes([]byte("one")), upload.PutOptions{}); !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
	close(cut)
	if _, err := c.Put(within(t), s.grant("a"), upload.Bytes([]byte("two")), upload.PutOptions{}); err != nil {
		t.Error(err)
	}
	bodies.want(t, "one", "two")
	s.wantConnections(t, 2)
}

// countedConn is a connection that counts those of its kind that are open.
type countedConn struct {
	*net.TCPConn
	open *atomic.Int64
	once *sync.Once
}

func (c countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.TCPConn.Close()
}

func countingClient(t *testing.T, open *atomic.Int64, change func(*http.Transport)) *upload.Client {
	return client(t, func(o *upload.Options) {
		transport := upload.NewTransport()
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			open.Add(1)
			return countedConn{conn.(*net.TCPConn), open, new(sync.Once)}, nil
		}
		change(transport)
		o.Transport = transport
	})
}

// wantOpen waits until so many connections are open.
func wantOpen(t *testing.T, open *atomic.Int64, want int64) {
	t.Helper()
	ctx := within(t)
	for tick := time.NewTicker(time.Millisecond); open.Load() != want; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d connections are open, want %d", open.Load(), want)
		}
	}
}

// What is set on the transport counts here too.
func TestSmallBodiesKeepToTheTransportsLimits(t *testing.T) {
	together := func(t *testing.T, s *fakeStorage, c *upload.Client) {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if _, err := c.Put(within(t), s.grant(fmt.Sprint(i)), upload.Bytes([]byte("x")), upload.PutOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	// gathered answers when eight requests are there.
	gathered := func(t *testing.T) *fakeStorage {
		var count atomic.Int64
		full := make(chan struct{})
		answer := func(w http.ResponseWriter, _ *http.Request) {
			if count.Add(1) == 8 {
				close(full)
			}
			<-full
		}
		return newStorage(t, answer, answer, answer, answer, answer, answer, answer, answer)
	}
	t.Run("idle connections to a host", func(t *testing.T) {
		var open atomic.Int64
		c := countingClient(t, &open, func(t *http.Transport) { t.MaxIdleConnsPerHost = 3 })
		together(t, gathered(t), c)
		wantOpen(t, &open, 3)
		c.CloseIdleConnections()
		wantOpen(t, &open, 0)
	})
	t.Run("idle connections", func(t *testing.T) {
		var open atomic.Int64
		c := countingClient(t, &open, func(t *http.Transport) { t.MaxIdleConns = 2 })
		together(t, gathered(t), c)
		wantOpen(t, &open, 2)
	})
	t.Run("idle time", func(t *testing.T) {
		var open atomic.Int64
		c := countingClient(t, &open, func(t *http.Transport) { t.IdleConnTimeout = 20 * time.Millisecond })
		together(t, gathered(t), c)
		wantOpen(t, &open, 0)
	})
	t.Run("no keep-alives", func(t *testing.T) {
		var open atomic.Int64
		c := countingClient(t, &open, func(t *http.Transport) { t.DisableKeepAlives = true })
		together(t, gathered(t), c)
		wantOpen(t, &open, 0)
	})
}

// What goes through here and what goes through net/http is the same request.
func TestSmallBodySameRequest(t *testing.T) {
	request := func(change func(*http.Transport)) string {
		head := make(chan string, 1)
		s := listen(t, func(conn net.Conn, _ int) {
			r := bufio.NewReader(conn)
			var text bytes.Buffer
			if req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(r, &text))); err == nil {
				io.Copy(io.Discard, req.Body)
			}
			head <- strings.ReplaceAll(text.String(), conn.LocalAddr().String(), "HOST")
			io.WriteString(conn, storedAnswer)
		})
		g := s.grant("a")
		g.ContentType, g.Header = "text/plain", http.Header{"x-amz-meta-a": {"b"}}
		c := client(t, func(o *upload.Options) {
			transport := upload.NewTransport()
			change(transport)
			o.Transport = transport
		})
		if _, err := c.Put(within(t), g, upload.Bytes([]byte("one")), upload.PutOptions{ContentEncoding: "gzip"}); err != nil {
			t.Fatal(err)
		}
		return <-head
	}
	ours, theirs := request(func(*http.Transport) {}), request(func(t *http.Transport) { t.MaxConnsPerHost = 9 })
	signature := func(s string) string { // the URLs differ in when they were signed
		first, rest, _ := strings.Cut(s, "\r\n")
		method, _, _ := strings.Cut(first, "?")
		return method + "\r\n" + rest
	}
	if signature(ours) != signature(theirs) {
		t.Errorf("sent:\n%s\nwant:\n%s", ours, theirs)
	}
}
