package livelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// PublishOptions adjust [Publish]. The zero value works.
type PublishOptions struct {
	Interval    time.Duration // least time between two flushes of a young log; default 1 s
	MaxInterval time.Duration // the same of an old one; default 10 s. Between them it is a second for each hour of the log's age
	TailSize    int           // most bytes the index holds inline; default and at most 16 KiB
	MaxChunk    int64         // most new bytes in one chunk, besides those of chunks that it replaces; default 16 MiB, at least TailSize
	TextLimit   int64         // most bytes of the text while the log is live; default 16 MiB
	Logger      *slog.Logger  // told of every failed flush; default: discards

	// Final, if not nil, is closed once it is certain that nothing follows: an index says complete only after that.
	// Everything else of a log that has ended is stored before. Default: it is certain when the spool is sealed.
	Final <-chan struct{}

	// Chunks that an earlier Publish of this log stored, in order and from its start: this one goes on behind them.
	// They are ignored, as a whole, if they are not that or do not lie within the spool.
	Chunks []schema.Chunk
	// OnChunk, if not nil, is called after each chunk is stored and before an index names it, one call at a time.
	// Publish waits for it. The chunk begins where those so far end, or where one of them begins: then it
	// replaces that one and all after it. It always ends behind them.
	OnChunk func(schema.Chunk)
	// OnFlush, if not nil, is called after each index is stored, with the bytes of the log that readers can see, one call at a time.
	OnFlush func(size int64)
}

// withDefaults fills in what is not set.
func (o PublishOptions) withDefaults() PublishOptions {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.MaxInterval <= 0 {
		o.MaxInterval = 10 * time.Second
	}
	o.MaxInterval = max(o.MaxInterval, o.Interval)
	if o.TailSize <= 0 || o.TailSize > maxTail {
		o.TailSize = maxTail
	}
	if o.MaxChunk <= 0 {
		o.MaxChunk = 16 << 20
	}
	o.MaxChunk = max(o.MaxChunk, int64(o.TailSize)) // else a chunk could end before the tail that readers have seen
	if o.TextLimit <= 0 {
		o.TextLimit = 16 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Published says what [Publish] has stored, also when it returns an error.
type Published struct {
	Size     int64  // bytes of the log that readers can see
	TextURL  string // where the text is read; "" before it was stored
	IndexURL string // where the index is read; "" before it was stored
	Puts     int    // objects stored: chunks, indexes and texts
	Bytes    int64  // bytes of all those objects, as stored

	Chunks      int   // chunks stored, also those that others have replaced
	ChunkBytes  int64 // bytes of all those chunks, as stored
	ChunkedText int64 // bytes of the log that they hold, before compression; at most four times the log
	Indexes     int   // how often the index was stored
	IndexBytes  int64 // bytes of all those indexes, as stored
}

// PublishError says which object of a log could not be stored.
type PublishError struct {
	Object string // its name: "live/terminal.log/index.json"
	Err    error  // that of [Store], or of the spool
}

// Error names the object and the cause.
func (e *PublishError) Error() string { return fmt.Sprintf("store %s: %v", e.Object, e.Err) }

// Unwrap gives the cause.
func (e *PublishError) Unwrap() error { return e.Err }

// Publish makes the log in s readable under name while it is written, and returns nil when
// the spool is sealed and everything is stored. It blocks: run it in a goroutine that you wait for.
//
// A flush stores the index, with the newest bytes inline; before it, a chunk, when what has
// gathered is more than the tail can hold. Such a chunk may take smaller ones before it along, see the package's doc.
// It is gzipped when that saves a quarter at least. The first bytes are flushed at once, then at most
// once an interval, and never before the storage has answered. No output, no flush.
// The text is stored after the first flush and whenever the log has doubled, up to TextLimit.
//
// Each flush begins with [Spool.Sync], and only what that has synced is published. If it fails, the log has ended:
// what was synced before is stored as a complete log, and the error is logged and is that of [Spool.Lost], not of Publish.
// Only where that leaves less than an earlier process may have published, because the first Sync over its file fails,
// nothing is stored and Publish returns the *[SpoolError].
//
// While the log is live, an error of store is logged and the next flush stores what is missing.
//
// At the end the order is: the last bytes, for those who follow; the whole text; the index
// that says complete. So whoever sees a complete index can read the whole text, and a run
// that is killed in between leaves a log that looks unfinished, with all its bytes. The last
// two are stored for an empty log too. An error of store is then returned, as a
// *[PublishError], but a text is tried even after the last bytes failed.
//
// Publish may be called again for the same spool, or by the next process for the same file:
// readers go on where they are. It stores every chunk again but those given as Chunks,
// and its first index covers all that the earlier ones did.
//
// When ctx ends, Publish returns its cause, wrapped, as soon as store does.
func Publish(ctx context.Context, name string, s *Spool, store Store, o PublishOptions) (Published, error) {
	o = o.withDefaults()
	p := &publisher{
		name: name, spool: s, store: store, o: o,
		rhythm:  rhythm{o.Interval, o.MaxInterval},
		chunker: chunker{tailSize: int64(o.TailSize), maxChunk: o.MaxChunk},
		packer:  packer{start: time.Now()},
	}
	p.resume(o.Chunks)
	err := p.run(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return p.published, fmt.Errorf("publish log %q: %w", name, err)
	}
	return p.published, nil
}

// publisher is one call of Publish. published.Size is the size in the last stored index.
type publisher struct {
	name    string
	spool   *Spool
	store   Store
	o       PublishOptions
	rhythm  rhythm
	chunker chunker
	packer  packer

	indexed   time.Time     // when the latest index was sent
	took      time.Duration // by the storage, for that index
	behind    bool          // there is more to store than the latest flush had time for
	text      int64         // bytes of the text that is stored
	published Published
}

// resume goes on behind chunks that are stored already.
func (p *publisher) resume(chunks []schema.Chunk) {
	if err := checkChunks(chunks, p.spool.Size()); err != nil {
		p.o.Logger.Warn("stored chunks do not fit the log, storing them again", "log", p.name, "err", err)
		return
	}
	p.chunker.chunks = slices.Clone(chunks)
}

// run flushes until the log has ended, then finishes.
func (p *publisher) run(ctx context.Context) error {
	start := time.Now()
	for due := start; ; {
		ended, err := p.wait(ctx, due)
		if err != nil {
			return err
		}
		if ended {
			return p.finish(ctx)
		}
		began := time.Now()
		interval := p.rhythm.interval(began.Sub(start), p.took)
		if err := p.flush(ctx, interval); err != nil {
			if ctx.Err() != nil {
				return err
			}
			p.o.Logger.Warn("live log is behind, trying again", "log", p.name,
				"published", p.published.Size, "size", p.spool.Size(), "err", err)
		}
		if due = began.Add(jittered(interval, rand.Float64())); !p.behind && due.Before(p.nextIndex()) {
			due = p.nextIndex()
		}
	}
}

// wait blocks until there is something to flush and due has come, or the log has ended.
func (p *publisher) wait(ctx context.Context, due time.Time) (ended bool, err error) {
	if size := p.spool.Size(); size == p.published.Size && !p.textDue(size) {
		if _, _, err := p.spool.Wait(ctx, size); err != nil {
			return false, err
		}
	}
	if err := p.pause(ctx, due); err != nil {
		return false, err
	}
	select {
	case <-p.spool.ended:
		return true, nil
	default:
		return false, nil
	}
}

// pause blocks until due has come, or the log has ended.
func (p *publisher) pause(ctx context.Context, due time.Time) error {
	wait := time.Until(due)
	if wait <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.spool.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// nextIndex is when another index may be sent while output flows. Chunks may have taken so long that the one before was sent just now.
func (p *publisher) nextIndex() time.Time { return p.indexed.Add(p.o.Interval) }

// flush brings the index, then the text, up to date with the spool. When chunks take longer
// than an interval, it publishes what is stored by then and leaves the rest to the next flush, which begins at once.
// The first index takes all there is: an earlier Publish may have got that far.
func (p *publisher) flush(ctx context.Context, interval time.Duration) error {
	size, _ := p.spool.Sync() // an error has ended the log: finish comes next and logs it
	if size > p.published.Size {
		var until time.Time
		if p.published.Size > 0 {
			until = time.Now().Add(interval)
		}
		covered, err := p.storeChunks(ctx, size, until)
		if err != nil {
			return err
		}
		if err := p.storeIndex(ctx, covered, false, interval); err != nil {
			return err
		}
	}
	if p.textDue(size) {
		return p.storeText(ctx, min(size, p.o.TextLimit))
	}
	return nil
}

// textDue reports whether the log has doubled since its text was stored.
func (p *publisher) textDue(size int64) bool {
	return size > 0 && min(size, p.o.TextLimit) >= 2*p.text
}

// finish stores what is missing of a sealed log.
func (p *publisher) finish(ctx context.Context) error {
	size, err := p.spool.Sync()
	if err != nil && size < max(p.spool.found, p.chunker.covered()) {
		return err // readers may have seen more
	}
	if err != nil {
		p.o.Logger.Error("log is cut short", "log", p.name, "size", size, "err", err)
	}
	_, failed := p.storeChunks(ctx, size, time.Time{})
	if failed == nil && size > p.published.Size {
		failed = p.storeIndex(ctx, size, false, p.o.Interval)
	}
	if err := errors.Join(failed, p.storeText(ctx, size)); err != nil {
		return err
	}
	if p.o.Final != nil {
		select {
		case <-p.o.Final:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return p.storeIndex(ctx, size, true, 0)
}

// storeChunks stores chunks until the tail can hold the rest of the first size bytes, or
// until the time is up (the zero time never is). It gives the size that an index can now have.
func (p *publisher) storeChunks(ctx context.Context, size int64, until time.Time) (int64, error) {
	for first := true; ; first = false {
		chunk, ok := p.chunker.next(size)
		if !ok {
			p.behind = false
			return size, nil
		}
		if !first && !until.IsZero() && !time.Now().Before(until) {
			p.behind = true
			return p.chunker.covered(), nil
		}
		if err := p.storeChunk(ctx, chunk); err != nil {
			return 0, err
		}
	}
}

// storeChunk stores one chunk.
func (p *publisher) storeChunk(ctx context.Context, s span) error {
	object := Object{ContentType: textType, Body: p.spool.Section(s.offset, s.size)}
	encoding := identity
	if packed, ok := p.packer.pack(p.spool.Section(s.offset, s.size)); ok {
		encoding, object.ContentEncoding, object.Body = gzipped, gzipped, packed
	}
	object.Name = chunkName(p.name, s, encoding)
	url, err := p.put(ctx, object)
	if err != nil {
		return err
	}
	chunk := schema.Chunk{Offset: s.offset, Size: s.size, URL: url, Encoding: encoding}
	p.chunker.stored(chunk)
	p.published.Chunks++
	p.published.ChunkBytes += object.Body.Size()
	p.published.ChunkedText += s.size
	if p.o.OnChunk != nil {
		p.o.OnChunk(chunk)
	}
	return nil
}

// storeIndex stores the index of the first size bytes; storeChunks has made room for them.
func (p *publisher) storeIndex(ctx context.Context, size int64, complete bool, poll time.Duration) error {
	object := Object{Name: IndexName(p.name), ContentType: indexType}
	span := p.chunker.tail(size)
	tail := make([]byte, span.size)
	if _, err := io.ReadFull(p.spool.Section(span.offset, span.size), tail); err != nil {
		return &PublishError{object.Name, fmt.Errorf("read spool: %w", err)}
	}
	if err := p.pause(ctx, p.nextIndex()); err != nil {
		return err
	}
	data, encoding, err := encodeIndex(newIndex(p.chunker.chunks, span, tail, complete, poll))
	if err != nil {
		return &PublishError{object.Name, err}
	}
	object.ContentEncoding = encoding
	object.Body = section(data)
	p.indexed = time.Now()
	url, err := p.put(ctx, object)
	p.took = time.Since(p.indexed)
	if err != nil {
		return err
	}
	p.published.IndexURL, p.published.Size = url, size
	p.published.Indexes++
	p.published.IndexBytes += object.Body.Size()
	if p.o.OnFlush != nil {
		p.o.OnFlush(size)
	}
	return nil
}

// storeText stores the first size bytes of the log under its own name.
func (p *publisher) storeText(ctx context.Context, size int64) error {
	url, err := p.put(ctx, Object{Name: p.name, ContentType: textType, Body: p.spool.Section(0, size)})
	if err != nil {
		return err
	}
	p.published.TextURL, p.text = url, size
	return nil
}

// put stores one object and counts it.
func (p *publisher) put(ctx context.Context, o Object) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	url, err := p.store(ctx, o)
	if err == nil {
		err = checkURL(url)
	}
	if err != nil {
		return "", &PublishError{o.Name, err}
	}
	p.published.Puts++
	p.published.Bytes += o.Body.Size()
	return url, nil
}
