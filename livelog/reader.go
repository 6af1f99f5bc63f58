package livelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// ReaderOptions adjust a [Reader]. The zero value works.
type ReaderOptions struct {
	Transport    http.RoundTripper // default: one of its own, with the proxies of the environment
	Offset       int64             // the first byte of the log to read; one that is not written yet is waited for, io.EOF if the log ends before it
	LastLines    int               // if not 0, Offset does not count: begin so many lines before the end that the log has at the first look; -1: at that end
	MinPoll      time.Duration     // least time between two looks at the index; default 100 ms
	MaxPoll      time.Duration     // most time between two looks; default 30 s. Between them the index says how often it is replaced
	Attempts     int               // how often an answer that makes no sense is tried without progress; default 12, about a minute
	StallTimeout time.Duration     // a request on which nothing moves for this long is sent again; default 30 s
	Logger       *slog.Logger      // told of every retry, at debug level; default: discards
}

// withDefaults fills in what is not set.
func (o ReaderOptions) withDefaults() ReaderOptions {
	o.Offset = max(o.Offset, 0)
	if o.MinPoll <= 0 {
		o.MinPoll = 100 * time.Millisecond
	}
	if o.MaxPoll <= 0 {
		o.MaxPoll = 30 * time.Second
	}
	o.MaxPoll = max(o.MaxPoll, o.MinPoll)
	if o.Attempts <= 0 {
		o.Attempts = 12
	}
	if o.StallTimeout <= 0 {
		o.StallTimeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

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
	ctx      context.Context // as with http.Request: one Reader is one operation
	cancel   context.CancelCauseFunc
	o        ReaderOptions
	indexURL string
	getter   *getter
	own      *http.Transport // nil if the transport was given

	mu     sync.Mutex // held by Read; guards what follows
	offset int64      // the next byte to give
	index  *schema.LogIndex
	etag   string    // of that index
	pollAt time.Time // when to look at the index again
	sent   time.Time // when the latest look began
	idle   int       // looks in a row that have shown nothing new
	found  bool      // offset is where reading begins, also with LastLines
	rest   []byte    // what was read from offset on and not given
	body   io.ReadCloser
	source string // what is being read, an index or a chunk
	end    int64  // of the chunk that body reads
	tries  int    // failures in a row
	wrong  int    // those of them that made no sense
	last   error  // the newest of them
	err    error  // final
}

// NewReader makes a reader of the log whose index is at indexURL. It sends nothing before
// the first Read. Reading ends when ctx does, with its cause. Close it when done.
func NewReader(ctx context.Context, indexURL string, o ReaderOptions) *Reader {
	o = o.withDefaults()
	r := &Reader{o: o, indexURL: indexURL, source: indexURL, offset: o.Offset}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	transport := o.Transport
	if transport == nil {
		r.own = newTransport()
		transport = r.own
	}
	r.getter = &getter{transport: transport, stall: o.StallTimeout}
	return r
}

func newTransport() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}

// Close ends a Read that is waiting (os.ErrClosed) and lets go of connections. The error is always nil.
func (r *Reader) Close() error {
	r.cancel(os.ErrClosed)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
	if r.own != nil {
		r.own.CloseIdleConnections()
	}
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
	return r.next(p)
}

// next reads from offset on, and moves it.
func (r *Reader) next(p []byte) (int, error) {
	for r.err == nil {
		if r.ctx.Err() != nil {
			r.drop()
			r.err = r.ended()
			break
		}
		n, err := r.step(p)
		r.offset += int64(n)
		if n > 0 {
			r.tries, r.wrong = 0, 0
			return n, nil
		}
		r.err = err
	}
	return 0, r.err
}

// step does the next thing on the way to more bytes. An error is final.
func (r *Reader) step(p []byte) (int, error) {
	switch {
	case r.body != nil:
		return r.readChunk(p)
	case r.index == nil || (r.offset >= r.index.Size && !r.index.Complete):
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
	header := http.Header{"Accept-Encoding": {gzipped}}
	if r.etag != "" {
		header.Set("If-None-Match", r.etag)
	}
	resp, err := r.getter.get(r.ctx, r.indexURL, header)
	if err != nil {
		return r.retry(err, false)
	}
	defer discard(resp.Body)
	if resp.StatusCode == http.StatusNotModified && r.index != nil {
		r.accept(*r.index, r.etag)
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		status := statusError(resp.StatusCode)
		if status.missing() && r.index == nil {
			return r.retry(status, false)
		}
		return r.refused(status)
	}
	index, err := readIndex(resp.Body)
	if err != nil {
		return r.retry(err, errors.Is(err, ErrIndex))
	}
	if r.index != nil && index.Size < r.index.Size {
		return r.retry(fmt.Errorf("%w: %d bytes after %d", ErrBackwards, index.Size, r.index.Size), true)
	}
	r.accept(index, resp.Header.Get("ETag"))
	return nil
}

// accept takes the index as the newest one.
func (r *Reader) accept(index schema.LogIndex, etag string) {
	news := r.index == nil || index.Size > r.index.Size || index.Complete
	if r.idle++; news {
		r.idle = 0
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
	r.tries, r.wrong = 0, 0
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

// retry notes a failure and waits before the next attempt. The error is final: after too
// many answers that were wrong, rather than late.
func (r *Reader) retry(err error, wrong bool) error {
	if r.ctx.Err() != nil {
		return nil // Read sees it
	}
	r.tries++
	r.last = err
	if wrong {
		r.wrong++
	}
	if r.wrong >= r.o.Attempts || errors.Is(err, ErrRedirected) || errors.Is(err, ErrURL) {
		return r.failed(err)
	}
	pause := jittered(backoff(r.tries, r.o.MinPoll, min(r.o.MaxPoll, 10*time.Second)), rand.Float64())
	r.o.Logger.Debug("trying again to read live log", "url", schema.Redact(r.source),
		"offset", r.offset, "attempt", r.tries, "after", pause, "err", err)
	r.sleep(pause)
	return nil
}

// backoff doubles from least to most with each of the tries, the first of which is 1.
func backoff(tries int, least, most time.Duration) time.Duration {
	pause := least
	for ; tries > 1 && pause < most; tries-- {
		pause *= 2
	}
	return max(min(pause, most), least)
}

// sleep reports whether d has passed before the context ended.
func (r *Reader) sleep(d time.Duration) bool {
	if d <= 0 {
		return r.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// ended is the error after the context has ended: its cause, and what was tried until then.
func (r *Reader) ended() error {
	cause := context.Cause(r.ctx)
	if r.tries > 0 {
		return r.failed(fmt.Errorf("%w; before that: %w", cause, r.last))
	}
	return r.failed(cause)
}

func (r *Reader) failed(err error) error {
	return &ReadError{URL: schema.Redact(r.source), Offset: r.offset, Attempts: max(r.tries, 1), Err: err}
}

// drop closes the open chunk, if any.
func (r *Reader) drop() {
	if r.body != nil {
		r.body.Close() // only read from: no error to lose
		r.body = nil
	}
}
