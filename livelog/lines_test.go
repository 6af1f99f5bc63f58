package livelog_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// tailLines is tail -n.
func tailLines(log string, n int) string {
	lines := strings.SplitAfter(log, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// randomLog has lines of all lengths, up to some 100 KB.
func randomLog(random *rand.Rand, size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%d%s\n", i, strings.Repeat("x", int(10*random.ExpFloat64()*random.ExpFloat64()*random.ExpFloat64()*random.ExpFloat64()*random.ExpFloat64())))
	}
	if random.IntN(2) == 0 {
		return b.String() + "no line break"
	}
	return b.String()
}

// A Reader and a Handler find the last lines of any log.
func TestLastLines(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	logs := []string{"", "\n", "\n\n\n", "x", "x\n", "x\ny", strings.Repeat("x", 100_000), strings.Repeat("\n", 50_000),
		strings.Repeat("x", 16<<10) + "\n", "\n" + strings.Repeat("x", 16<<10), strings.Repeat("0123456789abcde\n", 5_000)}
	for range 5 {
		logs = append(logs, randomLog(random, random.IntN(300_000)))
	}
	for _, log := range logs {
		s := newStorage(t)
		var chunks []string
		rest := log
		for len(rest) > 16<<10 {
			n := min(len(rest), 1+random.IntN(100_000))
			chunks = append(chunks, rest[:n])
			rest = rest[n:]
		}
		s.setIndex(t, true, rest, chunks...)
		if index, _ := s.get("index"); random.IntN(2) == 0 { // some are compressed
			x, err := schema.Decode[schema.LogIndex]("index.json", index.data)
			if err != nil {
				t.Fatal(err)
			}
			for i := range x.Chunks {
				if name := strings.TrimPrefix(x.Chunks[i].URL, s.URL+"/"); i%2 == 0 {
					x.Chunks[i].Encoding = "gzip"
					s.set(name, zip(t, []byte(chunks[i])), "gzip")
				}
			}
			s.set("index", encode(t, x), "")
		}
		spool := newSpool(t)
		io.WriteString(spool, log)
		url := serveSpool(t, spool, nil, public).URL
		total := strings.Count(log, "\n") + 1
		for _, n := range []int{1, 2, 10, random.IntN(total) + 1, total - 1, total, total + 1, 1 << 60} {
			if n <= 0 {
				continue
			}
			want := tailLines(log, n)
			o := quick()
			o.LastLines = n
			o.Offset = 5 // does not count
			if got, err := readAll(within(t), s.URL+"/index", o); got != want || err != nil {
				t.Errorf("reader, %d lines of %d bytes: %d bytes, %v; want %d", n, len(log), len(got), err, len(want))
			}
			if _, got := get(t, url+"?lines="+strconv.Itoa(n)); got != want {
				t.Errorf("handler, %d lines of %d bytes: %d bytes, want %d", n, len(log), len(got), len(want))
			}
		}
	}
}

// A few lines of a long log cost few requests and bytes; here each fails once.
func TestReaderFindsLinesCheaply(t *testing.T) {
	s := newStorage(t)
	line := strings.Repeat("x", 99) + "\n"
	s.setIndex(t, true, "tail\n", strings.Repeat(line, 100_000), strings.Repeat(line, 100_000))
	failed := map[string]int{}
	s.setFault(func(name string, w http.ResponseWriter, req *http.Request) bool {
		s.mu.Lock()
		failed[name]++
		n := failed[name]
		s.mu.Unlock()
		if n%2 == 1 {
			http.Error(w, "slow down", http.StatusServiceUnavailable)
		}
		return n%2 == 1
	})
	for lines, gets := range map[int]int{1: 6, 50: 6, 1000: 10} {
		before := len(s.requests())
		o := quick()
		o.LastLines = lines
		want := strings.Repeat(line, lines-1) + "tail\n"
		if got, err := readAll(within(t), s.URL+"/index", o); got != want || err != nil {
			t.Errorf("%d lines: %d bytes, %v", lines, len(got), err)
		}
		requests := s.requests()[before:]
		if len(requests) > gets {
			t.Errorf("%d lines took %d requests: %q", lines, len(requests), requests)
		}
		for _, request := range requests {
			if strings.HasSuffix(request, "-10000000") {
				t.Errorf("a whole chunk was asked for: %q", request)
			}
		}
	}
}

// The lines are those before the first look; what comes later comes whole.
func TestReaderFollowsFromTheLastLines(t *testing.T) {
	for lines, want := range map[int]string{-1: "four\nfive\n", 1: "three\nfour\nfive\n", 2: "two\nthree\nfour\nfive\n"} {
		s := newStorage(t)
		var looks int
		s.setFault(func(name string, w http.ResponseWriter, _ *http.Request) bool {
			if name != "index" {
				return false
			}
			switch looks++; looks {
			case 1:
				http.NotFound(w, nil)
				s.setIndex(t, false, "three\n", "one\n", "two\n")
				return true
			case 3:
				s.setIndex(t, true, "five\n", "one\ntwo\nthr", "ee\nfour\n") // merged, and cut elsewhere
			}
			return false
		})
		o := quick()
		o.LastLines = lines
		if got, err := readAll(within(t), s.URL+"/index", o); got != want || err != nil {
			t.Errorf("%d lines: %q, %v; want %q", lines, got, err, want)
		}
	}
}

// What stays wrong while lines are looked for is reported as everywhere else.
func TestReaderGivesUpOnLines(t *testing.T) {
	s := newStorage(t)
	s.setIndex(t, true, "tail", "0123456789")
	s.setFault(func(name string, w http.ResponseWriter, _ *http.Request) bool {
		if name == "index" {
			return false
		}
		http.NotFound(w, nil)
		return true
	})
	o := quick()
	o.LastLines, o.Attempts = 3, 2
	got, err := readAll(within(t), s.URL+"/index", o)
	var typed *livelog.ReadError
	if got != "" || !errors.Is(err, livelog.ErrMissing) || !errors.As(err, &typed) {
		t.Errorf("%q, %v; want ErrMissing", got, err)
	}
}
