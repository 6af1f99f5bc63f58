package livelog_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// Run one of these with, for instance:
//
//	go test -run '^$' -bench 'Handler' -benchtime 3x ./livelog
//
// Readers and writer share the process and its cores, over loopback.

// pattern is the content of a log whose every window of up to 256 KiB can be told from its neighbours.
type pattern []byte

const period = 65521 // a prime, so that no block of the program ends where the pattern does

func newPattern() pattern {
	p := make([]byte, 0, period+256<<10)
	random := rand.New(rand.NewPCG(1, 2))
	for len(p) < period {
		p = binary.LittleEndian.AppendUint64(p, random.Uint64())
	}
	p = p[:period]
	for len(p) < cap(p) {
		p = append(p, p[:min(period, cap(p)-len(p))]...)
	}
	return p
}

// at is what the log holds in the n bytes from off.
func (p pattern) at(off int64, n int) []byte { return p[off%period:][:n] }

// check reads r to its end and says how many bytes it had, all of them right.
func (p pattern) check(r io.Reader, off int64) (int64, error) {
	buf := make([]byte, 128<<10)
	for {
		n, err := r.Read(buf)
		if !bytes.Equal(buf[:n], p.at(off, n)) {
			return off, fmt.Errorf("wrong bytes somewhere in the %d from %d", n, off)
		}
		off += int64(n)
		if err == io.EOF {
			return off, nil
		}
		if err != nil {
			return off, err
		}
	}
}

// served is a spool behind a Handler that anybody may read.
type served struct {
	*livelog.Spool
	URL    string
	client *http.Client
}

func serve(b testing.TB) *served {
	return serveWith(b, func(ctx context.Context, s *livelog.Spool) http.Handler {
		return livelog.NewHandler(ctx, s, "log", nil, livelog.HandlerOptions{Public: true})
	})
}

func serveWith(b testing.TB, handler func(context.Context, *livelog.Spool) http.Handler) *served {
	spool := newSpool(b)
	ctx, cancel := context.WithCancel(b.Context())
	server := httptest.NewServer(handler(ctx, spool))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	b.Cleanup(func() { cancel(); server.Close() })
	return &served{spool, server.URL, client}
}

// body begins to read the log.
func (s *served) body(b testing.TB, query string) io.ReadCloser {
	resp, err := s.client.Get(s.URL + query)
	if err != nil {
		b.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s", query, resp.Status)
	}
	return resp.Body
}

// fill writes size bytes of p in blocks.
func fill(b testing.TB, w io.Writer, p pattern, size int64, block int) {
	for off := int64(0); off < size; off += int64(block) {
		if _, err := w.Write(p.at(off, block)); err != nil {
			b.Fatal(err)
		}
	}
}

// A log of 256 MiB in blocks of 64 KiB, and one of 32 MiB in lines of 128 bytes, written as fast as it goes with
// so many readers that follow: how fast it is written, and how fast all readers together get it.
func BenchmarkHandlerIngest(b *testing.B) {
	p := newPattern()
	for _, c := range []struct {
		name  string
		size  int64
		block int
	}{{"64KiB", 256 << 20, 64 << 10}, {"128B", 32 << 20, 128}} {
		for _, readers := range []int{0, 1, 10, 100} {
			b.Run(fmt.Sprintf("%s/readers=%d", c.name, readers), func(b *testing.B) {
				var writing, reading time.Duration
				for b.Loop() {
					s := serve(b)
					var all sync.WaitGroup
					for range readers {
						body := s.body(b, "?follow=1")
						all.Go(func() {
							defer body.Close()
							if n, err := p.check(body, 0); n != c.size || err != nil {
								b.Errorf("a reader got %d bytes, %v", n, err)
							}
						})
					}
					start := time.Now()
					fill(b, s, p, c.size, c.block)
					writing += time.Since(start)
					s.Close()
					all.Wait()
					reading += time.Since(start)
					s.Remove()
				}
				total := float64(c.size) * float64(b.N) / 1e6
				b.ReportMetric(total/writing.Seconds(), "MB/s-written")
				b.ReportMetric(total/writing.Seconds()/float64(c.block)*1e6, "writes/s")
				b.ReportMetric(total*float64(readers)/reading.Seconds(), "MB/s-read")
			})
		}
	}
}

// One line every 10 ms: the time from before its Write to when a reader has it. Use -benchtime 500x.
// Beside it, what this machine takes for as many goroutines that each wait for a channel and write to a connection, and
// for the least that a handler can do: wait, read, write, flush.
func BenchmarkHandlerLatency(b *testing.B) {
	follow := func(b *testing.B, s *served, readers int) {
		var bodies []io.ReadCloser
		for range readers {
			bodies = append(bodies, s.body(b, "?follow=1"))
		}
		measureLatency(b, s, bodies)
	}
	for _, readers := range []int{1, 100} {
		b.Run(fmt.Sprintf("bare/readers=%d", readers), func(b *testing.B) {
			w := newBroadcast(b, readers)
			measureLatency(b, w, w.readers)
		})
		b.Run(fmt.Sprintf("least/readers=%d", readers), func(b *testing.B) {
			follow(b, serveWith(b, func(_ context.Context, s *livelog.Spool) http.Handler { return least{s} }), readers)
		})
		b.Run(fmt.Sprintf("handler/readers=%d", readers), func(b *testing.B) {
			follow(b, serve(b), readers)
		})
	}
}

// least serves a spool, and cares for nothing else.
type least struct{ *livelog.Spool }

func (s least) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	buf := make([]byte, 64<<10)
	for off := int64(0); ; {
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		size, sealed, err := s.Wait(req.Context(), off)
		if err != nil || sealed && size == off {
			return
		}
		n, _ := s.Section(off, min(size-off, int64(len(buf)))).ReadAt(buf[:min(size-off, int64(len(buf)))], 0)
		off += int64(n)
		if _, err := w.Write(buf[:n]); err != nil {
			return
		}
	}
}

func measureLatency(b *testing.B, w io.WriteCloser, bodies []io.ReadCloser) {
	begin := time.Now()
	var all sync.WaitGroup
	took := make([][]time.Duration, len(bodies))
	for i, body := range bodies {
		took[i] = make([]time.Duration, 0, b.N)
		all.Go(func() {
			defer body.Close()
			for lines := bufio.NewReader(body); ; {
				line, err := lines.ReadSlice('\n')
				if err == io.EOF {
					return
				}
				now := time.Since(begin)
				stamp, _, _ := bytes.Cut(line, []byte(" "))
				sent, scanErr := strconv.ParseInt(string(stamp), 10, 64)
				if err != nil || scanErr != nil {
					b.Error(err, scanErr)
					return
				}
				took[i] = append(took[i], now-time.Duration(sent))
			}
		})
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	padding := strings.Repeat("x", 80)
	for b.Loop() {
		<-ticker.C
		fmt.Fprintf(w, "%d %s\n", time.Since(begin), padding)
	}
	w.Close()
	all.Wait()
	flat := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(flat) != len(bodies)*b.N {
		b.Fatalf("%d lines arrived, want %d", len(flat), len(bodies)*b.N)
	}
	for _, percent := range []int{50, 99} {
		b.ReportMetric(flat[len(flat)*percent/100].Seconds()*1e3, fmt.Sprintf("ms-p%d", percent))
	}
	b.ReportMetric(flat[len(flat)-1].Seconds()*1e3, "ms-max")
}

// broadcast sends each Write to every reader, and keeps nothing.
type broadcast struct {
	senders []chan []byte
	readers []io.ReadCloser
}

func newBroadcast(b *testing.B, readers int) *broadcast {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	w := &broadcast{}
	for range readers {
		reader, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		conn, err := listener.Accept()
		if err != nil {
			b.Fatal(err)
		}
		lines := make(chan []byte, 100)
		w.senders = append(w.senders, lines)
		w.readers = append(w.readers, reader)
		go func() {
			defer conn.Close()
			for line := range lines {
				if _, err := conn.Write(line); err != nil {
					b.Error(err)
				}
			}
		}()
	}
	return w
}

func (w *broadcast) Write(p []byte) (int, error) {
	line := bytes.Clone(p)
	for _, lines := range w.senders {
		lines <- line
	}
	return len(p), nil
}

func (w *broadcast) Close() error {
	for _, lines := range w.senders {
		close(lines)
	}
	return nil
}

// Ingest with one reader that reads nothing, by turns with ingest without any: 1 is no difference.
func BenchmarkHandlerStuckReader(b *testing.B) {
	p := newPattern()
	const size = 256 << 20
	var alone, stuck []time.Duration
	write := func(reader bool) time.Duration {
		s := serve(b)
		defer s.Remove()
		if reader {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "GET /?follow=1 HTTP/1.1\r\nHost: log\r\n\r\n")
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				b.Fatal(err)
			}
		}
		start := time.Now()
		fill(b, s, p, size, 64<<10)
		return time.Since(start)
	}
	for b.Loop() {
		alone = append(alone, write(false))
		stuck = append(stuck, write(true))
	}
	slices.Sort(alone)
	slices.Sort(stuck)
	median := func(d []time.Duration) float64 { return size / 1e6 / d[len(d)/2].Seconds() }
	b.ReportMetric(median(alone), "MB/s-alone")
	b.ReportMetric(median(stuck), "MB/s-stuck")
	b.ReportMetric(median(stuck)/median(alone), "ratio")
}

// A reader who comes when a log of 1 GiB is there already.
func BenchmarkHandlerLateReader(b *testing.B) {
	p := newPattern()
	const size = 1 << 30
	for _, query := range []string{"?now", "?follow=1", "?lines=1000&follow=1"} {
		b.Run(query, func(b *testing.B) {
			s := serve(b)
			fill(b, s, p, size, 64<<10)
			if !strings.Contains(query, "lines") {
				b.SetBytes(size)
			}
			for b.Loop() {
				body := s.body(b, query)
				if strings.Contains(query, "lines") {
					if _, err := io.CopyN(io.Discard, body, 1000); err != nil {
						b.Error(err)
					}
				} else if n, err := p.check(io.LimitReader(body, size), 0); n != size || err != nil {
					b.Errorf("%d bytes, %v", n, err)
				}
				body.Close()
			}
		})
	}
}

// What the same blocks cost without a spool: appended to a file, and through a pipe to cat > file. Compare with HandlerIngest.
func BenchmarkHandlerBaseline(b *testing.B) {
	p := newPattern()
	const size = 256 << 20
	for _, how := range []string{"spool", "file", "cat"} {
		b.Run(how, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if err := writeBaseline(b, how, p, size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func writeBaseline(b *testing.B, how string, p pattern, size int64) error {
	if how == "spool" {
		s := newSpool(b)
		fill(b, s, p, size, 64<<10)
		return s.Remove()
	}
	f, err := os.CreateTemp(b.TempDir(), "file")
	if err != nil {
		return err
	}
	defer f.Close()
	if how == "file" {
		fill(b, f, p, size, 64<<10)
		return f.Truncate(0)
	}
	cat := exec.CommandContext(b.Context(), "cat")
	cat.Stdout = f
	in, err := cat.StdinPipe()
	if err != nil {
		return err
	}
	if err := cat.Start(); err != nil {
		return err
	}
	fill(b, in, p, size, 64<<10)
	return errors.Join(in.Close(), cat.Wait(), f.Truncate(0))
}
