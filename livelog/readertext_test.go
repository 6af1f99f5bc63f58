package livelog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

func readText(ctx context.Context, url string, o livelog.ReaderOptions) (string, error) {
	r := livelog.NewTextReader(ctx, url, o)
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), err
}

// part are options that say where to begin, and what is read then.
type part struct {
	o    livelog.ReaderOptions
	want string
}

func partsOf(log string) []part {
	parts := []part{{want: log}, {livelog.ReaderOptions{LastLines: -1}, ""}}
	for _, offset := range []int{1, len(log) / 2, len(log) - 1, len(log), len(log) + 5} {
		parts = append(parts, part{livelog.ReaderOptions{Offset: int64(max(offset, 0))}, log[min(max(offset, 0), len(log)):]})
	}
	for _, lines := range []int{1, 2, 100, 1 << 40} {
		parts = append(parts, part{livelog.ReaderOptions{LastLines: lines}, tailLines(log, lines)})
	}
	return parts
}

// A stored text is read from anywhere, whatever its storage can do and whatever goes wrong.
func TestTextReaderReadsAStoredText(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	logs := map[string]string{"empty": "", "one line": "one\n", "no line break": "one", "breaks": "\n\n\n", "long": randomLog(random, 100_000)}
	for name, log := range logs {
		packed := zip(t, []byte(log))
		for what, serve := range map[string]func(w http.ResponseWriter, req *http.Request, text stored, n int){
			"with ranges":    func(w http.ResponseWriter, req *http.Request, text stored, _ int) { text.serve(w, req) },
			"without ranges": func(w http.ResponseWriter, _ *http.Request, text stored, _ int) { w.Write(text.data) },
			"compressed": func(w http.ResponseWriter, req *http.Request, text stored, _ int) {
				text.data, text.encoding = packed, "gzip"
				text.serve(w, req)
			},
			"compressed, without ranges": func(w http.ResponseWriter, _ *http.Request, text stored, _ int) {
				w.Header().Set("Content-Encoding", "gzip")
				w.Write(packed)
			},
			"torn and redirected": func(w http.ResponseWriter, req *http.Request, text stored, n int) {
				switch n % 4 {
				case 0:
					http.Redirect(w, req, "/log", http.StatusFound)
				case 1:
					http.Error(w, "slow down", http.StatusServiceUnavailable)
				case 2:
					text.serve(&torn{ResponseWriter: w, left: 20_000}, req)
					panic(http.ErrAbortHandler)
				default:
					text.serve(w, req)
				}
			},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				s := newStorage(t)
				s.set("log", []byte(log), "")
				var n atomic.Int64
				s.setFault(func(_ string, w http.ResponseWriter, req *http.Request) bool {
					text, _ := s.get("log")
					serve(w, req, text, int(n.Add(1)))
					return true
				})
				for _, p := range partsOf(log) {
					for _, once := range []bool{false, true} {
						p.o.MinPoll, p.o.MaxPoll, p.o.Once = time.Millisecond, 2*time.Millisecond, once
						if got, err := readText(within(t), s.URL+"/log", p.o); got != p.want || err != nil {
							t.Errorf("from %d, %d lines: %d bytes, %v; want %d", p.o.Offset, p.o.LastLines, len(got), err, len(p.want))
						}
					}
				}
			})
		}
	}
}

// The end of a large text costs little where the storage gives ranges.
func TestTextReaderAsksForLittle(t *testing.T) {
	s := newStorage(t)
	log := strings.Repeat(strings.Repeat("x", 99)+"\n", 100_000)
	s.set("log", []byte(log), "")
	var sent atomic.Int64
	s.setFault(func(_ string, w http.ResponseWriter, req *http.Request) bool {
		text, _ := s.get("log")
		text.serve(counted{w, &sent}, req)
		return true
	})
	for _, o := range []livelog.ReaderOptions{{LastLines: 10}, {Offset: int64(len(log) - 1000)}} {
		sent.Store(0)
		if got, err := readText(within(t), s.URL+"/log", o); got != log[len(log)-1000:] || err != nil || sent.Load() > 100_000 {
			t.Errorf("%d bytes, %v, for %d that were sent", len(got), err, sent.Load())
		}
	}
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// What cannot be read ends with an error that holds no signature.
func TestTextReaderGivesUp(t *testing.T) {
	const log = "0123456789"
	for _, c := range []struct {
		what   string
		answer func(s *storage, n int, w http.ResponseWriter, req *http.Request)
		want   error
		read   string
		tries  int
	}{
		{"not there", func(_ *storage, _ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, livelog.ErrMissing, "", 1},
		{"expired", func(_ *storage, _ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, livelog.ErrMissing, "", 1},
		{"nonsense", func(_ *storage, _ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, nil, "", 1},
		{"down", func(_ *storage, _ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, nil, "", 4},
		{"cut short for ever", func(s *storage, n int, w http.ResponseWriter, req *http.Request) {
			text, _ := s.get("log")
			text.serve(&torn{ResponseWriter: w, left: max(0, 12-4*n)}, req)
			panic(http.ErrAbortHandler)
		}, nil, "0123", 5},
		{"replaced while it is read", func(s *storage, n int, w http.ResponseWriter, req *http.Request) {
			text, _ := s.get("log")
			if n > 2 {
				text.data, text.etag = []byte("abcdefghij"), `"another"`
			}
			if text.serve(&torn{ResponseWriter: w, left: 4}, req); n == 2 {
				panic(http.ErrAbortHandler)
			}
		}, livelog.ErrChanged, "0123", 3},
		{"a link that loses bytes", func(_ *storage, n int, w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Log-Offset", req.URL.Query().Get("offset")+strings.Repeat("0", 1/n))
			switch n {
			case 1:
			case 2:
				w.Header().Set("Log-Offset", "0")
				io.WriteString(w, "0123")
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			default:
				w.WriteHeader(416)
			}
		}, livelog.ErrChanged, "0123", 3},
		{"a link that jumps", func(_ *storage, n int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Log-Offset", "0")
			if n > 1 {
				io.WriteString(w, "01"[:max(0, 4-n)])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
		}, nil, "01", 6},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := newStorage(t)
			s.set("log", []byte(log), "")
			var n atomic.Int64
			s.setFault(func(_ string, w http.ResponseWriter, req *http.Request) bool {
				c.answer(s, int(n.Add(1)), w, req)
				return true
			})
			o := quick()
			o.Attempts = 4
			got, err := readText(within(t), s.URL+"/log?X-Amz-Signature=hush", o)
			var typed *livelog.ReadError
			if got != c.read || !errors.As(err, &typed) || c.want != nil && !errors.Is(err, c.want) || typed.Offset != int64(len(got)) {
				t.Errorf("%q, %v; want %q, %v", got, err, c.read, c.want)
			}
			if err == nil || strings.Contains(err.Error(), "hush") {
				t.Errorf("%v shows the signature", err)
			}
			if n := int(n.Load()); n != c.tries {
				t.Errorf("%d requests, want %d", n, c.tries)
			}
		})
	}
}

// flaky passes requests on to a Handler, and breaks some of them: before the answer, with a 503, and in the middle.
type flaky struct {
	next http.Handler
	mu   sync.Mutex
	rand *rand.Rand
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f.mu.Lock()
	kind, left := f.rand.IntN(6), f.rand.IntN(20_000)
	f.mu.Unlock()
	switch kind {
	case 0:
		panic(http.ErrAbortHandler)
	case 1:
		http.Error(w, "slow down", http.StatusServiceUnavailable)
	case 2, 3:
		f.next.ServeHTTP(&tearing{ResponseWriter: w, left: left}, req)
	default:
		f.next.ServeHTTP(w, req)
	}
}

// tearing breaks the connection after some bytes of a body.
type tearing struct {
	http.ResponseWriter
	left int
}

func (w *tearing) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *tearing) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(len(p), w.left)])
	if w.left -= n; w.left == 0 {
		http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// Through a link, whoever follows sees the bytes of the log, each once, however often the connection is torn, and whenever they came.
func TestTextReaderFollowsALink(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	log := randomLog(random, 600_000)
	writing := rand.New(rand.NewPCG(seed, 2))
	half := strings.LastIndexByte(log[:len(log)/2], '\n') + 1

	spool := newSpool(t)
	links := livelog.NewLinks(nil)
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(&flaky{next: livelog.NewHandler(ctx, spool, "log", links, livelog.HandlerOptions{}), rand: random})
	defer server.Close()
	defer cancel()
	base, err := url.Parse(server.URL + "/log?lines=3&follow=0") // what a link says is one thing, what is asked for another
	if err != nil {
		t.Fatal(err)
	}
	link := links.Sign(base, "log", time.Now().Add(time.Hour)).Reveal()

	plain := strings.Replace(link, "lines=3&", "", 1)
	// read begins to read, so that what is written from now on comes later, and gives a function that reads on to the end.
	read := func(when, link string, p part) func() {
		p.o.MinPoll, p.o.MaxPoll, p.o.Attempts = time.Millisecond, 5*time.Millisecond, 100
		r := livelog.NewTextReader(within(t), link, p.o)
		var first []byte
		if when == "during" {
			first = make([]byte, 1)
			if n, err := io.ReadFull(r, first); n != 1 {
				t.Error(err)
			}
		}
		return func() {
			defer r.Close()
			data, err := io.ReadAll(r)
			if got := string(first) + string(data); got != p.want || err != nil {
				t.Errorf("%s, from %d, %d lines, once %v: %d bytes, %v; want %d: %s", when, p.o.Offset, p.o.LastLines, p.o.Once, len(got), err, len(p.want), firstDifference(got, p.want))
			}
		}
	}
	var readers sync.WaitGroup
	readers.Go(read("before", plain, part{want: log}))
	readers.Go(read("before", plain, part{livelog.ReaderOptions{Offset: 1000}, log[1000:]}))
	write := func(text string) {
		for len(text) > 0 {
			n := min(len(text), 1+writing.IntN(5000))
			if _, err := io.WriteString(spool, text[:n]); err != nil {
				t.Fatal(err)
			}
			text = text[n:]
		}
	}
	write(log[:half])
	readers.Go(read("during", plain, part{want: log}))
	readers.Go(read("during", link, part{want: tailLines(log[:half], 3) + log[half:]}))
	readers.Go(read("during", link, part{livelog.ReaderOptions{LastLines: 5}, tailLines(log[:half], 5) + log[half:]}))
	readers.Go(read("during", link, part{livelog.ReaderOptions{Offset: int64(half) - 7}, log[half-7:]}))
	for _, p := range partsOf(log[:half]) {
		p.o.Once = true
		read("during, once", plain, p)()
	}
	write(log[half:])
	spool.Close()
	readers.Wait()
	for _, p := range partsOf(log) {
		for _, p.o.Once = range []bool{false, true} {
			read("after", plain, p)()
		}
	}
}

// Behind a proxy that does not say where a body ends, a connection that breaks looks like the end of the log: only an answer without a byte is that.
func TestTextReaderDoesNotBelieveEveryEnd(t *testing.T) {
	const log = "0123456789abcdefghijklmnopqrstuvwxyz"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		offset, _ := strconv.Atoi(req.URL.Query().Get("offset"))
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nLog-Offset: %d\r\nLog-Complete: %v\r\n\r\n%s", offset, offset > 20, log[offset:min(offset+5, len(log))])
	}))
	defer server.Close()
	if got, err := readText(within(t), server.URL, quick()); got != log || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Who does not follow gets what there was at first, also when the connection breaks and the log grows meanwhile.
func TestTextReaderOnceOfALogThatGrows(t *testing.T) {
	spool := newSpool(t)
	io.WriteString(spool, "one\ntwo\n")
	ctx, cancel := context.WithCancel(t.Context())
	handler := livelog.NewHandler(ctx, spool, "log", nil, livelog.HandlerOptions{Public: true})
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if n.Add(1) == 2 { // the first one finds out what it is
			handler.ServeHTTP(&tearing{ResponseWriter: w, left: 5}, req)
		}
		handler.ServeHTTP(w, req)
	}))
	defer server.Close()
	defer cancel()
	o := quick()
	o.Once = true
	r := livelog.NewTextReader(within(t), server.URL, o)
	defer r.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatal(err)
	}
	io.WriteString(spool, "three\n")
	rest, err := io.ReadAll(r)
	if got := string(first) + string(rest); got != "one\ntwo\n" || err != nil || n.Load() != 3 {
		t.Errorf("%q, %v, after %d requests", got, err, n.Load())
	}
}

// A link whose worker is gone, or whose log says nothing for longer than a connection lives.
func TestTextReaderOutlivesConnections(t *testing.T) {
	spool := newSpool(t)
	ctx, cancel := context.WithCancel(t.Context())
	handler := livelog.NewHandler(ctx, spool, "log", nil, livelog.HandlerOptions{Public: true})
	var asked atomic.Int64
	again := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if asked.Add(1) == 40 {
			close(again)
		}
		handler.ServeHTTP(w, req)
	}))
	defer server.Close()
	defer cancel()
	fmt.Fprintln(spool, "one")
	go func() {
		<-again
		fmt.Fprintln(spool, "two")
		spool.Close()
	}()
	o := quick()
	o.StallTimeout, o.Attempts = 10*time.Millisecond, 100
	if got, err := readText(within(t), server.URL, o); got != "one\ntwo\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	o.Attempts = 3
	server.Close()
	if got, err := readText(within(t), server.URL, o); got != "" || err == nil {
		t.Errorf("of a worker that is gone: %q, %v", got, err)
	}
}
