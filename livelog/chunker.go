package livelog

import (
	"slices"

	"github.com/taskcluster/upload-agent/schema"
)

// span is a range of bytes of the log.
type span struct{ offset, size int64 }

func (s span) end() int64 { return s.offset + s.size }

// Ranks of chunks: one of rank 0 is smaller than ranked tails, one of rank 1 than ranked times as much, and so on;
// there is no higher one than topRank.
const (
	ranked  = 16
	topRank = 3
)

// chunker decides which bytes of the log become a chunk and which stay in the tail.
// It is pure: it knows what is stored and how long the log is, and nothing else.
//
// It merges while it stores: a new chunk takes the chunks before it along, from the first one on that comes to a higher rank
// by that. So chunks never rise in rank from one to the next, all that follow one of a rank do not make up the
// next rank together, and there are at most 15 of each rank but the top one. As a byte is stored
// again only at a higher rank than before, it is stored at most four times.
type chunker struct {
	tailSize int64          // the index takes up to this many bytes inline
	maxChunk int64          // no chunk takes more new bytes
	chunks   []schema.Chunk // stored, in order, without a gap, from offset 0
}

// covered is where the chunks end and the tail begins.
func (c *chunker) covered() int64 {
	if len(c.chunks) == 0 {
		return 0
	}
	last := c.chunks[len(c.chunks)-1]
	return last.Offset + last.Size
}

// next is the chunk to store before an index of the first size bytes can be written.
// There is none as long as the tail can hold what has gathered; once it cannot, the chunk
// takes all of it, and those of the chunks before it that it replaces.
func (c *chunker) next(size int64) (span, bool) {
	gathered := size - c.covered()
	if gathered <= c.tailSize {
		return span{}, false
	}
	end := c.covered() + min(gathered, c.maxChunk)
	start := c.covered()
	for _, chunk := range c.chunks {
		if c.rank(end-chunk.Offset) > c.rank(chunk.Size) {
			start = chunk.Offset
			break
		}
	}
	return span{start, end - start}, true
}

// rank tells large chunks from small ones.
func (c *chunker) rank(size int64) int {
	rank := 0
	for limit := c.tailSize * ranked; size >= limit && rank < topRank; limit *= ranked {
		rank++
	}
	return rank
}

// stored notes that the chunk that next gave is stored. Those within it are not needed any more.
func (c *chunker) stored(chunk schema.Chunk) {
	within := func(old schema.Chunk) bool { return old.Offset >= chunk.Offset }
	c.chunks = append(slices.DeleteFunc(c.chunks, within), chunk)
}

// tail is what the index of the first size bytes holds inline, once next gives no more.
func (c *chunker) tail(size int64) span { return span{c.covered(), size - c.covered()} }
