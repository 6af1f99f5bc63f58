package upload_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/upload"
)

func stallAfter(d time.Duration) func(*upload.Options) {
	return func(o *upload.Options) { o.StallTimeout = d }
}

const (
	carryOn = "HTTP/1.1 100 Continue\r\n\r\n"
	fine    = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
)

func TestNothingMovesAnyMore(t *testing.T) {
	t.Parallel()
	data := random(16 << 20)
	for name, stall := range map[string]func(conn net.Conn, body io.Reader){
		"before the body": func(net.Conn, io.Reader) {},
		"in the body": func(conn net.Conn, body io.Reader) {
			io.WriteString(conn, carryOn)
			io.CopyN(io.Discard, body, 1<<20)
		},
		"before the answer": func(conn net.Conn, body io.Reader) {
			io.WriteString(conn, carryOn)
			io.Copy(io.Discard, body)
		},
		"in the answer": func(conn net.Conn, body io.Reader) {
			io.WriteString(conn, carryOn)
			io.Copy(io.Discard, body)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			stored := make(chan []byte, 1)
			s := listen(t, func(conn net.Conn, n int) {
				in := bufio.NewReader(conn)
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				if n == 1 {
					stall(conn, req.Body)
					<-release
					return
				}
				io.WriteString(conn, carryOn)
				body, _ := io.ReadAll(req.Body)
				stored <- body
				io.WriteString(conn, fine)
			})
			defer close(release)
			got, err := client(t, stallAfter(1500*time.Millisecond)).Put(within(t), s.grant("a"), upload.File(file(t, data)), upload.PutOptions{})
			if err != nil || got.Attempts != 2 || got.Digest != upload.Sum(data) {
				t.Fatalf("receipt %+v, error %v; want 2 attempts", got, err)
			}
			if body := <-stored; upload.Sum(body) != upload.Sum(data) {
				t.Errorf("stored %d other bytes", len(body))
			}
			if n := s.connections(); n != 2 {
				t.Errorf("%d connections, want 2: the dead one is not used again", n)
			}
		})
	}
}

// A dead network kills the connections that are kept open too: none of them is used after a stall.
func TestStallClosesIdleConnections(t *testing.T) {
	t.Parallel()
	both := make(chan struct{}, 2)
	s := listen(t, func(conn net.Conn, n int) {
		in := bufio.NewReader(conn)
		for served := 0; ; served++ {
			req, err := http.ReadRequest(in)
			if err != nil || n <= 2 && served == 1 {
				in.Peek(1 << 20)
				return
			}
			io.Copy(io.Discard, req.Body)
			if n <= 2 { // until both are in use, so that there are two
				both <- struct{}{}
				for len(both) < 2 {
					select {
					case <-t.Context().Done():
						return
					case <-time.After(time.Millisecond):
					}
				}
			}
			io.WriteString(conn, fine)
		}
	})
	c := client(t, stallAfter(1500*time.Millisecond))
	done := make(chan error)
	for _, name := range []string{"a", "b"} {
		go func() {
			_, err := c.Put(within(t), s.grant(name), upload.Bytes([]byte("x")), upload.PutOptions{})
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Put(within(t), s.grant("c"), upload.Bytes([]byte("x")), upload.PutOptions{})
	if err != nil || got.Attempts != 2 {
		t.Errorf("receipt %+v, error %v; want 2 attempts", got, err)
	}
	if n := s.connections(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

func TestStalledForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeStorage(t)
		s.always = func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}
		start := time.Now()
		_, err := s.client(upload.Options{StallTimeout: 10 * time.Second}).Put(t.Context(), grantAt("http://storage.test/a", 100*time.Hour),
			upload.Bytes([]byte("x")), upload.PutOptions{GiveUpAfter: 15 * time.Second})
		wantError(t, err, upload.ErrStalled, 3)
		wantError(t, err, upload.ErrGaveUp, 3)
		if took := time.Since(start); took < 25*time.Second || took > 40*time.Second {
			t.Errorf("gave up after %v", took)
		}
	})
}

// A pause just below the timeout before each 32 KiB, which is what the transport takes at once: an upload that moves is never cut.
func TestSlowButMoving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, piece, pause = 2 << 20, 32 << 10, 25 * time.Second
		data := random(size)
		stored := make(chan []byte, 1)
		conns := make(chan net.Conn)
		c := pipeClient(upload.Options{StallTimeout: 30 * time.Second}, conns, nil)
		go func() {
			conn := <-conns
			defer conn.Close()
			req, err := http.ReadRequest(bufio.NewReaderSize(conn, 16))
			if err != nil {
				return
			}
			body := make([]byte, 0, size)
			for len(body) < size {
				<-time.After(pause)
				n, err := io.ReadFull(req.Body, body[len(body):len(body)+piece])
				if err != nil {
					return
				}
				body = body[:len(body)+n]
			}
			<-time.After(pause)
			io.WriteString(conn, fine)
			stored <- body
		}()
		start := time.Now()
		got, err := c.Put(t.Context(), grantAt("http://storage.test/a", 100*time.Hour), upload.Bytes(data), upload.PutOptions{})
		if err != nil || got.Attempts != 1 {
			t.Fatalf("receipt %+v, error %v; want 1 attempt", got, err)
		}
		if upload.Sum(<-stored) != upload.Sum(data) {
			t.Error("stored other bytes")
		}
		if took := time.Since(start); took < 64*pause {
			t.Errorf("took %v", took)
		}
	})
}

// The transport has handed over the whole body long before the peer has it: the bytes wait in the socket, and still move.
func TestSlowButMovingInTheSocket(t *testing.T) {
	t.Parallel()
	const stall = 2 * time.Second
	data := random(2 << 20)
	stored := make(chan upload.Digest, 1)
	s := listen(t, func(conn net.Conn, n int) {
		in := bufio.NewReaderSize(conn, 16)
		length := 0
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Sscanf(line, "Content-Length: %d", &length)
			if line == "\r\n" {
				break
			}
		}
		io.WriteString(conn, carryOn)
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		body := make([]byte, 0, length)
		for len(body) < length {
			<-tick.C
			n, err := in.Read(body[len(body):min(length, len(body)+length/200)])
			if err != nil {
				return
			}
			body = body[:len(body)+n]
		}
		stored <- upload.Sum(body)
		io.WriteString(conn, fine)
	})
	c := client(t, stallAfter(stall), func(o *upload.Options) {
		transport := upload.NewTransport()
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err == nil {
				conn.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(8 << 20)
			}
			return conn, err
		}
		o.Transport = transport
	})
	start := time.Now()
	got, err := c.Put(within(t), s.grant("a"), upload.Bytes(data), upload.PutOptions{})
	if err != nil || got.Attempts != 1 {
		t.Fatalf("receipt %+v, error %v; want 1 attempt", got, err)
	}
	if took := time.Since(start); took < 2*stall {
		t.Errorf("took only %v, which proves nothing", took)
	}
	if <-stored != upload.Sum(data) {
		t.Error("stored other bytes")
	}
}
