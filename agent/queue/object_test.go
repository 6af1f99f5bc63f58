package queue_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
)

// blob is bytes that gzip does not shrink to nothing.
func blob(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// brittle serves an object, and breaks the connection off after at most limit bytes of each answer. It answers ranges.
func brittle(data []byte, limit int, etag string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil { // ServeContent gives no length with a Content-Encoding
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
		switch match := r.Header.Get("If-Match"); {
		case match != "" && match != etag:
			w.Header().Del("Content-Length")
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		case r.Header.Get("Range") != "":
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = io.Copy(&breaking{w, limit}, bytes.NewReader(data[from:]))
	}
}

type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) <= b.left {
		b.left -= len(p)
		return b.ResponseWriter.Write(p)
	}
	_, _ = b.ResponseWriter.Write(p[:b.left])
	_ = http.NewResponseController(b.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

func read(t *testing.T, srv *server, o queue.Options) ([]byte, *queue.Object, error) {
	t.Helper()
	obj, err := storage(t, "http://storage.example", o).Open(deadline(t), srv.URL+"/x?Signature="+canary)
	if err != nil {
		return nil, nil, err
	}
	defer obj.Close()
	data, err := io.ReadAll(obj)
	return data, obj, err
}

func TestOpen(t *testing.T) {
	data := blob(300_000)
	srv := serve(t, brittle(data, 1<<30, `"e"`, "Content-Type", "image/png"))
	got, obj, err := read(t, srv, options(t))
	if err != nil || !bytes.Equal(got, data) || obj.Size != 300_000 || obj.ContentType != "image/png" || obj.ETag != `"e"` {
		t.Errorf("%d bytes, %+v, %v", len(got), obj, err)
	}
	o, err := storage(t, "http://storage.example", options(t)).Open(deadline(t), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(o, data); err != nil {
		t.Error(err)
	}
	_ = o.Close()
	if _, err := o.Read(make([]byte, 1)); err == nil {
		t.Error("read from a closed object")
	}
	for name, h := range map[string]http.HandlerFunc{
		"empty":         func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "0") },
		"empty as gzip": withHeader("Content-Encoding", "gzip", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "0") }),
	} {
		if got, obj, err := read(t, serve(t, h), options(t)); err != nil || len(got) != 0 || obj.Size != 0 {
			t.Errorf("%s: %q %+v %v", name, got, obj, err)
		}
	}
	// tried again until it opens
	srv = serve(t, reset, jsonAnswer(503, ""), brittle(data, 1<<30, ""))
	if got, _, err := read(t, srv, options(t)); err != nil || !bytes.Equal(got, data) {
		t.Error(err)
	}
	for _, status := range []int{403, 404} {
		if _, _, err := read(t, serve(t, answer(status, "", "")), options(t)); !errors.Is(err, queue.ErrNotFound) || strings.Contains(err.Error(), canary) {
			t.Errorf("%d: %v", status, err)
		}
	}
	for _, bad := range []string{"", "file:///etc/passwd", "/x", "http://", "ftp://x/y"} {
		var e *queue.URLError
		if _, err := storage(t, "http://storage.example", options(t)).Open(deadline(t), bad); !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestOpenResumes goes on with ranges where connections break, stored as it is or as gzip.
func TestOpenResumes(t *testing.T) {
	data := blob(900_000)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(data)
	_ = z.Close()
	for _, tt := range []struct {
		name     string
		h        http.HandlerFunc
		requests int
		size     int64
	}{
		{"identity", brittle(data, 100_000, `"e"`), 9, 900_000},
		{"gzip", brittle(packed.Bytes(), 100_000, `"e"`, "Content-Encoding", "gzip"), 10, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, tt.h)
			got, obj, err := read(t, srv, options(t))
			if err != nil || sha256.Sum256(got) != sha256.Sum256(data) || obj.Size != tt.size {
				t.Errorf("%d bytes of %d: %v", len(got), len(data), err)
			}
			seen := srv.seen()
			if len(seen) != tt.requests {
				t.Errorf("%d requests, want %d", len(seen), tt.requests)
			}
			for _, r := range seen[1:] {
				if !strings.HasPrefix(r.Header.Get("Range"), "bytes=") || r.Header.Get("If-Match") != `"e"` {
					t.Errorf("resumed with %v", r.Header)
				}
			}
		})
	}
	t.Run("through trouble", func(t *testing.T) {
		srv := serve(t, brittle(data, 500_000, `"e"`), reset, jsonAnswer(503, ""), brittle(data, 1<<30, `"e"`))
		if got, _, err := read(t, srv, options(t)); err != nil || !bytes.Equal(got, data) {
			t.Error(err)
		}
	})
	t.Run("a silent connection", func(t *testing.T) {
		o := options(t)
		o.AttemptTimeout = 300 * time.Millisecond
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:1000])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, brittle(data, 1<<30, `"e"`))
		if got, _, err := read(t, srv, o); err != nil || !bytes.Equal(got, data) {
			t.Error(err)
		}
	})
}

// TestOpenSlowReader takes longer than AttemptTimeout between two reads; that is not the connection's fault.
func TestOpenSlowReader(t *testing.T) {
	data := blob(8 << 20) // more than the sockets hold
	o := options(t)
	o.AttemptTimeout = time.Second
	srv := serve(t, brittle(data, 1<<30, "")) // without an ETag: a connection given up would be the end
	obj, err := storage(t, srv.URL, o).Open(deadline(t), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	for range 2 { // before the first read, and between two
		<-time.After(1200 * time.Millisecond)
		if _, err := io.ReadFull(obj, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if rest, err := io.ReadAll(obj); err != nil || len(rest) != 6<<20 {
		t.Errorf("%d bytes more, %v", len(rest), err)
	}
}

// TestOpenCut never ends silently before the end.
func TestOpenCut(t *testing.T) {
	data := blob(200_000)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(data)
	_ = z.Close()
	whole := packed.Bytes()
	chunked := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(data[:1000])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, tt := range []struct {
		name     string
		answers  []http.HandlerFunc
		requests int
		want     error
	}{
		{"without ETag", []http.HandlerFunc{brittle(data, 1000, "")}, 1, io.ErrUnexpectedEOF},
		{"weak ETag", []http.HandlerFunc{brittle(data, 1000, `W/"e"`)}, 1, io.ErrUnexpectedEOF},
		{"unknown size", []http.HandlerFunc{withHeader("ETag", `"e"`, chunked)}, 1, io.ErrUnexpectedEOF},
		{"breaks each time", []http.HandlerFunc{brittle(data, 1000, `"e"`)}, 11, io.ErrUnexpectedEOF},
		{"changed", []http.HandlerFunc{brittle(data, 1000, `"e"`), brittle(data, 1<<30, `"f"`)}, 2, queue.ErrChanged},
		{"changed, and no If-Match", []http.HandlerFunc{brittle(data, 1000, `"e"`), withHeader("ETag", `"f"`, withHeader("Content-Range", "bytes 1000-199999/200000", answer(206, "", string(data[1000:]))))}, 2, queue.ErrChanged},
		{"no ranges", []http.HandlerFunc{brittle(data, 1000, `"e"`), answer(200, "", string(data))}, 2, io.ErrUnexpectedEOF},
		{"other range", []http.HandlerFunc{brittle(data, 1000, `"e"`), withHeader("ETag", `"e"`, withHeader("Content-Range", "bytes 0-10/200000", answer(206, "", "01234567890")))}, 2, queue.ErrChanged},
		{"gone", []http.HandlerFunc{brittle(data, 1000, `"e"`), answer(404, "", "")}, 2, queue.ErrNotFound},
		{"gzip stored short", []http.HandlerFunc{brittle(whole[:len(whole)/2], 1<<30, `"e"`, "Content-Encoding", "gzip")}, 1, io.ErrUnexpectedEOF},
		{"gzip without its end", []http.HandlerFunc{brittle(whole[:len(whole)-4], 1<<30, `"e"`, "Content-Encoding", "gzip")}, 1, io.ErrUnexpectedEOF},
		{"gzip damaged", []http.HandlerFunc{brittle(append(whole[:len(whole)-8:len(whole)-8], 1, 2, 3, 4, 5, 6, 7, 8), 1<<30, "", "Content-Encoding", "gzip")}, 1, gzip.ErrChecksum},
		{"no gzip at all", []http.HandlerFunc{brittle(data, 1<<30, "", "Content-Encoding", "gzip")}, 1, gzip.ErrHeader},
		{"other encoding", []http.HandlerFunc{brittle(data, 1<<30, "", "Content-Encoding", "br")}, 1, queue.ErrEncoding},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, tt.answers...)
			_, _, err := read(t, srv, options(t))
			var e *queue.Error
			if !errors.Is(err, tt.want) || !errors.As(err, &e) || len(srv.seen()) != tt.requests || strings.Contains(err.Error(), canary) {
				t.Errorf("%v after %d requests, want %v after %d", err, len(srv.seen()), tt.want, tt.requests)
			}
		})
	}
}

// TestOpenEnds ends a read that waits for bytes when ctx ends, and leaves a quiet log of unknown size alone before.
func TestOpenEnds(t *testing.T) {
	o := options(t)
	o.AttemptTimeout = 200 * time.Millisecond
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancelCause(deadline(t))
	obj, err := storage(t, srv.URL, o).Open(ctx, srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	if _, err := io.ReadFull(obj, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-time.After(600 * time.Millisecond)
		cancel(errEnough)
	}()
	if _, err = obj.Read(make([]byte, 1)); !errors.Is(err, errEnough) || errors.Is(err, queue.ErrTimeout) {
		t.Error(err)
	}
}

// TestOpenRedirects follows ten redirects, the eleventh not, and none that leaves https.
func TestOpenRedirects(t *testing.T) {
	var srv *server
	srv = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Referer") != "" {
			t.Errorf("Referer %q", r.Header.Get("Referer"))
		}
		left := len(r.URL.Path) - 1
		if left == 0 {
			_, _ = io.WriteString(w, "here")
			return
		}
		redirect([]int{301, 302, 303, 307, 308}[left%5], srv.URL+"/"+strings.Repeat("x", left-1)+"?Signature="+canary)(w, r)
	})
	for _, hops := range []int{10, 11} {
		obj, err := storage(t, srv.URL, options(t)).Open(deadline(t), srv.URL+"/"+strings.Repeat("x", hops))
		if hops > 10 {
			if !errors.Is(err, queue.ErrRedirected) || strings.Contains(err.Error(), canary) {
				t.Errorf("%d hops: %v", hops, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(obj); string(got) != "here" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_ = obj.Close()
	}
	secure := httptest.NewTLSServer(redirect(302, srv.URL+"/"))
	defer secure.Close()
	o := options(t)
	o.Transport = secure.Client().Transport
	n := len(srv.seen())
	if _, err := storage(t, srv.URL, o).Open(deadline(t), secure.URL); !errors.Is(err, queue.ErrRedirected) || len(srv.seen()) != n {
		t.Error(err)
	}
}
