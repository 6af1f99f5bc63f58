package livelog

import (
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Growth is how a log grows: by pieces of the same size, at the same distance.
type Growth struct {
	Piece  int64         // bytes of each
	Every  time.Duration // from one to the next; the first one comes at once
	Length time.Duration // from the first piece to the end of the log
	Limit  int64         // of its [Quota], which holds back until the end what comes when it is nearly reached; 0: none
}

// size is how many bytes are there at that age.
func (g Growth) size(age time.Duration) int64 {
	pieces := int64(1)
	if g.Every > 0 {
		pieces += int64(min(age, g.Length-1) / g.Every) // none comes with the end
	}
	size := max(pieces, 0) * g.Piece
	switch {
	case g.Limit <= 0:
		return size
	case age < g.Length:
		return min(size, g.head())
	}
	return min(size, g.Limit)
}

// head is what of a log goes to its readers before it ends.
func (g Growth) head() int64 { return g.Limit - min(g.Limit/16, mostTail) - markReserve }

// next is when there will be more than at that age, at the latest the end.
func (g Growth) next(age time.Duration) time.Duration {
	if g.Every <= 0 || g.Limit > 0 && g.size(age) >= g.head() {
		return g.Length
	}
	return min((age/g.Every+1)*g.Every, g.Length)
}

// Forecast is what [Publish] stores of a log, and what a [Reader] that follows it from its start asks for.
type Forecast struct {
	Size        int64           // bytes of the log
	Indexes     []time.Duration // how old the log is when each index is stored
	Texts       []time.Duration // and each text
	TextBytes   int64           // of all texts
	Chunks      int             // also those that others replace
	ChunkedText int64           // bytes of the log that they hold, before compression
	Named       int             // chunks in the last index

	Looks int // of the reader at the index
	Reads int // of chunks, by the reader
}

// NewForecast goes through a log with the rules by which [Publish] and [Reader] go, without storing anything. Jitter is
// what it is on average, and the storage answers at once: one that takes less than the interval for an index makes no difference, as
// an interval counts from the beginning of a flush.
func NewForecast(g Growth, o PublishOptions, r ReaderOptions) Forecast {
	o = o.withDefaults()
	f := forecaster{
		growth: g, o: o, rhythm: rhythm{o.Interval, o.MaxInterval},
		chunker: chunker{tailSize: int64(o.TailSize), maxChunk: o.MaxChunk}, indexed: -o.Interval,
	}
	f.publish()
	f.read(r.withDefaults())
	return f.Forecast
}

type forecaster struct {
	Forecast
	growth  Growth
	o       PublishOptions
	rhythm  rhythm
	chunker chunker
	indexed time.Duration // when the latest index was stored
	text    int64
	seen    []seenIndex
}

// seenIndex is what a reader finds in one index.
type seenIndex struct {
	at, poll time.Duration
	size     int64
	ends     []int64 // of the chunks
}

// publish is publisher.run.
func (f *forecaster) publish() {
	var published int64
	for at, due := time.Duration(0), time.Duration(0); ; {
		if size := f.growth.size(at); size == published && !f.textDue(size) {
			at = f.growth.next(at)
		}
		if at = max(at, due); at >= f.growth.Length {
			break
		}
		interval, size := f.rhythm.interval(at, 0), f.growth.size(at)
		if size > published {
			f.index(at, size, interval)
			published = size
		}
		if f.textDue(size) {
			f.storeText(at, min(size, f.o.TextLimit))
		}
		due = max(at+jittered(interval, 0.5), f.indexed+f.o.Interval)
	}
	end := f.growth.Length
	f.Size = f.growth.size(end)
	if f.Size > published {
		f.index(end, f.Size, f.o.Interval)
	}
	f.storeText(end, f.Size)
	f.index(end, f.Size, 0)
	f.Named = len(f.chunker.chunks)
}

func (f *forecaster) textDue(size int64) bool {
	return size > 0 && min(size, f.o.TextLimit) >= 2*f.text
}

// index is publisher.storeChunks and storeIndex.
func (f *forecaster) index(at time.Duration, size int64, poll time.Duration) {
	var ends []int64
	if len(f.seen) > 0 {
		ends = f.seen[len(f.seen)-1].ends
	}
	for changed := false; ; changed = true {
		chunk, ok := f.chunker.next(size)
		if !ok {
			if changed {
				ends = nil
				for _, c := range f.chunker.chunks {
					ends = append(ends, c.Offset+c.Size)
				}
			}
			break
		}
		f.chunker.stored(schema.Chunk{Offset: chunk.offset, Size: chunk.size})
		f.Chunks++
		f.ChunkedText += chunk.size
	}
	if f.indexed = max(at, f.indexed+f.o.Interval); at == f.growth.Length {
		f.indexed = at // nothing waits for an interval when the log has ended
	}
	f.Indexes = append(f.Indexes, f.indexed)
	f.seen = append(f.seen, seenIndex{f.indexed, (poll + time.Millisecond - 1).Truncate(time.Millisecond), size, ends})
}

func (f *forecaster) storeText(at time.Duration, size int64) {
	f.text = size
	f.Texts = append(f.Texts, at)
	f.TextBytes += size
}

// read is Reader.look and openChunk, from the first index to the last.
func (f *forecaster) read(o ReaderOptions) {
	var offset int64
	at, idle := f.seen[0].at, 0
	for i := 0; ; f.Looks++ {
		for i+1 < len(f.seen) && f.seen[i+1].at <= at {
			i++
		}
		x, last := f.seen[i], i+1 == len(f.seen)
		if idle++; x.size > offset || last {
			idle = 0
		}
		for _, end := range x.ends {
			if end > offset {
				f.Reads++
			}
		}
		if offset = x.size; last {
			f.Looks++
			return
		}
		poll := min(max(nextLook(x.poll, idle), o.MinPoll), o.MaxPoll)
		if idle > 0 {
			poll = jittered(poll, 0.5)
		}
		at += poll
	}
}
