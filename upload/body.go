package upload

import (
	"bytes"
	"hash"
	"io"
	"net/http"
	"sync"

	"github.com/minio/crc64nvme"
)

// body is a content as one request reads it: from its start, hashed on the way.
//
// The transport may read and close it from a goroutine that outlives the request; once it is closed,
// the content is not touched any more.
type body struct {
	content *content
	moved   func(n int64) // called whenever bytes were taken, with how many there are now

	mu     sync.Mutex // guards the rest
	offset int64
	crc    hash.Hash64
	err    error // why the content could not be read, not io.EOF
	closed bool
}

func newBody(c *content, moved func(int64)) *body {
	return &body{content: c, moved: moved, crc: crc64nvme.New()}
}

// Read hashes in place: measured against sendfile with a second reader for the hash, this is as fast and simpler,
// and the digest is of the very bytes that were sent.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch left := b.content.size - b.offset; {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.err != nil:
		return 0, b.err
	case left == 0:
		return 0, io.EOF
	case int64(len(p)) > left:
		p = p[:left]
	}
	var n int
	n, b.err = b.content.fill(p, b.offset)
	b.crc.Write(p[:n])
	b.offset += int64(n)
	if n > 0 {
		b.moved(b.offset)
	}
	return n, b.err
}

// Close waits for a Read that is under way.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// state says how many bytes were taken, their digest, and why no more could be read.
func (b *body) state() (int64, Digest, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.offset, digestOf(b.crc), b.err
}

// bodies are the bodies of one attempt: redirects and replays on a new connection each ask for one of their own.
//
// A small content is read at once, and its bodies are readers that net/http knows: only then does it send head and body in one
// write. With the next read for the digest gone too, a file of 4 KiB takes half the system calls.
type bodies struct {
	content *content
	moved   func(int64)
	small   []byte // nil if the content is not small
	block   *smallBlock
	digest  Digest // of small

	mu     sync.Mutex // guards the rest
	all    []*body
	unread int // bodies of small that the transport may still read
}

// smallBody fits into the transport's buffer together with the head of the request.
const smallBody = writeBuffer - 4<<10

type smallBlock [smallBody]byte

var smallBlocks = sync.Pool{New: func() any { return new(smallBlock) }}

func newBodies(c *content, moved func(int64)) (*bodies, error) {
	s := &bodies{content: c, moved: moved}
	if c.size == 0 || c.size > smallBody {
		return s, nil
	}
	s.block = smallBlocks.Get().(*smallBlock)
	s.small = s.block[:c.size]
	if _, err := c.fill(s.small, 0); err != nil {
		smallBlocks.Put(s.block)
		return nil, err
	}
	s.digest = Sum(s.small)
	moved(c.size)
	return s, nil
}

// next is Request.GetBody. Of an empty content it is http.NoBody, or it would be sent chunked.
func (s *bodies) next() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.small != nil {
		s.unread++
		return io.NopCloser(bytes.NewReader(s.small)), nil
	}
	b := newBody(s.content, s.moved)
	s.all = append(s.all, b)
	if s.content.size == 0 {
		return http.NoBody, nil
	}
	return b, nil
}

// wrote is told when the transport is done with a body.
func (s *bodies) wrote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread--
}

// close ends all of them: after it, no request of the attempt reads the content.
func (s *bodies) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.block != nil && s.unread == 0 { // else the transport reads it from a goroutine that outlives the request, or might
		smallBlocks.Put(s.block)
		s.block = nil
	}
	for _, b := range s.all {
		b.Close()
	}
}

// state is that of the body that was sent last. A small one was sent as a whole, or the storage has not answered.
func (s *bodies) state() (int64, Digest, error) {
	if s.small != nil {
		return s.content.size, s.digest, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[len(s.all)-1].state()
}
