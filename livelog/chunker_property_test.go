package livelog

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/taskcluster/upload-agent/schema"
)

// Whatever is written, whenever it is flushed, whichever chunk fails, and wherever a process ends and the next one goes on,
// with all chunks or without the latest: chunks and tail of every index cover the log exactly once, in order, and
// the bounds hold.
func coversTheLogOnce(t *rapid.T) {
	c := chunker{tailSize: rapid.Int64Range(1, 64).Draw(t, "tailSize")}
	c.maxChunk = rapid.SampledFrom([]int64{c.tailSize, 2 * c.tailSize, 100 * c.tailSize, 1000 * c.tailSize}).Draw(t, "maxChunk")
	most := rapid.SampledFrom([]int64{2, 20, 500, 20_000}).Draw(t, "most")
	life := newLife(c)
	var size int64
	history := [][]schema.Chunk{nil}
	for range rapid.IntRange(1, 300).Draw(t, "flushes") {
		size += rapid.Int64Range(0, min(most*c.tailSize, 20*c.maxChunk)).Draw(t, "written")
		switch rapid.IntRange(0, 20).Draw(t, "what") {
		case 0: // the next process: it knows the chunks up to one of the latest
			at := max(0, len(history)-rapid.IntRange(1, 3).Draw(t, "back"))
			history = history[:at+1]
			life.c.chunks = slices.Clone(history[at])
			life.restarted(len(history))
		case 1:
			fails := rapid.IntRange(1, 3).Draw(t, "fails")
			history = append(history, life.flush(t, size, fails)...)
			continue
		}
		history = append(history, life.flush(t, size, -1)...)
		if tail := life.c.tail(size); tail.size < 0 || tail.size > c.tailSize || tail.end() != size {
			t.Fatalf("the tail is %+v of %d bytes, want at most %d", tail, size, c.tailSize)
		}
	}
}

func TestChunkerCoversTheLogOnce(t *testing.T) { rapid.Check(t, coversTheLogOnce) }

func FuzzChunker(f *testing.F) { f.Fuzz(rapid.MakeFuzz(coversTheLogOnce)) }

// life is a chunker and what it has cost.
type life struct {
	c       chunker
	written []int64 // bytes of chunks stored, after each of them
	peak    int     // most chunks in an index
}

func newLife(c chunker) *life { return &life{c: c, written: []int64{0}} }

// fataler is a *testing.T or a *rapid.T.
type fataler interface{ Fatalf(string, ...any) }

// flush stores chunks until one fails, the one of that number; it gives the chunks after each.
func (l *life) flush(t fataler, size int64, fails int) (history [][]schema.Chunk) {
	for {
		next, ok := l.c.next(size)
		fails--
		if !ok || fails == 0 {
			return history
		}
		fresh := next.end() - l.c.covered()
		if next.end() > size || fresh < 1 || fresh > l.c.maxChunk || next.offset > l.c.covered() {
			t.Fatalf("chunk %+v of a log of %d bytes, %d of them in chunks", next, size, l.c.covered())
		}
		if most := l.top() + l.c.maxChunk; next.size > most {
			t.Fatalf("chunk of %d bytes, want at most %d", next.size, most)
		}
		l.c.stored(schema.Chunk{Offset: next.offset, Size: next.size})
		l.written = append(l.written, l.written[len(l.written)-1]+next.size)
		history = append(history, slices.Clone(l.c.chunks))
		l.checkChunks(t)
	}
}

// top is from how many bytes on a chunk is not merged any more.
func (l *life) top() int64 {
	limit := l.c.tailSize
	for range topRank {
		limit *= ranked
	}
	return limit
}

func (l *life) checkChunks(t fataler) {
	var end int64
	var ranks [topRank + 1]int
	for _, chunk := range l.c.chunks {
		if chunk.Offset != end || chunk.Size < 1 {
			t.Fatalf("chunk of %d bytes at %d, want it at %d", chunk.Size, chunk.Offset, end)
		}
		end += chunk.Size
		ranks[l.c.rank(chunk.Size)]++
	}
	for rank, n := range ranks {
		if rank < topRank && n >= ranked {
			t.Fatalf("%d chunks of rank %d", n, rank)
		}
	}
	if most := int(end/l.top()) + topRank*(ranked-1); len(l.c.chunks) > most {
		t.Fatalf("%d chunks of a log of %d bytes, want at most %d", len(l.c.chunks), end, most)
	}
	if cost := l.written[len(l.written)-1]; cost > (topRank+1)*end {
		t.Fatalf("all chunks have %d bytes together, the log %d", cost, end)
	}
	l.peak = max(l.peak, len(l.c.chunks))
}

// restarted forgets the cost of chunks that nobody knows any more.
func (l *life) restarted(known int) { l.written = l.written[:known] }

// pace is how a log grows in a second.
type pace struct {
	name string
	next func(second int, r *rand.Rand) int64
}

var paces = []pace{
	{"slow, 1 KB/s", func(int, *rand.Rand) int64 { return 1000 }},
	{"steady, 100 KB/s", func(int, *rand.Rand) int64 { return 100_000 }},
	{"fast, 10 MB/s", func(int, *rand.Rand) int64 { return 10_000_000 }},
	{"worst, a byte more than a tail", func(int, *rand.Rand) int64 { return maxTail + 1 }},
	{"bursty, 1 KB/s and 2 MB each minute", func(second int, _ *rand.Rand) int64 {
		if second%60 == 0 {
			return 2_000_000
		}
		return 1000
	}},
	{"trapped, small and large in turns", func(second int, _ *rand.Rand) int64 { return []int64{maxTail + 1, 16 << 20}[second%2] }},
	{"random, from 1 byte to 32 MB", func(_ int, r *rand.Rand) int64 { return 1 << r.IntN(26) }},
}

// policies are others than ours. They store a chunk, then, in a PUT of its own, one of as many of the latest as the policy says, and so on.
var policies = []struct {
	name  string
	merge func(sizes []int64) int
}{
	{"no merging", func([]int64) int { return 0 }},
	{"sixteen of a rank, apart", func(sizes []int64) int {
		c, n := chunker{tailSize: maxTail}, len(sizes)
		if n < ranked || c.rank(sizes[n-1]) >= topRank {
			return 0
		}
		for _, size := range sizes[n-ranked:] {
			if c.rank(size) != c.rank(sizes[n-1]) {
				return 0
			}
		}
		return ranked
	}},
	{"two unless the first is twice as large, apart", func(sizes []int64) int {
		n := len(sizes)
		if n < 2 || sizes[n-2] > 2*sizes[n-1] || sizes[n-2] >= 64<<20 {
			return 0
		}
		return 2
	}},
}

// other is a log under another policy.
type other struct {
	sizes []int64 // of its chunks
	peak  int     // most chunks
	puts  int
	bytes int64
}

func (o *other) store(size int64, merge func([]int64) int) {
	o.sizes = append(o.sizes, size)
	o.puts, o.bytes = o.puts+1, o.bytes+size
	o.peak = max(o.peak, len(o.sizes))
	if n := merge(o.sizes); n > 0 {
		var sum int64
		for _, size := range o.sizes[len(o.sizes)-n:] {
			sum += size
		}
		o.sizes = o.sizes[:len(o.sizes)-n]
		o.store(sum, merge)
	}
}

// What policies cost, from the first byte to 1 GiB or to the end of a week. Run it with -v for the table that the package's doc speaks of.
func TestPolicies(t *testing.T) {
	const most = 16 << 20
	for _, p := range paces {
		ours, others := newLife(chunker{tailSize: maxTail, maxChunk: most}), make([]other, len(policies))
		random := rand.New(rand.NewPCG(1, 1))
		var size, covered int64
		for second := 0; second < 7*24*3600 && size < 1<<30; second++ {
			size = min(size+p.next(second, random), 1<<30)
			ours.flush(t, size, -1)
			for ; size-covered > maxTail; covered += min(size-covered, most) {
				for i := range others {
					others[i].store(min(size-covered, most), policies[i].merge)
				}
			}
		}
		t.Logf("%s, %d MiB:", p.name, size>>20)
		line := func(name string, peak, puts int, bytes int64) {
			t.Logf("  %-46s %6d chunks in the index, %6d PUTs, %5.2f times the log", name, peak, puts, float64(bytes)/float64(size))
		}
		line("ours", ours.peak, len(ours.written)-1, ours.written[len(ours.written)-1])
		for i, o := range others {
			line(policies[i].name, o.peak, o.puts, o.bytes)
		}
		if ours.peak > 60 {
			t.Errorf("%s: %d chunks in the index", p.name, ours.peak)
		}
	}
}
