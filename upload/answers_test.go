package upload_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/upload"
)

func TestServerErrors(t *testing.T) {
	data := random(100_000)
	for name, failed := range map[string]step{
		"500": refuse(500, "InternalError", "We encountered an internal error."),
		"502": plain(502),
		"503": refuse(503, "SlowDown", "Please reduce your request rate."),
		"504": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(504)
			io.WriteString(w, "<html><head><title>504 Gateway Time-out</title></head></html>")
		},
		"429": plain(429),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorage(t, failed, failed)
			got, err := client(t).Put(within(t), s.grant("a"), upload.Bytes(data), upload.PutOptions{})
			wantReceipt(t, got, err, upload.Receipt{
				URL: s.URL + "/a", Size: 100_000, Digest: upload.Sum(data), ETag: `"etag"`, Attempts: 3,
			})
			s.wantRequests(t, 3)
			s.wantObject(t, "a", data)
		})
	}
}

func TestRequestTimeout(t *testing.T) {
	timeout := refuse(400, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period.")
	s := newStorage(t, timeout)
	got, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
	if err != nil || got.Attempts != 2 {
		t.Errorf("receipt %+v, error %v; want 2 attempts", got, err)
	}
	s.wantRequests(t, 2)
	s.wantObject(t, "a", []byte("x"))
}

func TestOtherClientErrors(t *testing.T) {
	for _, test := range []struct {
		status        int
		code, message string
	}{
		{400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"},
		{400, "InvalidArgument", "No"},
		{404, "NoSuchBucket", "The specified bucket does not exist"},
		{411, "MissingContentLength", "You must provide the Content-Length HTTP header."},
		{412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"},
		{503, "EntityTooLarge", "The code counts, not the status"},
	} {
		t.Run(test.code, func(t *testing.T) {
			s := newStorage(t, refuse(test.status, test.code, test.message))
			r := renewals{base: s.URL}
			_, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{Name: "n", Renew: r.renew})
			e := wantError(t, err, upload.ErrRejected, 1)
			if e.Status != test.status || e.Code != test.code || e.Message != test.message || e.Name != "n" || e.Renewals != 0 {
				t.Errorf("error is %+v", e)
			}
			s.wantRequests(t, 1)
			s.wantObject(t, "a", nil)
		})
	}
}

func TestBadDigest(t *testing.T) {
	bad := refuse(400, "BadDigest", "The CRC64NVME you specified did not match the calculated checksum.")
	s := newStorage(t, bad)
	got, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
	if err != nil || got.Attempts != 2 {
		t.Errorf("receipt %+v, error %v; want 2 attempts", got, err)
	}
	s.wantRequests(t, 2)
	s.wantObject(t, "a", []byte("x"))

	s = newStorage(t, bad, bad, bad)
	_, err = client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
	wantError(t, err, upload.ErrDigest, 2)
	s.wantRequests(t, 2)
	s.wantObject(t, "a", nil)
}

func TestStorageReturnsAnotherDigest(t *testing.T) {
	digest := func(d upload.Digest) step {
		return plain(200, "x-amz-checksum-crc64nvme", strings.TrimPrefix(string(d), "crc64nvme:"))
	}
	data := random(100_000)
	wrong, right := digest(upload.Sum([]byte("other"))), digest(upload.Sum(data))
	s := newStorage(t, wrong, right)
	got, err := client(t).Put(within(t), s.grant("a"), upload.File(file(t, data)), upload.PutOptions{})
	wantReceipt(t, got, err, upload.Receipt{URL: s.URL + "/a", Size: 100_000, Digest: upload.Sum(data), Attempts: 2})
	s.wantRequests(t, 2)

	s = newStorage(t, wrong, wrong, right)
	_, err = client(t).Put(within(t), s.grant("a"), upload.File(file(t, data)), upload.PutOptions{})
	wantError(t, err, upload.ErrDigest, 2)
	s.wantRequests(t, 2)
}

func TestStorageRejectsBeforeItHasReadTheBody(t *testing.T) {
	denied := "<Error><Code>AccessDenied</Code><Message>Refused</Message></Error>"
	s := listen(t, func(conn net.Conn, _ int) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		fmt.Fprintf(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(denied), denied)
		// Closing while bytes of the body are unread makes a reset.
	})
	const puts = 50
	c, data := client(t), random(4<<20)
	for range puts {
		_, err := c.Put(within(t), s.grant("a"), upload.Bytes(data), upload.PutOptions{})
		if e := wantError(t, err, upload.ErrDenied, 1); e.Status != 403 {
			t.Errorf("the answer was lost: %v", err)
		}
	}
	if got := s.connections(); got != puts {
		t.Errorf("%d connections, want %d", got, puts)
	}
}

func TestStorageDoesNotKnowExpect(t *testing.T) {
	data := random(100_000)
	s := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusExpectationFailed)
	})
	got, err := client(t).Put(within(t), s.grant("a"), upload.Bytes(data), upload.PutOptions{})
	if err != nil || got.Attempts != 2 {
		t.Errorf("receipt %+v, error %v; want 2 attempts", got, err)
	}
	s.wantRequests(t, 2)
	s.wantObject(t, "a", data)
	if first, second := s.seen()[0].Header.Get("Expect"), s.seen()[1].Header.Get("Expect"); first != "100-continue" || second != "" {
		t.Errorf("Expect was %q, then %q", first, second)
	}
}

func TestStorageAnswersBeforeItHasTheWholeBody(t *testing.T) {
	data := random(1 << 20)
	s := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(200)
	})
	got, err := client(t).Put(within(t), s.grant("a"), upload.Bytes(data), upload.PutOptions{})
	if err != nil || got.Attempts != 2 {
		t.Errorf("receipt %+v, error %v; want 2 attempts", got, err)
	}
	s.wantObject(t, "a", data)
}

func TestConnectionReset(t *testing.T) {
	for _, size := range []int{0, 1000, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			data := random(size)
			s := newStorage(t, reset, func(w http.ResponseWriter, r *http.Request) {
				io.CopyN(io.Discard, r.Body, int64(size/2))
				reset(w, r)
			})
			got, err := client(t).Put(within(t), s.grant("a"), upload.File(file(t, data)), upload.PutOptions{})
			wantReceipt(t, got, err, upload.Receipt{URL: s.URL + "/a", Size: int64(size), Digest: upload.Sum(data), ETag: `"etag"`, Attempts: 3})
			s.wantRequests(t, 3)
			s.wantObject(t, "a", data)
		})
	}
}

func TestTruncatedAnswer(t *testing.T) {
	for _, status := range []int{200, 403, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Length", "1000")
				w.WriteHeader(status)
				io.WriteString(w, "<Error><Code>Acc")
				panic(http.ErrAbortHandler)
			})
			got, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
			if err != nil || got.Attempts != 2 {
				t.Errorf("receipt %+v, error %v; want 2 attempts", got, err)
			}
			s.wantRequests(t, 2)
			s.wantObject(t, "a", []byte("x"))
		})
	}
}

func TestAnswerLostAfterTheObjectWasStored(t *testing.T) {
	data := random(200_000)
	s := newStorage(t)
	s.script = []step{func(w http.ResponseWriter, r *http.Request) {
		s.store(w, r)
		reset(w, r)
	}}
	got, err := client(t).Put(within(t), s.grant("a"), upload.File(file(t, data)), upload.PutOptions{})
	wantReceipt(t, got, err, upload.Receipt{URL: s.URL + "/a", Size: 200_000, Digest: upload.Sum(data), ETag: `"etag"`, Attempts: 2})
	s.wantRequests(t, 2)
	s.wantObject(t, "a", data)
}

func TestStaleKeepAliveConnection(t *testing.T) {
	var bodies sync.Map
	s := listen(t, func(conn net.Conn, n int) {
		in := bufio.NewReader(conn)
		for served := 0; ; served++ {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			if n == 1 && served == 1 {
				return // closed without an answer, as an idle connection that has timed out
			}
			bodies.Store(req.URL.Path, string(body))
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	c := client(t)
	for _, name := range []string{"a", "b"} {
		got, err := c.Put(within(t), s.grant(name), upload.File(file(t, []byte("body of "+name))), upload.PutOptions{})
		// One attempt each: net/http replays the request by itself.
		wantReceipt(t, got, err, upload.Receipt{
			URL: s.grant(name).ReadURL, Size: 9, Digest: upload.Sum([]byte("body of " + name)), Attempts: 1,
		})
		if stored, _ := bodies.Load("/" + name); stored != "body of "+name {
			t.Errorf("%s: stored %q", name, stored)
		}
	}
	if got := s.connections(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

func TestErrorBodyHuge(t *testing.T) {
	sent := make(chan int64, 1)
	s := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(400)
		io.WriteString(w, "<Error><Code>EntityTooLarge</Code><Message>")
		n, _ := io.Copy(w, io.LimitReader(endless{}, 1<<30))
		sent <- n
	})
	_, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
	if e := wantError(t, err, upload.ErrRejected, 1); e.Code != "EntityTooLarge" || len(e.Message) > 400 {
		t.Errorf("code %q, message of %d bytes", e.Code, len(e.Message))
	}
	if n := <-sent; n > 32<<20 { // 64 KiB are read, the sockets hold some more
		t.Errorf("%d bytes of the answer were taken", n)
	}
	s.wantRequests(t, 1)
	s.wantObject(t, "a", nil)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestErrorBodyCompressed(t *testing.T) {
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	io.CopyN(zip, endless{}, 64<<20)
	zip.Close()
	s := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(503)
		w.Write(bomb.Bytes())
	})
	// A transport that would decompress by itself.
	c := client(t, func(o *upload.Options) { o.Transport = &http.Transport{} })
	t.Cleanup(c.CloseIdleConnections)
	got, err := c.Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
	if err != nil || got.Attempts != 2 {
		t.Errorf("receipt %+v, error %v; want 2 attempts", got, err)
	}
	s.wantRequests(t, 2)
	if accepts := s.seen()[0].Header.Get("Accept-Encoding"); accepts != "identity" {
		t.Errorf("Accept-Encoding is %q, want identity", accepts)
	}
	s.wantObject(t, "a", []byte("x"))
}

func TestRetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		after    func() string
		min, max time.Duration
	}{
		"seconds":      {func() string { return "40" }, 40 * time.Second, 41 * time.Second},
		"date":         {func() string { return time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat) }, 39 * time.Second, 41 * time.Second},
		"capped":       {func() string { return "86400" }, 5 * time.Minute, 5*time.Minute + time.Second},
		"in the past":  {func() string { return "Sun, 06 Nov 1994 08:49:37 GMT" }, 0, time.Second},
		"negative":     {func() string { return "-5" }, 0, time.Second},
		"not a number": {func() string { return "soon" }, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newPipeStorage(t, func(w http.ResponseWriter, r *http.Request) {
					plain(503, "Retry-After", test.after())(w, r)
				})
				start := time.Now()
				g := grantAt("http://storage.test/a", 100*time.Hour)
				got, err := s.client(upload.Options{}).Put(t.Context(), g, upload.Bytes([]byte("x")), upload.PutOptions{})
				if err != nil || got.Attempts != 2 {
					t.Errorf("receipt %+v, error %v; want 2 attempts", got, err)
				}
				if took := time.Since(start); took < test.min || took > test.max {
					t.Errorf("tried again after %v, want %v to %v", took, test.min, test.max)
				}
				s.wantObject(t, "a", []byte("x"))
			})
		})
	}
}

// listener is a storage made by hand, for what net/http would not do.
type listener struct {
	net.Listener
	mu    sync.Mutex
	count int
}

// listen serves each connection, numbered from 1, and closes it afterwards.
func listen(t *testing.T, serve func(conn net.Conn, n int)) *listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &listener{Listener: l}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.count++
			n := s.count
			s.mu.Unlock()
			context := t.Context()
			serving.Go(func() {
				over := make(chan struct{})
				var ender sync.WaitGroup
				ender.Go(func() {
					select {
					case <-over:
					case <-context.Done():
					}
					conn.Close()
				})
				serve(conn, n)
				close(over)
				ender.Wait()
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return s
}

func (l *listener) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *listener) grant(name string) upload.Grant {
	return grantAt("http://"+l.Addr().String()+"/"+name, time.Hour)
}
