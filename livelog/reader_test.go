package livelog_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

func zip(t testing.TB, text []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReaderReadsFromAnyOffset(t *testing.T) {
	s := newStorage(t)
	chunks := []string{"0123456789", "abcdefghij", "!"}
	const tail = "the tail"
	whole := strings.Join(chunks, "") + tail
	s.setIndex(t, true, tail, chunks...)
	for offset := range len(whole) + 2 {
		o := quick()
		o.Offset = int64(offset)
		got, err := readAll(within(t), s.URL+"/index", o)
		if want := whole[min(offset, len(whole)):]; got != want || err != nil {
			t.Errorf("from %d: %q, %v; want %q", offset, got, err, want)
		}
	}
	if requests := s.requests(); !slices.Contains(requests, "chunk-10-10 bytes=3-9") || slices.Contains(requests, "chunk-10-10 bytes=0-9") {
		t.Errorf("requests %q: want a range where, and only where, reading starts within a chunk", requests)
	}

	r := livelog.NewReader(within(t), s.URL+"/index", quick())
	defer r.Close()
	if err := iotest.TestReader(r, []byte(whole)); err != nil {
		t.Error(err)
	}
}

func TestReaderReadsAnEmptyLog(t *testing.T) {
	s := newStorage(t)
	s.setIndex(t, true, "")
	if got, err := readAll(within(t), s.URL+"/index", livelog.ReaderOptions{}); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Each row is something that goes wrong once or a few times; the bytes must be right all the same.
func TestReaderSurvives(t *testing.T) {
	chunk := strings.Repeat("0123456789abcdef", 20_000) // larger than any buffer on the way
	const tail = "the tail\n"
	log := "first\n" + chunk + tail

	// fault answers the nth request for an object, counted from 1, and says whether it did.
	type fault func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool
	big := func(name string) bool { return name == fmt.Sprintf("chunk-6-%d", len(chunk)) }
	status := func(code int, until int, match func(string) bool) fault {
		return func(_ *storage, n int, name string, w http.ResponseWriter, _ *http.Request) bool {
			if n > until || !match(name) {
				return false
			}
			http.Error(w, "no", code)
			return true
		}
	}
	isIndex := func(name string) bool { return name == "index" }
	every := func(string) bool { return true }

	for what, f := range map[string]fault{
		"nothing":                    func(*storage, int, string, http.ResponseWriter, *http.Request) bool { return false },
		"503 to everything":          status(503, 3, every),
		"429 to everything":          status(429, 3, every),
		"404 before the first flush": status(404, 20, isIndex), // more often than Attempts
		"403 before the first flush": status(403, 20, isIndex),
		"chunk missing for a while":  status(404, 3, big),
		"503 longer than Attempts":   status(503, 20, big),
		"index is nonsense for a while": func(_ *storage, n int, name string, w http.ResponseWriter, _ *http.Request) bool {
			if n > 3 || !isIndex(name) {
				return false
			}
			io.WriteString(w, []string{"", "{}", `<Error/>`}[n-1])
			return true
		},
		"reset before the answer": func(_ *storage, n int, _ string, _ http.ResponseWriter, _ *http.Request) bool {
			if n > 2 {
				return false
			}
			panic(http.ErrAbortHandler)
		},
		"reset in the middle of a chunk": func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool {
			if !big(name) || n > 3 {
				return false
			}
			o, _ := s.get(name)
			o.serve(&torn{ResponseWriter: w, left: 70_001}, req)
			panic(http.ErrAbortHandler)
		},
		"reset in the middle of the index": func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool {
			if !isIndex(name) || n > 2 {
				return false
			}
			o, _ := s.get(name)
			o.serve(&torn{ResponseWriter: w, left: 20}, req)
			panic(http.ErrAbortHandler)
		},
		"truncated chunk": func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool {
			if !big(name) || n > 4 {
				return false
			}
			o, _ := s.get(name)
			o.data = o.data[:100_003]
			o.serve(w, req)
			return true
		},
		"chunk longer than the index says": func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasPrefix(name, "chunk") {
				return false
			}
			o, _ := s.get(name)
			o.data = append(bytes.Clone(o.data), "more of it"...)
			o.serve(w, req)
			return true
		},
		"200 to a range": func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool {
			if !big(name) {
				return false
			}
			o, _ := s.get(name)
			if n == 1 {
				o.serve(&torn{ResponseWriter: w, left: 70_001}, req)
				panic(http.ErrAbortHandler)
			}
			req.Header.Del("Range")
			o.serve(w, req)
			return true
		},
		"another range than was asked for": func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool {
			if !big(name) || n > 3 {
				return false
			}
			o, _ := s.get(name)
			if n == 1 {
				o.serve(&torn{ResponseWriter: w, left: 70_001}, req)
				panic(http.ErrAbortHandler)
			}
			req.Header.Set("Range", "bytes=5-")
			o.serve(w, req)
			return true
		},
		"gzip on the way": func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool {
			o, _ := s.get(name)
			req.Header.Del("Range")
			stored{data: zip(t, o.data), encoding: "gzip", etag: o.etag}.serve(w, req)
			return true
		},
		"a header that says gzip where there is none": func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool {
			w.Header().Set("Content-Encoding", "gzip")
			return false
		},
		"nothing moves": func(s *storage, n int, name string, w http.ResponseWriter, req *http.Request) bool {
			if n > 1 {
				return false
			}
			if big(name) {
				o, _ := s.get(name)
				o.serve(&torn{ResponseWriter: w, left: 70_001}, req)
				w.(http.Flusher).Flush()
			}
			<-req.Context().Done()
			return true
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStorage(t)
			s.setIndex(t, true, tail, "first\n", chunk)
			counts := map[string]*atomic.Int64{}
			for _, name := range s.names() {
				counts[name] = new(atomic.Int64)
			}
			s.setFault(func(name string, w http.ResponseWriter, req *http.Request) bool {
				return f(s, int(counts[name].Add(1)), name, w, req)
			})
			o := quick()
			if what == "nothing moves" {
				o.StallTimeout = 100 * time.Millisecond
			}
			got, err := readAll(within(t), s.URL+"/index", o)
			if err != nil {
				t.Fatal(err)
			}
			if got != log {
				t.Errorf("read %d bytes, want %d: %s", len(got), len(log), firstDifference(got, log))
			}
		})
	}
}

func firstDifference(got, want string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("byte %d is %q, want %q", i, got[i], want[i])
		}
	}
	return "one is the beginning of the other"
}

// torn passes the first left bytes of a body on, and drops the rest.
type torn struct {
	http.ResponseWriter
	left int
}

func (w *torn) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(len(p), w.left)])
	w.left -= n
	w.ResponseWriter.(http.Flusher).Flush()
	if err == nil && n < len(p) {
		err = errors.New("torn")
	}
	return n, err
}

// What stays wrong is reported after a bounded number of attempts, with the place where reading stopped.
func TestReaderGivesUp(t *testing.T) {
	const head, chunk, tail = "0123456789", "abcdefghijklmnopqrst", "tail"
	secret := "?X-Amz-Signature=hush"
	answer := func(code int, body string) func(*storage, string, http.ResponseWriter, *http.Request) bool {
		return func(_ *storage, name string, w http.ResponseWriter, _ *http.Request) bool {
			if name != "chunk-10-20" {
				return false
			}
			w.WriteHeader(code)
			io.WriteString(w, body)
			return true
		}
	}
	for _, c := range []struct {
		what   string
		fault  func(s *storage, name string, w http.ResponseWriter, req *http.Request) bool
		want   error
		offset int64
		tries  int // requests for what failed
	}{
		{"chunk too short", answer(200, chunk[:7]), livelog.ErrShort, 17, 5},
		{"chunk missing", answer(404, ""), livelog.ErrMissing, 10, 4},
		{"chunk denied", answer(403, ""), livelog.ErrMissing, 10, 4},
		{"chunk refused", answer(400, ""), nil, 10, 4},
		{"index not valid", func(_ *storage, name string, w http.ResponseWriter, _ *http.Request) bool {
			io.WriteString(w, `{"version":"0.2.0","size":3,"complete":true,"pollAfterMs":0,"chunks":[],"tail":""}`)
			return true
		}, livelog.ErrIndex, 0, 4},
		{"index torn gzip", func(_ *storage, name string, w http.ResponseWriter, _ *http.Request) bool {
			w.Write(zip(t, make([]byte, 1000))[:20])
			return true
		}, livelog.ErrIndex, 0, 4},
		{"redirects without end", func(_ *storage, name string, w http.ResponseWriter, req *http.Request) bool {
			http.Redirect(w, req, "/again"+secret, http.StatusFound)
			return true
		}, livelog.ErrRedirected, 0, 11},
		{"redirect to nowhere", func(_ *storage, name string, w http.ResponseWriter, req *http.Request) bool {
			w.Header().Set("Location", "http://bad host/%zz"+secret)
			w.WriteHeader(http.StatusFound)
			return true
		}, livelog.ErrRedirected, 0, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := newStorage(t)
			s.setIndex(t, true, tail, head, chunk)
			s.setFault(func(name string, w http.ResponseWriter, req *http.Request) bool { return c.fault(s, name, w, req) })
			o := quick()
			o.Attempts = 4
			got, err := readAll(within(t), s.URL+"/index"+secret, o)
			if want := (head + chunk + tail)[:c.offset]; got != want {
				t.Errorf("read %q, want %q", got, want)
			}
			var typed *livelog.ReadError
			if !errors.As(err, &typed) || typed.Offset != c.offset {
				t.Fatalf("%v, want a *ReadError at byte %d", err, c.offset)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("%v shows the signature", err)
			}
			requests := s.requests()
			last, tries := strings.Fields(requests[len(requests)-1])[0], 0
			for _, request := range requests {
				if strings.Fields(request)[0] == last || c.what == "redirects without end" {
					tries++
				}
			}
			if tries != c.tries {
				t.Errorf("tried %d times, want %d: %.500q", tries, c.tries, requests)
			}
		})
	}
}

// An index that goes backwards for a while is a stale copy; no byte may be given twice.
func TestReaderMeetsAStaleIndex(t *testing.T) {
	for _, stale := range []int{3, 100} {
		t.Run(strconv.Itoa(stale), func(t *testing.T) {
			s := newStorage(t)
			s.setIndex(t, false, "one\n")
			old, _ := s.get("index")
			s.setIndex(t, false, "", "one\n", "two\n")
			newer, _ := s.get("index")
			s.setIndex(t, true, "three\n", "one\n", "two\n")
			var n atomic.Int64
			s.setFault(func(name string, w http.ResponseWriter, req *http.Request) bool {
				if name != "index" {
					return false
				}
				switch i := int(n.Add(1)); {
				case i == 1:
					newer.serve(w, req)
				case i <= 1+stale:
					old.serve(w, req)
				default:
					return false
				}
				return true
			})
			o := quick()
			o.Attempts = 5
			got, err := readAll(within(t), s.URL+"/index", o)
			if stale < o.Attempts {
				if want := "one\ntwo\nthree\n"; got != want || err != nil {
					t.Errorf("%q, %v; want %q", got, err, want)
				}
				return
			}
			var typed *livelog.ReadError
			if got != "one\ntwo\n" || !errors.Is(err, livelog.ErrBackwards) || !errors.As(err, &typed) || typed.Offset != 8 || typed.Attempts != 5 {
				t.Errorf("%q, %v; want ErrBackwards at byte 8 after 5 attempts", got, err)
			}
		})
	}
}

func TestReaderFollowsRedirects(t *testing.T) {
	var referers atomic.Int64
	target := newStorage(t)
	target.setFault(func(_ string, _ http.ResponseWriter, req *http.Request) bool {
		if req.Header.Get("Referer") != "" {
			referers.Add(1)
		}
		return false
	})
	target.setIndex(t, true, "tail", "0123456789")
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, target.URL+req.URL.Path, http.StatusFound)
	}))
	defer front.Close()
	x := schema.LogIndex{Version: schema.Version, Size: 10, Complete: true, Tail: []byte{},
		Chunks: []schema.Chunk{{Size: 10, URL: front.URL + "/chunk-0-10", Encoding: "identity"}}}
	target.set("index", encode(t, x), "")

	o := quick()
	o.Offset = 4
	got, err := readAll(within(t), front.URL+"/index?X-Amz-Signature=hush", o)
	if got != "456789" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if want := []string{"index", "chunk-0-10 bytes=4-9"}; !slices.Equal(target.requests(), want) {
		t.Errorf("requests %q, want %q", target.requests(), want)
	}
	if n := referers.Load(); n != 0 {
		t.Errorf("%d requests carried a Referer", n)
	}
}

func TestReaderDoesNotGoFromHTTPSToHTTP(t *testing.T) {
	s := newStorage(t)
	s.setIndex(t, true, "tail")
	front := httptest.NewTLSServer(http.RedirectHandler(s.URL+"/index", http.StatusFound))
	defer front.Close()
	o := quick()
	o.Transport = front.Client().Transport
	if got, err := readAll(within(t), front.URL, o); got != "" || !errors.Is(err, livelog.ErrRedirected) {
		t.Errorf("%q, %v; want ErrRedirected", got, err)
	}
	if requests := s.requests(); len(requests) != 0 {
		t.Errorf("requests over http: %q", requests)
	}
}

func TestReaderRejectsAURLThatIsNone(t *testing.T) {
	for _, url := range []string{"", "index.json", "ftp://storage.example/?hush", "http://bad host/?hush"} {
		_, err := readAll(within(t), url, livelog.ReaderOptions{})
		if !errors.Is(err, livelog.ErrURL) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v, want ErrURL", url, err)
		}
	}
}

// A log that does not change is asked for with its ETag, and costs no body.
func TestReaderAsksOnlyForWhatHasChanged(t *testing.T) {
	s := newStorage(t)
	s.setIndex(t, false, "one\n")
	notModified := make(chan struct{})
	s.setFault(func(name string, w http.ResponseWriter, req *http.Request) bool {
		if o, _ := s.get(name); req.Header.Get("If-None-Match") == o.etag {
			select {
			case notModified <- struct{}{}:
			case <-req.Context().Done():
			}
		}
		return false
	})
	go func() {
		for range 3 {
			<-notModified
		}
		s.setFault(nil)
		s.setIndex(t, true, "one\ntwo\n")
	}()
	if got, err := readAll(within(t), s.URL+"/index", quick()); got != "one\ntwo\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReaderWaitsForItsOffset(t *testing.T) {
	s := newStorage(t)
	s.setIndex(t, false, "one\n")
	var n atomic.Int64
	s.setFault(func(string, http.ResponseWriter, *http.Request) bool {
		if n.Add(1) == 5 {
			s.setIndex(t, true, "one\ntwo\n")
		}
		return false
	})
	o := quick()
	o.Offset = 6
	if got, err := readAll(within(t), s.URL+"/index", o); got != "o\n" || err != nil {
		t.Errorf("%q, %v; want %q", got, err, "o\n")
	}
}

func TestReaderDecodesAGzippedChunk(t *testing.T) {
	const text = "0123456789"
	for _, encoding := range []string{"gzip", ""} { // with and without the header
		s := newStorage(t)
		s.set("chunk", zip(t, []byte(text)), encoding)
		s.set("index", encode(t, schema.LogIndex{Version: schema.Version, Size: 10, Complete: true, Tail: []byte{},
			Chunks: []schema.Chunk{{Size: 10, URL: s.URL + "/chunk", Encoding: "gzip"}}}), "")
		for offset := range len(text) {
			o := quick()
			o.Offset = int64(offset)
			if got, err := readAll(within(t), s.URL+"/index", o); got != text[offset:] || err != nil {
				t.Errorf("encoding %q, from %d: %q, %v; want %q", encoding, offset, got, err, text[offset:])
			}
		}
	}
}

// A Read that waits ends with the context of the reader, or with Close.
func TestReaderEnds(t *testing.T) {
	cause := errors.New("enough")
	for _, c := range []struct {
		what  string
		fault func(name string, w http.ResponseWriter, req *http.Request) bool
	}{
		{"waiting for the first flush", func(name string, w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "", 404)
			return true
		}},
		{"waiting for more", func(string, http.ResponseWriter, *http.Request) bool { return false }},
		{"waiting for an answer", func(_ string, _ http.ResponseWriter, req *http.Request) bool {
			<-req.Context().Done()
			return true
		}},
		{"waiting for a body", func(name string, w http.ResponseWriter, req *http.Request) bool {
			w.Header().Set("Content-Length", "100")
			w.(http.Flusher).Flush()
			<-req.Context().Done()
			return true
		}},
	} {
		for _, how := range []string{"context", "close"} {
			t.Run(c.what+"/"+how, func(t *testing.T) {
				s := newStorage(t)
				s.setIndex(t, false, "")
				asked := make(chan struct{}, 1)
				s.setFault(func(name string, w http.ResponseWriter, req *http.Request) bool {
					select {
					case asked <- struct{}{}:
					default:
					}
					return c.fault(name, w, req)
				})
				ctx, cancel := context.WithCancelCause(within(t))
				defer cancel(nil)
				r := livelog.NewReader(ctx, s.URL+"/index", livelog.ReaderOptions{MinPoll: time.Hour, MaxPoll: time.Hour})
				defer r.Close()
				result := make(chan error)
				go func() {
					_, err := r.Read(make([]byte, 10))
					result <- err
				}()
				<-asked
				want := cause
				if how == "close" {
					want = os.ErrClosed
					r.Close()
				} else {
					cancel(cause)
				}
				if err := <-result; !errors.Is(err, want) {
					t.Errorf("read: %v, want %v", err, want)
				}
				if _, err := r.Read(make([]byte, 10)); !errors.Is(err, want) {
					t.Errorf("read again: %v, want %v", err, want)
				}
			})
		}
	}
}

// A reader's memory must not depend on the size of a chunk: it asks for more only when it is asked.
func TestReaderStreamsAChunk(t *testing.T) {
	const size = 1 << 40
	s := newStorage(t)
	s.set("index", encode(t, schema.LogIndex{Version: schema.Version, Size: size, Complete: true, Tail: []byte{},
		Chunks: []schema.Chunk{{Size: size, URL: s.URL + "/chunk", Encoding: "identity"}}}), "")
	s.setFault(func(name string, w http.ResponseWriter, _ *http.Request) bool {
		if name != "chunk" {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		for block := make([]byte, 1<<16); ; {
			if _, err := w.Write(block); err != nil {
				return true
			}
		}
	})
	r := livelog.NewReader(within(t), s.URL+"/index", quick())
	defer r.Close()
	if n, err := io.CopyN(io.Discard, r, 1<<20); n != 1<<20 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// An index without an end, plain or compressed, is given up at the size limit of a document.
func TestReaderBoundsTheIndex(t *testing.T) {
	spaces := bytes.Repeat([]byte(" "), 1<<20)
	for _, encoding := range []string{"", "gzip"} {
		s := newStorage(t)
		s.setFault(func(_ string, w http.ResponseWriter, _ *http.Request) bool {
			var out io.Writer = w
			blocks := 1 << 20
			if encoding == "gzip" {
				z := gzip.NewWriter(w)
				defer z.Close()
				out, blocks = z, schema.MaxBytes>>20+1
			}
			for range blocks {
				if _, err := out.Write(spaces); err != nil {
					return true
				}
			}
			return true
		})
		o := quick()
		o.Attempts = 1
		_, err := readAll(within(t), s.URL+"/index", o)
		if !errors.Is(err, livelog.ErrIndex) || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("encoding %q: %v, want that the index is too large", encoding, err)
		}
	}
}

// canned answers every request without a network: the index for "/index", else a chunk.
type canned struct{ index, chunk []byte }

func (c canned) RoundTrip(req *http.Request) (*http.Response, error) {
	body := c.chunk
	if req.URL.Path == "/index" {
		body = c.index
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
}

func FuzzReaderIndex(f *testing.F) {
	x := schema.LogIndex{Version: schema.Version, Size: 14, Complete: true, Tail: []byte("tail"),
		Chunks: []schema.Chunk{{Size: 10, URL: "http://storage.example/chunk", Encoding: "identity"}}}
	good := encode(f, x)
	f.Add(good, int64(0))
	f.Add(good, int64(3))
	f.Add(zip(f, good), int64(12))
	f.Add([]byte(nil), int64(1))
	f.Add([]byte(`{"version":"0.2.0","size":-1,"complete":false,"pollAfterMs":1,"chunks":null,"tail":null}`), int64(-5))
	f.Fuzz(func(t *testing.T, index []byte, offset int64) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		r := livelog.NewReader(ctx, "http://storage.example/index", livelog.ReaderOptions{
			Transport: canned{index, []byte("0123456789")}, Offset: offset,
			MinPoll: time.Microsecond, MaxPoll: time.Microsecond, Attempts: 2,
		})
		defer r.Close()
		got, err := io.ReadAll(io.LimitReader(r, 1<<20))
		var typed *livelog.ReadError
		if err != nil && !errors.As(err, &typed) {
			t.Errorf("%v, want a *ReadError", err)
		}
		if want := "0123456789tail"; bytes.Equal(index, good) && err == nil {
			if diff := cmp.Diff(want[min(max(offset, 0), 14):], string(got)); diff != "" {
				t.Error(diff)
			}
		}
	})
}
