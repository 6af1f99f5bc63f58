package livelog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// Who does not follow gets what there is at the first look, from anywhere, and no more.
func TestReaderOnce(t *testing.T) {
	log := randomLog(rand.New(rand.NewPCG(1, 2)), 100_000)
	for _, complete := range []bool{false, true} {
		s := newStorage(t)
		s.setIndex(t, complete, log[90_000:], log[:50_000], log[50_000:90_000])
		for _, p := range partsOf(log) {
			var looks atomic.Int64
			s.setFault(func(name string, w http.ResponseWriter, _ *http.Request) bool {
				if name != "index" {
					return false
				}
				n := looks.Add(1)
				if n == 1 {
					http.Error(w, "slow down", http.StatusServiceUnavailable)
				}
				return n == 1
			})
			o := quick()
			o.Offset, o.LastLines, o.Once = p.o.Offset, p.o.LastLines, true
			if got, err := readAll(within(t), s.URL+"/index", o); got != p.want || err != nil {
				t.Errorf("complete %v, from %d, %d lines: %d bytes, %v; want %d", complete, o.Offset, o.LastLines, len(got), err, len(p.want))
			}
			if looks.Load() != 2 {
				t.Errorf("complete %v, from %d, %d lines: the index was asked for %d times", complete, o.Offset, o.LastLines, looks.Load()-1)
			}
		}
	}
}

// Who does not follow does not wait either: not for a log without an index, and not for ever for a storage that is down.
func TestReaderOnceWaitsForNothing(t *testing.T) {
	s := newStorage(t)
	o := quick()
	o.Once = true
	if got, err := readAll(within(t), s.URL+"/index", o); got != "" || !errors.Is(err, livelog.ErrNotYet) {
		t.Errorf("%q, %v; want ErrNotYet", got, err)
	}
	s.setFault(func(_ string, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	if got, err := readAll(within(t), s.URL+"/index", o); got != "" || err == nil || len(s.requests()) != 13 {
		t.Errorf("%q, %v after %d requests; want 12, after that before", got, err, len(s.requests()))
	}
}

// A log that nobody writes to any more ends, but not before everything that was stored was read.
func TestReaderKnowsAnAbandonedLog(t *testing.T) {
	type at struct {
		after time.Duration
		do    func(s *storage)
	}
	gone := errors.New("the worker is gone")
	index := func(complete bool, tail string) func(*storage) {
		return func(s *storage) { s.setIndex(t, complete, tail); s.setFault(nil) }
	}
	broken := func(s *storage) {
		s.setFault(func(_ string, w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true })
	}
	for _, c := range []struct {
		name   string
		events []at
		dead   time.Duration // from then on nobody writes
		want   string
		ends   time.Duration // ErrUnfinished about then; 0: io.EOF
	}{
		{"no index", nil, 0, "", time.Minute},
		{"an index that stays", []at{{0, index(false, "one\n")}}, 0, "one\n", time.Minute},
		{"alive for an hour", []at{{0, index(false, "one\n")}, {time.Hour, index(true, "one\ntwo\n")}}, 2 * time.Hour, "one\ntwo\n", 0},
		{"dead after an hour", []at{{0, index(false, "one\n")}}, time.Hour, "one\n", time.Hour + 45*time.Second},
		{"something after the first question", []at{{0, index(false, "one\n")}, {40 * time.Second, index(false, "one\ntwo\n")}}, 0, "one\ntwo\n", 100 * time.Second},
		{"complete after the first question", []at{{0, index(false, "one\n")}, {50 * time.Second, index(true, "one\ntwo\n")}}, 0, "one\ntwo\n", 0},
		{"first flush after the first question", []at{{40 * time.Second, index(true, "one\n")}}, 0, "one\n", 0},
		{"a storage that is down says nothing", []at{{0, index(false, "one\n")}, {40 * time.Second, broken}, {20 * time.Minute, index(true, "one\ntwo\n")}}, 0, "one\ntwo\n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := &storage{URL: "http://storage.example", objects: map[string]stored{}}
				written := make(chan struct{})
				go func() {
					defer close(written)
					for _, e := range c.events {
						<-time.After(e.after - time.Since(start))
						e.do(s)
					}
				}()
				synctest.Wait()
				got, err := readAll(t.Context(), s.URL+"/index", livelog.ReaderOptions{
					Transport: direct{s}, MinPoll: 2 * time.Second,
					Abandoned: func(context.Context) error {
						if time.Since(start) >= c.dead {
							return gone
						}
						return nil
					},
				})
				took := time.Since(start)
				<-written
				if got != c.want {
					t.Errorf("read %q, want %q", got, c.want)
				}
				if c.ends == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if !errors.Is(err, livelog.ErrUnfinished) || !errors.Is(err, gone) || took < c.ends || took > c.ends+30*time.Second {
					t.Errorf("%v after %v, want ErrUnfinished after %v", err, took, c.ends)
				}
			})
		})
	}
}

// Chunks are merged and compressed while one of them is read, and its connection breaks.
func TestReaderWhileChunksAreMerged(t *testing.T) {
	log := randomLog(rand.New(rand.NewPCG(3, 4)), 300_000)
	packed := zip(t, []byte(log))
	for _, offset := range []int{0, 1, 99_999, 100_000, 100_001, 250_000} {
		s := newStorage(t)
		s.setIndex(t, false, "", log[:100_000], log[100_000:150_000])
		var breaks atomic.Int64
		s.setFault(func(name string, w http.ResponseWriter, req *http.Request) bool {
			n := breaks.Add(1)
			if name == "index" && offset < 150_000 || n > 20 {
				return false
			}
			s.set("merged", packed, "gzip")
			s.set("index", encode(t, schema.LogIndex{Version: schema.Version, Size: int64(len(log)), Complete: true, Tail: []byte{},
				Chunks: []schema.Chunk{{Size: int64(len(log)), URL: s.URL + "/merged", Encoding: "gzip"}}}), "")
			o, _ := s.get(name)
			if name == "index" {
				return false
			}
			o.serve(&torn{ResponseWriter: w, left: 30_000 + 20_000*int(n)}, req) // of the compressed one, it comes a bit further each time
			panic(http.ErrAbortHandler)
		})
		o := quick()
		o.Offset = int64(offset)
		if got, err := readAll(within(t), s.URL+"/index", o); got != log[offset:] || err != nil {
			t.Errorf("from %d: %d bytes, %v; want %d: %s", offset, len(got), err, len(log)-offset, firstDifference(got, log[offset:]))
		}
		if breaks.Load() < 2 {
			t.Errorf("from %d: nothing has happened", offset)
		}
	}
}

// A copy of the index that is older, complete or not, takes a reader nowhere; it may come back for a while between newer ones.
func TestReaderIsNotRewound(t *testing.T) {
	s := newStorage(t)
	var looks int
	var want strings.Builder
	for i := range 40 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	log := want.String()
	s.setFault(func(name string, w http.ResponseWriter, req *http.Request) bool {
		if name != "index" {
			return false
		}
		looks++
		size := min(len(log), 10*looks)
		if looks%3 == 0 { // from a cache that is behind
			size = min(len(log), 10*(looks-2))
		}
		s.setIndex(t, size == len(log) && looks%3 != 0, log[size/2:size], log[:size/2])
		return false
	})
	if got, err := readAll(within(t), s.URL+"/index", quick()); got != log || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
