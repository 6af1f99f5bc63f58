package livelog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestChunkerNext(t *testing.T) {
	const tail, most = 16, 100
	for _, c := range []struct {
		covered, size int64
		want          string // the chunks that are stored, one after the other
		tail          int64
	}{
		{0, 0, "", 0},
		{0, 1, "", 1},
		{0, 16, "", 16},
		{0, 17, "0-17", 0},
		{0, 100, "0-100", 0},
		{0, 116, "0-100", 16},
		{0, 117, "0-100 100-17", 0},
		{0, 350, "0-100 100-100 200-100 300-50", 0},
		{50, 50, "", 0},
		{50, 66, "", 16},
		{50, 67, "50-17", 0},
	} {
		chunks := chunker{tailSize: tail, maxChunk: most}
		if c.covered > 0 {
			chunks.stored(span{0, c.covered}, "http://example/old")
		}
		var got []string
		for {
			next, ok := chunks.next(c.size)
			if !ok {
				break
			}
			got = append(got, fmt.Sprintf("%d-%d", next.offset, next.size))
			chunks.stored(next, "http://example/new")
		}
		if text := strings.Join(got, " "); text != c.want || chunks.tail(c.size).size != c.tail {
			t.Errorf("%d bytes, %d covered: chunks %q and tail %d, want %q and %d",
				c.size, c.covered, text, chunks.tail(c.size).size, c.want, c.tail)
		}
	}
}

// Whatever is written, whenever it is flushed and whichever chunk fails: chunks and tail
// of every index cover the log exactly once, in order.
func TestChunkerCoversTheLogOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := chunker{
			tailSize: rapid.Int64Range(1, 64).Draw(t, "tailSize"),
			maxChunk: rapid.Int64Range(1, 200).Draw(t, "maxChunk"),
		}
		var size int64
		for range rapid.IntRange(1, 30).Draw(t, "flushes") {
			size += rapid.Int64Range(0, 500).Draw(t, "written")
			whole := true
			for {
				chunk, ok := c.next(size)
				if !ok {
					break
				}
				if rapid.IntRange(0, 3).Draw(t, "store") == 0 {
					whole = false // it failed: the next flush goes on here
					break
				}
				if chunk.size > c.maxChunk || chunk.end() > size {
					t.Fatalf("chunk %+v of a log of %d bytes", chunk, size)
				}
				c.stored(chunk, "http://storage.example/"+chunkName("log", chunk))
			}
			if !whole {
				continue
			}
			tail := c.tail(size)
			if tail.size < 0 || tail.size > c.tailSize {
				t.Fatalf("the tail has %d bytes, want at most %d", tail.size, c.tailSize)
			}
			index := newIndex(c.chunks, tail, make([]byte, tail.size), false, time.Second)
			var end int64
			for _, chunk := range index.Chunks {
				if chunk.Offset != end {
					t.Fatalf("chunk at %d, want %d", chunk.Offset, end)
				}
				end += chunk.Size
			}
			if end+int64(len(index.Tail)) != size || index.Size != size {
				t.Fatalf("index of %d bytes holds %d, want %d", index.Size, end+int64(len(index.Tail)), size)
			}
		}
	})
}

func TestRhythm(t *testing.T) {
	r := rhythm{time.Second, 10 * time.Second}
	for age, want := range map[time.Duration]time.Duration{
		-time.Second:     time.Second,
		0:                time.Second,
		time.Minute:      time.Second,
		5 * time.Minute:  5 * time.Second,
		10 * time.Minute: 10 * time.Second,
		24 * time.Hour:   10 * time.Second,
	} {
		if got := r.interval(age); got != want {
			t.Errorf("interval at age %v is %v, want %v", age, got, want)
		}
	}
	for random, want := range map[float64]time.Duration{0: 10 * time.Second, 0.5: 10500 * time.Millisecond} {
		if got := jittered(10*time.Second, random); got != want {
			t.Errorf("jittered by %v is %v, want %v", random, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for tries, want := range map[int]time.Duration{1: 100, 2: 200, 5: 1600, 8: 10000, 1 << 30: 10000} {
		want *= time.Millisecond
		if got := backoff(tries, 100*time.Millisecond, 10*time.Second); got != want {
			t.Errorf("after %d tries: %v, want %v", tries, got, want)
		}
	}
	if got := backoff(3, time.Minute, time.Second); got != time.Minute {
		t.Errorf("least above most: %v, want the least", got)
	}
}
