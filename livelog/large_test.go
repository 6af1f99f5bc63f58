package livelog_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

var largeLog = flag.Int64("large-log", 16, "MiB of the log in the tests of large ones; in CI a small one, with the sizes of its parts scaled down")

// passage is what large logs are made of, again and again.
var passage = sync.OnceValue(func() []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < 3<<20 {
		fmt.Fprintf(&b, "2026-01-02T03:04:%02d.%03dZ INFO step %d: compiling package example.org/module%d/pkg%d took %d ms\n",
			random.IntN(60), random.IntN(1000), random.IntN(100), random.IntN(50), random.IntN(500), random.IntN(9999))
	}
	return b.Bytes()
})

// endless is a file that takes no room: it holds the passage, whatever is written.
type endless struct{}

func (endless) Name() string                           { return "/endless" }
func (endless) Close() error                           { return nil }
func (endless) Sync() error                            { return nil }
func (endless) Truncate(int64) error                   { return nil }
func (endless) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func (endless) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], passage()[(off+int64(n))%int64(len(passage())):])
	}
	return len(p), nil
}

// same compares with the passage what is written to it.
type same struct {
	size  int64
	wrong bool
}

func (s *same) Write(p []byte) (int, error) {
	for q := p; len(q) > 0; {
		want := passage()[s.size%int64(len(passage())):]
		n := min(len(q), len(want))
		s.wrong = s.wrong || !bytes.Equal(q[:n], want[:n])
		q, s.size = q[n:], s.size+int64(n)
	}
	return len(p), nil
}

// shelf is an object storage in a folder, with the latency and the bandwidth of a real one, in fake time.
type shelf struct {
	t     testing.TB
	dir   string
	start time.Time
	keep  bool // objects; else they are only counted

	mu     sync.Mutex
	index  []byte
	at     []time.Duration // of each index
	chunks int             // most in an index
	memory uint64          // most in use
	text   same
	texts  int64 // bytes of all texts
}

func (s *shelf) store(_ context.Context, o livelog.Object) (string, error) {
	at := time.Since(s.start)
	<-time.After(50*time.Millisecond + time.Duration(o.Body.Size())*time.Second/50_000_000)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case o.Name == livelog.IndexName("log"):
		data, err := io.ReadAll(o.Body)
		if err != nil {
			return "", err
		}
		x, err := decodeIndex(data, o.ContentEncoding)
		if err != nil {
			return "", err
		}
		s.index, s.at, s.chunks = data, append(s.at, at), max(s.chunks, len(x.Chunks))
		s.memory = max(s.memory, memoryInUse())
	case o.Name == "log":
		s.text = same{}
		n, err := io.Copy(&s.text, o.Body)
		s.texts += n
		return base + o.Name, err
	case s.keep:
		f, err := os.Create(s.path(o.Name))
		if err != nil {
			return "", err
		}
		if _, err := io.Copy(f, o.Body); err != nil {
			return "", err
		}
		return base + o.Name, f.Close()
	}
	return base + o.Name, nil
}

func (s *shelf) path(name string) string {
	return filepath.Join(s.dir, strings.ReplaceAll(name, "/", "_"))
}

// RoundTrip answers a reader.
func (s *shelf) RoundTrip(req *http.Request) (*http.Response, error) {
	name := strings.TrimPrefix(req.URL.String(), base)
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: req}
	if name == livelog.IndexName("log") {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.index == nil {
			resp.StatusCode = http.StatusNotFound
		}
		resp.Body = io.NopCloser(bytes.NewReader(s.index))
		return resp, nil
	}
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, err
	}
	resp.Body = f
	var first, last int64
	if n, _ := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &first, &last); n == 2 {
		resp.StatusCode = http.StatusPartialContent
		resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", first, last))
		_, err = f.Seek(first, io.SeekStart)
	}
	if strings.HasSuffix(name, ".gz") {
		resp.Header.Set("Content-Encoding", "gzip")
	}
	return resp, err
}

func memoryInUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}

// A large log, written in steps and all at once, followed all the time and read when it is complete.
// In full: go test ./livelog -run TestLargeLog -large-log 1024 -v
func TestLargeLog(t *testing.T) {
	size := *largeLog << 20
	scale := max(1, 1024 / *largeLog) // so that a smaller log has as many parts
	for name, step := range map[string]int64{"100 KB a second": 100_000 / scale, "full speed": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shelf{t: t, dir: t.TempDir(), start: time.Now(), keep: true}
				o := livelog.PublishOptions{TailSize: 16 << 10 / int(scale), MaxChunk: 16 << 20 / scale}
				passage()
				runtime.GC()
				before := memoryInUse()
				spool := livelog.NewSpool(endless{}, 0)
				var published livelog.Published
				var following, late same
				var flowing time.Duration
				var work sync.WaitGroup
				work.Go(func() {
					var err error
					if published, err = livelog.Publish(t.Context(), "log", spool, s.store, o); err != nil {
						t.Error(err)
					}
				})
				work.Go(func() { s.read(&following) })
				piece := make([]byte, max(step, 64<<10/scale))
				for spool.Size() < size {
					if _, err := spool.Write(piece[:min(int64(len(piece)), size-spool.Size())]); err != nil {
						t.Fatal(err)
					}
					if step > 0 {
						<-time.After(time.Second)
						flowing = time.Since(s.start)
					}
				}
				if step == 0 { // it is shipped while the log is open
					<-time.After(time.Hour)
					flowing = time.Since(s.start)
				}
				spool.Close()
				work.Wait()
				s.read(&late)

				for reader, got := range map[string]same{"follower": following, "late reader": late, "text": s.text} {
					if got.wrong || got.size != size {
						t.Errorf("%s: %d bytes of %d, wrong %v", reader, got.size, size, got.wrong)
					}
				}
				if s.chunks > 61 {
					t.Errorf("%d chunks in an index, want 61 at most", s.chunks)
				}
				if published.ChunkedText > 4*size || published.ChunkedText < size-16<<10 {
					t.Errorf("all chunks have %d bytes together, the log %d", published.ChunkedText, size)
				}
				for i, at := range s.at[1:] {
					if gap := at - s.at[i]; at < flowing && gap < time.Second {
						t.Errorf("an index %v after the one before, at %v", gap, at)
					}
				}
				grown := (int64(s.memory) - int64(before)) >> 20
				if grown >= 64 {
					t.Errorf("memory has grown by %d MiB", grown)
				}
				t.Logf("%d MiB in %v: at most %d chunks in the index; %d PUTs: %d chunks with %.2f times the log, %.2f times as stored; %d indexes, %d KB; texts %d MiB; memory grew by %d MiB",
					size>>20, flowing, s.chunks, published.Puts, published.Chunks, float64(published.ChunkedText)/float64(size),
					float64(published.ChunkBytes)/float64(size), published.Indexes, published.IndexBytes/1000, s.texts>>20, grown)
			})
		})
	}
}

// read reads the log to its end.
func (s *shelf) read(to *same) {
	r := livelog.NewReader(context.Background(), base+livelog.IndexName("log"), livelog.ReaderOptions{Transport: s})
	defer r.Close()
	if _, err := io.Copy(to, r); err != nil {
		s.t.Error(err)
	}
}

// What an hour of a log costs; run it with -v for the table. Logs that grow fast are cut short unless -large-log is 1024, and
// what they cost is extrapolated.
func TestCostOfAnHour(t *testing.T) {
	for _, c := range []struct {
		name string
		rate int64
	}{{"1 KB/s", 1000}, {"100 KB/s", 100_000}, {"10 MB/s", 10_000_000}} {
		synctest.Test(t, func(t *testing.T) {
			s := &shelf{t: t, start: time.Now()}
			spool := livelog.NewSpool(endless{}, 0)
			var published livelog.Published
			var err error
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				published, err = livelog.Publish(t.Context(), "log", spool, s.store, livelog.PublishOptions{})
			}()
			piece := make([]byte, c.rate/10)
			for time.Since(s.start) < time.Hour && spool.Size() < min(*largeLog<<20, 1<<30) {
				spool.Write(piece)
				<-time.After(100 * time.Millisecond)
			}
			hours := time.Since(s.start).Hours()
			spool.Close()
			if <-ended; err != nil {
				t.Fatal(err)
			}
			perHour := func(n int64) float64 { return float64(n) / hours }
			if most := int(hours*3600) + 3; published.Indexes > most || published.Chunks > most {
				t.Errorf("%s: %d indexes and %d chunks in %.0f s, want one a second of each at most", c.name, published.Indexes, published.Chunks, hours*3600)
			}
			t.Logf("%-8s measured %5.0f s; in an hour: %5.0f requests (%5.0f chunks, %5.0f indexes); chunks %8.1f MB (%.2f times the log, %.2f before compression), indexes %6.2f MB; texts %.2f times the log",
				c.name, hours*3600, perHour(int64(published.Puts)), perHour(int64(published.Chunks)), perHour(int64(published.Indexes)),
				perHour(published.ChunkBytes)/1e6, float64(published.ChunkBytes)/float64(spool.Size()), float64(published.ChunkedText)/float64(spool.Size()),
				perHour(published.IndexBytes)/1e6, float64(s.texts)/float64(spool.Size()))
		})
	}
}
