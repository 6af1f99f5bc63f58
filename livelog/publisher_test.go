package livelog_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

const base = "https://storage.example/"

// memory is a Store in memory that checks what it is given. Only one Publish uses it, one
// call at a time.
type memory struct {
	t       *testing.T
	start   time.Time
	objects map[string][]byte
	puts    []put
	answer  func(o livelog.Object) error // how a PUT goes; may take its time
	busy    bool
}

type put struct {
	Name  string
	At    time.Duration // since the start
	Size  int64         // of a text or a chunk, decoded; of the log that an index describes
	Bytes int64         // as stored
	Index schema.LogIndex
}

func (m *memory) store(ctx context.Context, o livelog.Object) (string, error) {
	if m.busy {
		m.t.Error("two PUTs at once")
	}
	m.busy = true
	defer func() { m.busy = false }()
	at := time.Since(m.start)
	data, err := io.ReadAll(o.Body)
	if err != nil {
		return "", err
	}
	if m.answer != nil {
		if err := m.answer(o); err != nil {
			return "", err
		}
	}
	plain, err := decode(data, o.ContentEncoding)
	if err != nil {
		return "", err
	}
	p := put{Name: o.Name, At: at, Size: int64(len(plain)), Bytes: int64(len(data))}
	if chunk := strings.HasPrefix(o.Name, "live/log/") && o.Name != "live/log/index.json"; strings.HasSuffix(o.Name, ".gz") != (chunk && o.ContentEncoding == "gzip") {
		m.t.Errorf("%s has the encoding %q", o.Name, o.ContentEncoding)
	}
	wantType := "text/plain; charset=utf-8"
	if strings.HasSuffix(o.Name, "index.json") {
		wantType = "application/json"
		p.Index = m.checkIndex(data, o.ContentEncoding)
		p.Size = p.Index.Size
	}
	if o.ContentType != wantType {
		m.t.Errorf("%s has the content type %q, want %q", o.Name, o.ContentType, wantType)
	}
	m.objects[o.Name] = data
	m.puts = append(m.puts, p)
	return base + o.Name, nil
}

// checkIndex checks that the chunks an index names are stored, and that a complete one has its text.
func (m *memory) checkIndex(data []byte, encoding string) schema.LogIndex {
	m.t.Helper()
	x, err := decodeIndex(data, encoding)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, c := range x.Chunks {
		if got := m.chunk(c); int64(len(got)) != c.Size {
			m.t.Errorf("the index names %s before it is stored", c.URL)
		}
	}
	if x.Complete && int64(len(m.objects["log"])) != x.Size {
		m.t.Errorf("the index is complete before the text is whole: %d bytes of %d", len(m.objects["log"]), x.Size)
	}
	return x
}

func decodeIndex(data []byte, encoding string) (x schema.LogIndex, err error) {
	switch encoding {
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return x, err
		}
		plain, err := io.ReadAll(z)
		if err != nil || len(plain) <= len(data) {
			return x, fmt.Errorf("gzipped to %d bytes from %d (%v)", len(data), len(plain), err)
		}
		data = plain
	case "":
	default:
		return x, fmt.Errorf("index has the encoding %q", encoding)
	}
	return schema.Decode[schema.LogIndex]("index.json", data)
}

// chunk is what a chunk holds, decoded.
func (m *memory) chunk(c schema.Chunk) []byte {
	m.t.Helper()
	data, err := decode(m.objects[strings.TrimPrefix(c.URL, base)], c.Encoding)
	if err != nil {
		m.t.Errorf("%s: %v", c.URL, err)
	}
	return data
}

// decode gives the content of an object.
func decode(data []byte, encoding string) ([]byte, error) {
	if encoding != "gzip" || len(data) == 0 {
		return data, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// log puts together what the newest index describes.
func (m *memory) log() string {
	var x schema.LogIndex
	for _, p := range m.puts {
		if p.Index.Version != "" {
			x = p.Index
		}
	}
	var b strings.Builder
	for _, c := range x.Chunks {
		b.Write(m.chunk(c))
	}
	b.Write(x.Tail)
	return b.String()
}

func (m *memory) named(name string) (found []put) {
	for _, p := range m.puts {
		if p.Name == name {
			found = append(found, p)
		}
	}
	return found
}

// order lists what was stored: "index 5", "index 5 complete", "text 5", "chunk 0-17000".
func (m *memory) order() []string {
	order := []string{}
	for _, p := range m.puts {
		text, chunk := strings.CutPrefix(p.Name, "live/log/")
		switch {
		case !chunk:
			text = fmt.Sprintf("text %d", p.Size)
		case text != "index.json":
			text = "chunk " + strings.TrimSuffix(text, ".gz")
		case p.Index.Complete:
			text = fmt.Sprintf("index %d complete", p.Size)
		default:
			text = fmt.Sprintf("index %d", p.Size)
		}
		order = append(order, text)
	}
	return order
}

// publishing runs a publisher in a bubble of fake time.
type publishing struct {
	*memory
	*livelog.Spool
	cancel context.CancelCauseFunc
	ended  chan struct{}
	result livelog.Published
	err    error
}

// inBubble runs write beside a publisher; afterwards the log is sealed and the publisher has ended.
func inBubble(t *testing.T, o livelog.PublishOptions, answer func(livelog.Object) error, write func(p *publishing)) (p *publishing) {
	f, err := os.Create(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	return inBubbleOver(t, f, 0, o, answer, write)
}

// inBubbleOver does the same with the file of a spool of size bytes.
func inBubbleOver(t *testing.T, f livelog.File, size int64, o livelog.PublishOptions, answer func(livelog.Object) error,
	write func(p *publishing)) (p *publishing) {
	synctest.Test(t, func(t *testing.T) {
		s := livelog.NewSpool(f, size)
		defer s.Release()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		m := &memory{t: t, start: time.Now(), objects: map[string][]byte{}, answer: answer}
		for _, c := range o.Chunks { // an earlier Publish stored them
			m.objects[strings.TrimPrefix(c.URL, base)] = make([]byte, max(0, min(c.Size, 1000)))
		}
		p = &publishing{memory: m, Spool: s, cancel: cancel, ended: make(chan struct{})}
		go func() {
			defer close(p.ended)
			p.result, p.err = livelog.Publish(ctx, "log", s, m.store, o)
		}()
		write(p)
		p.Close()
		<-p.ended
	})
	return p
}

// pause lets d of the fake time pass.
func (p *publishing) pause(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (p *publishing) write(size int) {
	if _, err := p.Write(bytes.Repeat([]byte("x"), size)); err != nil {
		p.t.Error(err)
	}
}

func TestPublishOrder(t *testing.T) {
	const tail = 16 << 10
	for _, c := range []struct {
		name  string
		o     livelog.PublishOptions
		write func(p *publishing)
		want  []string
	}{
		{"empty", livelog.PublishOptions{}, func(*publishing) {},
			[]string{"text 0", "index 0 complete"}},
		{"empty for an hour", livelog.PublishOptions{}, func(p *publishing) { p.pause(time.Hour) },
			[]string{"text 0", "index 0 complete"}},
		{"one line", livelog.PublishOptions{}, func(p *publishing) { p.write(5); p.pause(time.Hour) },
			[]string{"index 5", "text 5", "text 5", "index 5 complete"}},
		{"last bytes first", livelog.PublishOptions{}, func(p *publishing) { p.write(5); p.pause(time.Hour); p.write(1) },
			[]string{"index 5", "text 5", "index 6", "text 6", "index 6 complete"}},
		{"a tail holds 16 KiB", livelog.PublishOptions{}, func(p *publishing) {
			p.write(1)
			p.pause(time.Minute)
			p.write(tail - 1)
			p.pause(time.Minute)
		}, []string{"index 1", "text 1", "index 16384", "text 16384", "text 16384", "index 16384 complete"}},
		{"a chunk takes all", livelog.PublishOptions{}, func(p *publishing) {
			p.write(tail)
			p.pause(time.Minute)
			p.write(1)
			p.pause(time.Minute)
			p.write(2)
			p.pause(time.Minute)
		}, []string{"index 16384", "text 16384", "chunk 0-16385", "index 16385", "index 16387", "text 16387", "index 16387 complete"}},
		{"a chunk covers the tail before it", livelog.PublishOptions{MaxChunk: 100}, func(p *publishing) {
			p.write(tail + 5)
			p.pause(time.Minute)
		}, []string{"chunk 0-16384", "index 16389", "text 16389", "text 16389", "index 16389 complete"}},
		{"large chunks are split, small ones merged", livelog.PublishOptions{TailSize: 10, MaxChunk: 100}, func(p *publishing) {
			p.write(205)
			p.pause(time.Minute)
		}, []string{"chunk 0-100", "chunk 0-200", "index 205", "text 205", "text 205", "index 205 complete"}},
		{"text when doubled, up to its limit", livelog.PublishOptions{TextLimit: 400}, func(p *publishing) {
			for range 10 {
				p.write(100)
				p.pause(time.Minute)
			}
		}, []string{"index 100", "text 100", "index 200", "text 200", "index 300", "index 400", "text 400",
			"index 500", "index 600", "index 700", "index 800", "index 900", "index 1000",
			"text 1000", "index 1000 complete"}},
		{"a text that begins above its limit", livelog.PublishOptions{TextLimit: 40}, func(p *publishing) {
			p.write(100)
			p.pause(time.Minute)
		}, []string{"index 100", "text 40", "text 100", "index 100 complete"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := inBubble(t, c.o, nil, c.write)
			if p.err != nil {
				t.Fatal(p.err)
			}
			order := p.order()
			if diff := cmp.Diff(c.want, order); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			want := livelog.Published{Size: int64(len(p.log())), TextURL: base + "log", IndexURL: base + "live/log/index.json", Puts: len(p.puts)}
			for i, put := range p.puts {
				want.Bytes += put.Bytes
				switch what, _, _ := strings.Cut(order[i], " "); what {
				case "chunk":
					want.Chunks, want.ChunkBytes, want.ChunkedText = want.Chunks+1, want.ChunkBytes+put.Bytes, want.ChunkedText+put.Size
				case "index":
					want.Indexes, want.IndexBytes = want.Indexes+1, want.IndexBytes+put.Bytes
				}
			}
			if diff := cmp.Diff(want, p.result); diff != "" {
				t.Errorf("published (-want +got):\n%s", diff)
			}
		})
	}
}

// A log that has ended is complete only when its writer is sure of that: all else is stored before.
func TestPublishFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{t: t, start: time.Now(), objects: map[string][]byte{}}
		s := newSpool(t)
		if _, err := s.Write([]byte("12345")); err != nil {
			t.Fatal(err)
		}
		s.Close()
		final, ended := make(chan struct{}), make(chan error, 1)
		publish := func(ctx context.Context) {
			_, err := livelog.Publish(ctx, "log", s, m.store, livelog.PublishOptions{Final: final})
			ended <- err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go publish(ctx)
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before it is final: %v", err)
		}
		if want := []string{"index 5", "text 5"}; !cmp.Equal(want, m.order()) {
			t.Errorf("stored %q before, want %q", m.order(), want)
		}
		close(final)
		go publish(t.Context())
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if order := m.order(); order[len(order)-1] != "index 5 complete" {
			t.Errorf("stored %q", order)
		}
	})
}

// One index at most in an interval, which grows with the age of the log; none without output.
func TestPublishRhythm(t *testing.T) {
	const step = 100 * time.Millisecond
	p := inBubble(t, livelog.PublishOptions{}, nil, func(p *publishing) {
		p.pause(30 * time.Minute / 60 / 60) // half a second: the first bytes are flushed at once whenever they come
		for _, age := range []time.Duration{0, time.Hour, 3 * time.Hour, 11 * time.Hour} {
			p.pause(age - time.Since(p.start))
			for range 3 * time.Minute / step {
				p.write(10)
				p.pause(step)
			}
		}
		p.pause(time.Minute)
		before := len(p.puts)
		p.pause(24 * time.Hour)
		if len(p.puts) != before {
			t.Errorf("%d PUTs without output", len(p.puts)-before)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	puts := p.named("live/log/index.json")
	if puts[0].At != 500*time.Millisecond {
		t.Errorf("the first flush is at %v, want %v", puts[0].At, 500*time.Millisecond)
	}
	for i, put := range puts[1 : len(puts)-2] {
		last := puts[i]
		want := min(max(last.At/3600, time.Second), 10*time.Second)
		if gap := put.At - last.At; gap < want || gap > want+want/10+step && gap < 30*time.Minute {
			t.Errorf("%v after the flush at %v, want %v, a tenth more at most", gap, last.At, want)
		}
		if poll := time.Duration(put.Index.PollAfterMs) * time.Millisecond; poll < put.At/3600 && poll < 10*time.Second {
			t.Errorf("at %v: poll after %v", put.At, poll)
		}
	}
	if last := puts[len(puts)-1].Index; !last.Complete || last.PollAfterMs != 0 {
		t.Errorf("the last index has complete %v, pollAfterMs %d", last.Complete, last.PollAfterMs)
	}
}

// A storage that is slower than the interval sets the pace, and each flush takes all that has gathered.
func TestPublishIsNotFasterThanTheStorage(t *testing.T) {
	slow := func(livelog.Object) error { <-time.After(5 * time.Second); return nil }
	p := inBubble(t, livelog.PublishOptions{TextLimit: 1}, slow, func(p *publishing) {
		for range 60 {
			p.write(10)
			p.pause(time.Second)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	puts := p.named("live/log/index.json")
	if n := len(puts); n < 8 || n > 15 {
		t.Errorf("%d indexes in a minute, want about 12", n)
	}
	for i, put := range puts[1 : len(puts)-1] {
		if gap := put.At - puts[i].At; gap < 5*time.Second {
			t.Errorf("flush %v after the one before, want 5 s at least", gap)
		}
	}
}

// What takes longer than an interval to ship is shown in between.
func TestPublishShowsABacklogPieceByPiece(t *testing.T) {
	slow := func(o livelog.Object) error { <-time.After(2 * time.Second); return nil }
	p := inBubble(t, livelog.PublishOptions{TailSize: 10, MaxChunk: 100, TextLimit: 1}, slow, func(p *publishing) {
		p.write(1)
		p.pause(time.Minute)
		p.write(300)
		p.pause(time.Minute)
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	want := []string{"index 1", "text 1", "chunk 0-100", "index 100", "chunk 0-200", "index 200", "chunk 200-100", "index 301",
		"text 301", "index 301 complete"}
	if diff := cmp.Diff(want, p.order()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// As long as there is more to ship than an interval has time for, the storage never rests, and the index keeps its rhythm.
func TestPublishShipsABacklogWithoutRest(t *testing.T) {
	const latency = 600 * time.Millisecond
	slow := func(o livelog.Object) error { <-time.After(latency); return nil }
	p := inBubble(t, livelog.PublishOptions{TailSize: 10, MaxChunk: 100, TextLimit: 1}, slow, func(p *publishing) {
		p.write(1)
		p.pause(time.Minute)
		p.write(1000)
		p.pause(time.Minute)
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	first, last := slices.IndexFunc(p.puts, func(p put) bool { return p.Size == 100 }), len(p.puts)-3
	if last-first < 12 || p.puts[last].Size != 1001 {
		t.Fatalf("stored %q", p.order())
	}
	for i := first + 1; i <= last; i++ {
		if gap := p.puts[i].At - p.puts[i-1].At; gap != latency {
			t.Errorf("%s comes %v after the PUT before it, want %v", p.order()[i], gap, latency)
		}
	}
}

// While the log is live a failure of the storage delays it and nothing else.
func TestPublishSurvivesAStorageThatFails(t *testing.T) {
	for _, what := range []string{"live/log/index.json", "live/log/0-", "log"} {
		t.Run(what, func(t *testing.T) {
			var failures atomic.Int64
			var up atomic.Bool
			answer := func(o livelog.Object) error {
				if !up.Load() && strings.HasPrefix(o.Name, what) {
					failures.Add(1)
					return errors.New("out of order")
				}
				return nil
			}
			var logged bytes.Buffer
			o := livelog.PublishOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil))}
			p := inBubble(t, o, answer, func(p *publishing) {
				p.write(20_000)
				p.pause(10 * time.Second) // no new output: it must be tried again nevertheless
				if n := failures.Load(); n < 5 || n > 11 {
					t.Errorf("tried %d times in ten seconds", n)
				}
				p.write(20_000)
				p.pause(2 * time.Second)
				up.Store(true)
				p.pause(2 * time.Second)
				if size := len(p.log()); size != 40_000 {
					t.Errorf("readers see %d bytes, want 40000", size)
				}
				if size := len(p.objects["log"]); size < 40_000 {
					t.Errorf("the text has %d bytes, want 40000", size)
				}
			})
			if p.err != nil {
				t.Errorf("publish: %v", p.err)
			}
			if text := logged.String(); strings.Count(text, "level=WARN") != int(failures.Load()) || !strings.Contains(text, "out of order") {
				t.Errorf("%d failures, logged:\n%s", failures.Load(), text)
			}
		})
	}
}

// At the end a failure is returned, and no index says complete.
func TestPublishReturnsAFailureAtTheEnd(t *testing.T) {
	broken := errors.New("out of order")
	for _, c := range []struct {
		object string
		text   int // bytes of the text that is stored nevertheless
	}{
		{"live/log/index.json", 30_010},
		{"live/log/30000-20000.gz", 50_000},
		{"log", 30_000},
	} {
		t.Run(c.object, func(t *testing.T) {
			down := false
			answer := func(o livelog.Object) error {
				if down && o.Name == c.object {
					return broken
				}
				return nil
			}
			p := inBubble(t, livelog.PublishOptions{}, answer, func(p *publishing) {
				p.write(30_000)
				p.pause(time.Minute)
				down = true
				p.write(c.text - 30_000)
				if c.object == "log" {
					p.write(1)
				}
			})
			var typed *livelog.PublishError
			if !errors.Is(p.err, broken) || !errors.As(p.err, &typed) || typed.Object != c.object {
				t.Errorf("publish: %v, want a *PublishError for %s", p.err, c.object)
			}
			for _, text := range p.order() {
				if strings.HasSuffix(text, "complete") {
					t.Errorf("stored: %s", text)
				}
			}
			if got := len(p.objects["log"]); got != c.text {
				t.Errorf("the text has %d bytes, want %d", got, c.text)
			}
		})
	}
}

// A second Publish of the same log, after the first was cut off, never shows less than that did.
func TestPublishAgain(t *testing.T) {
	slow := func(o livelog.Object) error { <-time.After(2 * time.Second); return nil }
	o := livelog.PublishOptions{TailSize: 10, MaxChunk: 100, TextLimit: 1}
	var second error
	p := inBubble(t, o, slow, func(p *publishing) {
		p.write(1)
		p.pause(time.Minute)
		p.write(500)
		p.pause(time.Minute)
		p.cancel(nil)
		<-p.ended
		p.write(100)
		again := make(chan struct{})
		go func() {
			defer close(again)
			_, second = livelog.Publish(context.Background(), "log", p.Spool, p.store, o)
		}()
		p.pause(time.Minute)
		p.Close()
		<-again
	})
	if !errors.Is(p.err, context.Canceled) || second != nil {
		t.Errorf("publish: %v, then %v", p.err, second)
	}
	var seen int64
	for _, put := range p.named("live/log/index.json") {
		if put.Size < seen {
			t.Errorf("an index of %d bytes after one of %d", put.Size, seen)
		}
		seen = put.Size
	}
	if seen != 601 {
		t.Errorf("the last index has %d bytes, want 601", seen)
	}
}

func TestPublishRejectsAURLThatReadersCannotUse(t *testing.T) {
	s := newSpool(t)
	s.Close()
	for _, url := range []string{"", "log", "file:///log?secret=hush"} {
		store := func(context.Context, livelog.Object) (string, error) { return url, nil }
		_, err := livelog.Publish(within(t), "log", s, store, livelog.PublishOptions{})
		if !errors.Is(err, livelog.ErrURL) || strings.Contains(err.Error(), "hush") {
			t.Errorf("url %q: %v, want ErrURL", url, err)
		}
	}
}

// Whatever the log is like, a context that has ended is never taken for success.
func TestPublishInAContextThatHasEnded(t *testing.T) {
	cause := errors.New("claim lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	s := newSpool(t)
	store := func(context.Context, livelog.Object) (string, error) {
		t.Error("something was stored")
		return base, nil
	}
	s.Close()
	for range 20 { // either end may be seen first
		if _, err := livelog.Publish(ctx, "log", s, store, livelog.PublishOptions{}); !errors.Is(err, cause) {
			t.Fatalf("publish: %v, want %v", err, cause)
		}
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	cause := errors.New("claim lost")
	for name, write := range map[string]func(p *publishing){
		"waiting for output":     func(*publishing) {},
		"waiting for the rhythm": func(p *publishing) { p.write(1); p.pause(time.Millisecond); p.write(1) },
	} {
		t.Run(name, func(t *testing.T) {
			p := inBubble(t, livelog.PublishOptions{}, nil, func(p *publishing) {
				p.pause(time.Second)
				write(p)
				before := time.Now()
				p.cancel(cause)
				<-p.ended
				if took := time.Since(before); took != 0 {
					t.Errorf("took %v", took)
				}
			})
			if !errors.Is(p.err, cause) {
				t.Errorf("publish: %v, want %v", p.err, cause)
			}
		})
	}
}
