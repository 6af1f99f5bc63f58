package livelog

import "github.com/taskcluster/upload-agent/schema"

// span is a range of bytes of the log.
type span struct{ offset, size int64 }

func (s span) end() int64 { return s.offset + s.size }

// chunker decides which bytes of the log become a chunk and which stay in the tail.
// It is pure: it knows what is stored and how long the log is, and nothing else.
//
// Merging small neighbours into larger chunks belongs here and is not done yet: it would
// be one more answer of next, a span that is covered already and replaces the chunks
// within it in stored.
type chunker struct {
	tailSize int64          // the index takes up to this many bytes inline
	maxChunk int64          // no chunk is larger
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
// takes all of it.
func (c *chunker) next(size int64) (span, bool) {
	gathered := size - c.covered()
	if gathered <= c.tailSize {
		return span{}, false
	}
	return span{c.covered(), min(gathered, c.maxChunk)}, true
}

// stored notes that the chunk that next gave is stored at url.
func (c *chunker) stored(s span, url string) schema.Chunk {
	chunk := schema.Chunk{Offset: s.offset, Size: s.size, URL: url, Encoding: identity}
	c.chunks = append(c.chunks, chunk)
	return chunk
}

// tail is what the index of the first size bytes holds inline, once next gives no more.
func (c *chunker) tail(size int64) span { return span{c.covered(), size - c.covered()} }
