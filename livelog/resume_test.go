package livelog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// A log that the next process goes on with: who reads it does not notice, and no chunk is stored twice.
func TestPublishGoesOnInTheNextProcess(t *testing.T) {
	ctx := within(t)
	storage := newStorage(t)
	path := t.TempDir() + "/spool"
	spool, err := livelog.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		got, err := readAll(ctx, storage.URL+"/"+livelog.IndexName("log"), quick())
		if err != nil {
			t.Error(err)
		}
		read <- got
	}()

	// A PUT that has begun is done and its answer heard, so that each chunk that is stored is told.
	store := func(ctx context.Context, o livelog.Object) (string, error) {
		return storage.put(context.WithoutCancel(ctx), o)
	}
	var told, chunks []schema.Chunk
	var want strings.Builder
	for process := range 4 {
		enough := make(chan struct{}, 1000)
		running, stop := context.WithCancelCause(ctx)
		o := livelog.PublishOptions{
			Interval: time.Millisecond, TailSize: 100, MaxChunk: 1000, Chunks: slices.Clone(chunks),
			OnChunk: func(c schema.Chunk) { told, chunks = append(told, c), with(chunks, c); enough <- struct{}{} },
		}
		var result livelog.Published
		var publishErr error
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			result, publishErr = livelog.Publish(running, "log", spool, store, o)
		}()
		before := len(told)
		for i := range 100 {
			fmt.Fprintf(io.MultiWriter(spool, &want), "process %d, line %d\n", process, i)
		}
		<-enough
		if process == 3 {
			spool.Close()
			<-ended
			stop(nil)
			if publishErr != nil {
				t.Error(publishErr)
			}
			break
		}
		stop(errors.New("killed"))
		<-ended
		if result.Chunks != len(told)-before {
			t.Errorf("%d chunks counted, %d told", result.Chunks, len(told)-before)
		}
		if err := spool.Release(); err != nil {
			t.Fatal(err)
		}
		if spool, err = livelog.Open(path); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-read; got != want.String() {
		t.Errorf("read %d bytes, want %d: %s", len(got), want.Len(), firstDifference(got, want.String()))
	}
	var stored, toldURLs []string
	for _, name := range storage.puts {
		if strings.HasPrefix(name, "live/log/") && name != livelog.IndexName("log") {
			stored = append(stored, storage.URL+"/"+name)
		}
	}
	for _, c := range told {
		toldURLs = append(toldURLs, c.URL)
	}
	end := int64(0)
	for _, c := range chunks {
		if c.Offset != end {
			t.Errorf("a chunk begins at %d, the one before ends at %d", c.Offset, end)
		}
		end = c.Offset + c.Size
	}
	if len(chunks) == len(told) {
		t.Error("no chunk has replaced others")
	}
	if diff := cmp.Diff(toldURLs, stored); diff != "" {
		t.Errorf("stored chunks, each once and in order (-want +got):\n%s", diff)
	}
	if err := spool.Remove(); err != nil {
		t.Error(err)
	}
}

// with is what chunks are after c was stored: it takes the place of those that it covers.
func with(chunks []schema.Chunk, c schema.Chunk) []schema.Chunk {
	within := func(old schema.Chunk) bool { return old.Offset >= c.Offset }
	return append(slices.DeleteFunc(slices.Clone(chunks), within), c)
}

// chunkOf is one that an earlier Publish stored.
func chunkOf(offset, size int64) schema.Chunk {
	return schema.Chunk{Offset: offset, Size: size, URL: fmt.Sprintf("%slive/log/%d-%d", base, offset, size), Encoding: "identity"}
}

func TestPublishBehindStoredChunks(t *testing.T) {
	again := []string{"chunk 0-100", "index 105", "text 105", "text 105", "index 105 complete"}
	for name, c := range map[string]struct {
		chunks []schema.Chunk
		want   []string
	}{
		"none":           {nil, again},
		"a part":         {[]schema.Chunk{chunkOf(0, 60), chunkOf(60, 20)}, []string{"chunk 80-25", "index 105", "text 105", "text 105", "index 105 complete"}},
		"up to the tail": {[]schema.Chunk{chunkOf(0, 100)}, []string{"index 105", "text 105", "text 105", "index 105 complete"}},
		"all":            {[]schema.Chunk{chunkOf(0, 105)}, []string{"index 105", "text 105", "text 105", "index 105 complete"}},
		"longer":         {[]schema.Chunk{chunkOf(0, 60), chunkOf(60, 46)}, again},
		"a gap":          {[]schema.Chunk{chunkOf(0, 60), chunkOf(61, 20)}, again},
		"an overlap":     {[]schema.Chunk{chunkOf(0, 60), chunkOf(59, 20)}, again},
		"not the first":  {[]schema.Chunk{chunkOf(60, 20)}, again},
		"empty":          {[]schema.Chunk{chunkOf(0, 60), chunkOf(60, 0)}, again},
		"negative":       {[]schema.Chunk{chunkOf(0, 60), chunkOf(60, -20)}, again},
		"beyond a file":  {[]schema.Chunk{chunkOf(0, 1<<63-1), chunkOf(1<<63-1, 1<<63-1)}, again},
		"a bad URL":      {[]schema.Chunk{{Offset: 0, Size: 60, URL: "file:///secret", Encoding: "identity"}}, again},
		"an encoding":    {[]schema.Chunk{{Offset: 0, Size: 60, URL: base, Encoding: "zip"}}, again},
	} {
		t.Run(name, func(t *testing.T) {
			disk := newFile()
			disk.data = bytes.Repeat([]byte("x"), 105)
			var logged bytes.Buffer
			given := slices.Clone(c.chunks)
			o := livelog.PublishOptions{TailSize: 10, MaxChunk: 100, Chunks: c.chunks, Logger: slog.New(slog.NewTextHandler(&logged, nil))}
			p := inBubbleOver(t, disk, 105, o, nil, func(p *publishing) { p.pause(time.Minute) })
			if p.err != nil {
				t.Error(p.err)
			}
			if diff := cmp.Diff(c.want, p.order()); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			ignored := name != "none" && slices.Equal(c.want, again)
			if text := logged.String(); strings.Contains(text, "storing them again") != ignored || strings.Contains(text, "secret") {
				t.Errorf("logged %q", text)
			}
			if diff := cmp.Diff(given, c.chunks); diff != "" {
				t.Errorf("the caller's chunks have changed:\n%s", diff)
			}
		})
	}
}

// What could not be synced is published neither before nor after; what was is a complete log.
func TestPublishWhenASyncFails(t *testing.T) {
	for name, c := range map[string]struct {
		stored int // bytes of the log before the first Sync that fails
		chunks []schema.Chunk
		write  func(p *publishing, disk *memoryFile)
		want   []string
		lost   int64
	}{
		"in the middle": {0, nil, func(p *publishing, disk *memoryFile) {
			p.write(105)
			p.pause(time.Minute)
			disk.failSyncs()
			p.write(50)
			p.pause(time.Minute)
			select {
			case <-p.ended:
			default:
				t.Error("publish goes on, although nothing can come any more")
			}
			p.Write(make([]byte, 7))
			p.pause(time.Minute)
		}, []string{"chunk 0-100", "index 105", "text 105", "text 105", "index 105 complete"}, 57},
		"at the end": {0, nil, func(p *publishing, disk *memoryFile) {
			p.write(105)
			p.pause(time.Minute)
			p.write(2)
			p.pause(10 * time.Millisecond)
			disk.failSyncs()
			p.write(50)
		}, []string{"chunk 0-100", "index 105", "text 105", "index 107", "text 107", "index 107 complete"}, 50},
		"at once": {0, nil, func(p *publishing, disk *memoryFile) {
			disk.failSyncs()
			p.write(105)
			p.pause(time.Minute)
		}, []string{"text 0", "index 0 complete"}, 105},
		"in the next process": {105, []schema.Chunk{chunkOf(0, 90)}, func(p *publishing, disk *memoryFile) {
			p.pause(time.Minute)
			disk.failSyncs()
			p.write(7)
			p.pause(time.Minute)
		}, []string{"chunk 90-15", "index 105", "text 105", "text 105", "index 105 complete"}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			disk := newFile()
			disk.data = make([]byte, c.stored)
			var logged bytes.Buffer
			o := livelog.PublishOptions{TailSize: 10, MaxChunk: 100, Chunks: c.chunks, Logger: slog.New(slog.NewTextHandler(&logged, nil))}
			p := inBubbleOver(t, disk, int64(c.stored), o, nil, func(p *publishing) { c.write(p, disk) })
			if p.err != nil {
				t.Errorf("publish: %v", p.err)
			}
			if diff := cmp.Diff(c.want, p.order()); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			var typed *livelog.SpoolError
			if lost, err := p.Lost(); lost != c.lost || !errors.As(err, &typed) || typed.Op != "sync" {
				t.Errorf("Lost = %d, %v; want %d and the error of the sync", lost, err, c.lost)
			}
			if text := logged.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "input/output error") {
				t.Errorf("logged, want one line:\n%s", text)
			}
		})
	}
}

// Readers may have seen more of the log than is known to be durable now: they are not told that it was less.
func TestPublishWhenTheFirstSyncOfTheNextProcessFails(t *testing.T) {
	for _, chunks := range [][]schema.Chunk{nil, {chunkOf(0, 90)}} {
		disk := newFile()
		disk.data = make([]byte, 105)
		cause := disk.failSyncs()
		o := livelog.PublishOptions{TailSize: 10, MaxChunk: 100, Chunks: chunks}
		p := inBubbleOver(t, disk, 105, o, nil, func(p *publishing) { p.pause(time.Minute) })
		var typed *livelog.SpoolError
		if !errors.Is(p.err, cause) || !errors.As(p.err, &typed) {
			t.Errorf("publish: %v, want the *SpoolError of the sync", p.err)
		}
		if len(p.puts) != 0 {
			t.Errorf("stored: %q", p.order())
		}
		if lost, err := p.Lost(); lost != 105 || !errors.Is(err, cause) {
			t.Errorf("Lost = %d, %v; want 105, %v", lost, err, cause)
		}
	}
}

// act is something that happens to a run.
type act struct {
	What string        // "write", "sync", "pause", "kill", "power", "read", "fail"
	Size int           // of a write; how much more than is durable survives a power cut, how many of the last chunks are forgotten
	For  time.Duration // a pause
}

// Whatever is written, synced, published and interrupted, and wherever the power is cut: readers see one log, and no
// byte that the next process does not have.
func TestReadersNeverSeeWhatAPowerCutTakesBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		acts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
			a := act{What: rapid.SampledFrom([]string{"write", "write", "write", "pause", "pause", "pause", "sync", "kill", "power", "read"}).Draw(t, "what")}
			switch a.What {
			case "write", "power", "kill":
				a.Size = rapid.IntRange(0, 150).Draw(t, "size")
			case "pause":
				a.For = rapid.SampledFrom([]time.Duration{0, 100 * time.Millisecond, time.Second, time.Minute}).Draw(t, "for")
			}
			return a
		}), 1, 40).Draw(rt, "acts")
		if rapid.IntRange(0, 3).Draw(rt, "fails") == 0 {
			acts = slices.Insert(acts, rapid.IntRange(0, len(acts)).Draw(rt, "failsAt"), act{What: "fail"})
		}
		w := &world{storage: &storage{URL: "https://storage.example", objects: map[string]stored{}}, file: newFile()}
		synctest.Test(t, func(*testing.T) { w.live(acts) })
		for _, fault := range w.faults {
			rt.Error(fault)
		}
	})
}

// world is a log over several lives of its process. What the Publish of one changes, others use after its end.
type world struct {
	storage *storage
	file    *memoryFile
	chunks  []schema.Chunk   // that the journal knows
	earlier [][]schema.Chunk // the same, before each of the chunks that this process has stored
	written byte             // no two writes have the same bytes
	dead    bool             // a Sync has failed
	shown   string           // what the newest index describes

	mu     sync.Mutex
	faults []string
}

func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *world) live(acts []act) {
	var readers sync.WaitGroup
	logs := []*string{}
	read := func() {
		got := new(string)
		logs = append(logs, got)
		readers.Go(func() {
			var err error
			*got, err = readAll(context.Background(), w.storage.URL+"/"+livelog.IndexName("log"),
				livelog.ReaderOptions{Transport: direct{w.storage}})
			if err != nil {
				*got = err.Error()
			}
		})
	}
	read()
	spool, stop := w.begin()
	for _, a := range acts {
		switch a.What {
		case "write":
			w.written++
			spool.Write(bytes.Repeat([]byte{w.written}, a.Size))
		case "pause":
			<-time.After(a.For)
			synctest.Wait()
		case "sync":
			if size, err := spool.Sync(); err == nil && size != spool.Size() {
				w.fault("synced %d bytes of %d", size, spool.Size())
			}
		case "read":
			read()
		case "fail":
			w.file.failSyncs()
		case "kill", "power":
			stop(errors.New(a.What))
			spool.Release()
			if w.file.broken {
				w.dead = true // how a log that has ended early goes on is up to the agent
				break
			}
			keep := len(w.file.data)
			if a.What == "power" {
				keep = min(keep, w.file.durable+a.Size)
				if back := min(a.Size%3, len(w.earlier)); back > 0 {
					w.chunks = w.earlier[len(w.earlier)-back]
				}
			}
			w.file = w.file.again(keep)
			spool, stop = w.begin()
		}
		if w.dead {
			break
		}
	}
	spool.Close()
	if err := stop(nil); w.dead || err != nil {
		if !w.file.broken {
			w.fault("publish: %v", err)
		}
		w.dead = true
		w.file = w.file.again(w.file.durable)
		spool, stop = w.begin()
		spool.Close()
		stop(nil)
	}
	readers.Wait()
	want := string(w.file.data[:spool.Size()])
	for i, got := range logs {
		if *got != want && !(w.dead && strings.HasPrefix(want, *got)) {
			w.fault("reader %d read %q, want %q", i, *got, want)
		}
	}
	spool.Release()
}

// begin is the start of a process. stop lets its Publish come to its end, or with a cause interrupts it.
func (w *world) begin() (s *livelog.Spool, stop func(error) error) {
	s = livelog.NewSpool(w.file, int64(len(w.file.data)))
	ctx, cancel := context.WithCancelCause(context.Background())
	o := livelog.PublishOptions{TailSize: 10, MaxChunk: 50, TextLimit: 100, Chunks: slices.Clone(w.chunks),
		OnChunk: func(c schema.Chunk) { w.earlier, w.chunks = append(w.earlier, w.chunks), with(w.chunks, c) }}
	w.earlier = nil
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		var result livelog.Published
		result, err = livelog.Publish(ctx, "log", s, w.store, o)
		if result.Chunks != len(w.earlier) {
			w.fault("%d chunks counted, %d told", result.Chunks, len(w.earlier))
		}
	}()
	return s, func(cause error) error {
		defer cancel(nil)
		if cause != nil {
			cancel(cause)
		}
		<-ended
		return err
	}
}

// store takes its time. A PUT that is interrupted has been done all the same, and nobody knows.
func (w *world) store(ctx context.Context, o livelog.Object) (string, error) {
	for _, c := range w.chunks {
		if strings.HasSuffix(c.URL, "/"+o.Name) {
			w.fault("%s is stored again", o.Name)
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(300 * time.Millisecond):
	}
	url, err := w.storage.putThrough(context.WithoutCancel(ctx), direct{w.storage}, o)
	if err == nil {
		w.check(o)
	}
	return url, errors.Join(err, context.Cause(ctx))
}

// check checks what readers can see now.
func (w *world) check(o livelog.Object) {
	if o.Name != livelog.IndexName("log") {
		return
	}
	object, _ := w.storage.get(o.Name)
	x, err := decodeIndex(object.data, object.encoding)
	if err != nil {
		w.fault("index: %v", err)
		return
	}
	var log strings.Builder
	for _, c := range x.Chunks {
		chunk, _ := w.storage.get(strings.TrimPrefix(c.URL, w.storage.URL+"/"))
		data, err := decode(chunk.data, c.Encoding)
		if err != nil {
			w.fault("chunk: %v", err)
		}
		log.Write(data)
	}
	log.Write(x.Tail)
	if durable := w.file.survives(); log.Len() > durable {
		w.fault("%d bytes are shown, %d are durable", log.Len(), durable)
	}
	if !strings.HasPrefix(log.String(), w.shown) {
		w.fault("%q is shown after %q", log.String(), w.shown)
	}
	w.shown = log.String()
}
