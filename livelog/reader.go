package livelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Reader reads a log while it is written: it follows the index, and ends with io.EOF when
// the log is complete and everything was read. It gives each byte once and in order.
//
// It waits for an index that is not there yet (404 or 403), and it tries again until its context
// ends when the network or the storage fails (5xx, 429). What makes no sense
// is tried a bounded number of times: an index that is not valid or goes backwards, a
// chunk that is missing, too short, or breaks off without a byte. Then Read returns a
// *[ReadError], which is final.
//
// Read is for one goroutine at a time; Close may be called at any moment.
type Reader struct {
	indexURL string

	mu sync.Mutex // held by Read; guards what follows
	reading
	index  *schema.LogIndex
	etag   string    // of that index
	pollAt time.Time // when to look at the index again
	sent   time.Time // when the latest look began
	idle   int       // looks in a row that have shown nothing new
	still  stillness
	fresh  freshness
	found  bool   // offset is where reading begins, also with LastLines
	rest   []byte // what was read from offset on and not given
	end    int64  // of the chunk that body reads
}

// NewReader makes a reader of the log whose index is at indexURL. It sends nothing before
// the first Read. Reading ends when ctx does, with its cause. Close it when done.
func NewReader(ctx context.Context, indexURL string, o ReaderOptions) *Reader {
	return &Reader{indexURL: indexURL, reading: newReading(ctx, indexURL, o)}
}

// Close ends a Read that is waiting (os.ErrClosed) and lets go of connections. The error is always nil.
func (r *Reader) Close() error {
	r.cancel(os.ErrClosed)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
	r.close()
	return nil
}

// Read gives the next bytes of the log as soon as there are any.
func (r *Reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if !r.found && r.o.LastLines != 0 {
		r.findLines()
	}
	r.found = true
	if len(r.rest) > 0 && r.err == nil {
		n := copy(p, r.rest)
		r.rest = r.rest[n:]
		return n, nil
	}
	return r.next(p, r.step)
}

// step does the next thing on the way to more bytes. An error is final.
func (r *Reader) step(p []byte) (int, error) {
	switch {
	case r.body != nil:
		return r.readChunk(p)
	case r.index == nil || (r.offset >= r.index.Size && !r.index.Complete && !r.o.Once):
		return 0, r.look()
	case r.offset >= r.index.Size:
		return 0, io.EOF
	}
	if in := r.index.Size - r.offset; in <= int64(len(r.index.Tail)) {
		return copy(p, r.index.Tail[int64(len(r.index.Tail))-in:]), nil
	}
	return 0, r.openChunk()
}

// look waits until it is time and gets the index, if it has changed.
func (r *Reader) look() error {
	r.source = r.indexURL
	if !r.sleep(time.Until(r.pollAt)) {
		return nil
	}
	r.sent = time.Now()
	// Asking for gzip by hand keeps the transport from decoding without a bound.
	header := http.Header{"Accept-Encoding": {gzipped}, "Cache-Control": {noCache}}
	if r.etag != "" {
		header.Set("If-None-Match", r.etag)
	}
	resp, err := r.getter.get(r.ctx, r.fresh.url(r.indexURL, r.sent), header)
	if err != nil {
		return r.retry(err, false)
	}
	defer discard(resp.Body)
	if resp.StatusCode == http.StatusNotModified && r.index != nil {
		if again, err := r.stale(resp.Header); again {
			return err
		}
		r.accept(*r.index, r.etag)
		return r.abandoned()
	}
	if resp.StatusCode != http.StatusOK {
		status := statusError(resp.StatusCode)
		if r.fresh.bypass && !r.fresh.unasked && !status.passing() { // a storage that wants no query
			r.fresh.unasked = true
			return nil
		}
		switch missing := status.missing() && r.index == nil; {
		case missing && r.o.Once:
			return r.failed(fmt.Errorf("%w: %w", ErrNotYet, status))
		case missing:
			if err := r.abandoned(); err != nil {
				return err
			}
			return r.retry(status, false)
		}
		return r.refused(status)
	}
	index, err := readIndex(resp.Body)
	if err != nil {
		return r.retry(err, errors.Is(err, ErrIndex))
	}
	if !index.Complete {
		if again, err := r.stale(resp.Header); again {
			return err
		}
	}
	if r.index != nil && index.Size < r.index.Size {
		return r.retry(fmt.Errorf("%w: %d bytes after %d", ErrBackwards, index.Size, r.index.Size), true)
	}
	r.accept(index, resp.Header.Get("ETag"))
	return r.abandoned()
}

// accept takes the index as the newest one.
func (r *Reader) accept(index schema.LogIndex, etag string) {
	news := r.index == nil || index.Size > r.index.Size || index.Complete
	if r.idle++; news {
		r.idle, r.still = 0, stillness{}
	}
	poll := nextLook(time.Duration(min(index.PollAfterMs, 1<<30))*time.Millisecond, r.idle)
	if poll = min(max(poll, r.o.MinPoll), r.o.MaxPoll); !news {
		poll = jittered(poll, rand.Float64())
	}
	r.index, r.etag = &index, etag
	r.pollAt = r.sent.Add(poll)
	if least := time.Now().Add(r.o.MinPoll); r.pollAt.Before(least) {
		r.pollAt = least
	}
	r.progress()
}

// stillness is how long the index has not changed.
type stillness struct {
	since time.Time // of the first look that has shown nothing new, or of the latest question after it
	over  bool      // the answer was that nobody writes any more
}

// abandoned gives the final error if the log has been left unfinished. It is called after each look.
func (r *Reader) abandoned() error {
	now := time.Now()
	switch {
	case r.o.Abandoned == nil || r.index != nil && r.idle == 0:
		return nil
	case r.still.since.IsZero():
		r.still.since = now
		return nil
	case now.Sub(r.still.since) < r.o.Patience:
		return nil
	}
	err := r.o.Abandoned(r.ctx)
	if r.ctx.Err() != nil {
		return nil // next sees it
	}
	if err != nil && r.still.over {
		if r.fresh.lastSeen > staleAfter {
			err = fmt.Errorf("%w; but %w", err, ErrStale)
		}
		return r.failed(fmt.Errorf("%w: %w", ErrUnfinished, err))
	}
	r.still = stillness{since: time.Now(), over: err != nil}
	return nil
}

// openChunk starts to read the chunk that holds the next byte, at that byte.
func (r *Reader) openChunk() error {
	chunks := r.index.Chunks
	i := sort.Search(len(chunks), func(i int) bool { return chunks[i].Offset > r.offset }) - 1
	chunk := chunks[i]
	skip := r.offset - chunk.Offset
	r.source, r.end = chunk.URL, chunk.Offset+chunk.Size

	header := http.Header{"Accept-Encoding": {chunk.Encoding}}
	ranged := skip > 0 && chunk.Encoding == identity
	if ranged {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", skip, chunk.Size-1))
	}
	resp, err := r.getter.get(r.ctx, chunk.URL, header)
	if err != nil {
		return r.retry(err, false)
	}
	body, err := chunkBody(resp, chunk.Encoding, skip, ranged)
	if err != nil {
		discard(resp.Body)
		var status statusError
		if errors.As(err, &status) {
			return r.refused(status)
		}
		return r.retry(err, true)
	}
	r.body = body
	return nil
}

// readChunk reads from the open chunk. When it breaks off, the next step opens it again
// where it stopped.
func (r *Reader) readChunk(p []byte) (int, error) {
	n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.offset)])
	if err != nil || r.offset+int64(n) == r.end {
		r.drop()
	}
	if err != nil && n == 0 {
		return 0, r.retry(shortIfEOF(err), true)
	}
	return n, nil
}

// refused deals with a status that is an error.
func (r *Reader) refused(status statusError) error {
	if status.missing() {
		return r.retry(fmt.Errorf("%w: %w", ErrMissing, status), true)
	}
	return r.retry(status, !status.passing())
}
