package livelog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/schema"
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
		{0, 350, "0-100 100-100 0-300 300-50", 0},
		{50, 50, "", 0},
		{50, 66, "", 16},
		{50, 67, "50-17", 0},
		{250, 267, "0-267", 0}, // 16 tails make a higher rank
		{256, 300, "256-44", 0},
		{100, 300, "100-100 0-300", 0},
	} {
		chunks := chunker{tailSize: tail, maxChunk: most}
		if c.covered > 0 {
			chunks.stored(schema.Chunk{Size: c.covered})
		}
		var got []string
		for {
			next, ok := chunks.next(c.size)
			if !ok {
				break
			}
			got = append(got, fmt.Sprintf("%d-%d", next.offset, next.size))
			chunks.stored(schema.Chunk{Offset: next.offset, Size: next.size})
		}
		if text := strings.Join(got, " "); text != c.want || chunks.tail(c.size).size != c.tail {
			t.Errorf("%d bytes, %d covered: chunks %q and tail %d, want %q and %d",
				c.size, c.covered, text, chunks.tail(c.size).size, c.want, c.tail)
		}
	}
}

func TestRhythm(t *testing.T) {
	r := rhythm{time.Second, 10 * time.Second}
	for age, want := range map[time.Duration]time.Duration{
		-time.Second:    time.Second,
		0:               time.Second,
		time.Hour:       time.Second,
		5 * time.Hour:   5 * time.Second,
		10 * time.Hour:  10 * time.Second,
		240 * time.Hour: 10 * time.Second,
	} {
		if got := r.interval(age, 0); got != want {
			t.Errorf("interval at age %v is %v, want %v", age, got, want)
		}
	}
	for took, want := range map[time.Duration]time.Duration{time.Millisecond: time.Second, 3 * time.Second: 3 * time.Second, time.Hour: 10 * time.Second} {
		if got := r.interval(0, took); got != want {
			t.Errorf("interval of a storage that takes %v is %v, want %v", took, got, want)
		}
	}
	for random, want := range map[float64]time.Duration{0: 10 * time.Second, 0.5: 10500 * time.Millisecond} {
		if got := jittered(10*time.Second, random); got != want {
			t.Errorf("jittered by %v is %v, want %v", random, got, want)
		}
	}
}

func TestNextLook(t *testing.T) {
	for idle, want := range map[int]time.Duration{0: 900, 1: 250, 2: 500, 3: 1000, 4: 2000, 5: 2000, 1 << 40: 2000} {
		if got := nextLook(time.Second, idle); got != want*time.Millisecond {
			t.Errorf("after %d looks without news: %v, want %v ms", idle, got, int(want))
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
