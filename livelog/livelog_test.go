package livelog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// From the writer to readers who come before, during and after it: all see the same bytes.
func TestLogFromWriterToReaders(t *testing.T) {
	for name, failing := range map[string]float64{"a good day": 0, "a bad day": 1.0 / 3} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Log("seed", seed)
			ctx := within(t)
			storage := newStorage(t)
			spool := newSpool(t)

			random := rand.New(rand.NewPCG(seed, 1))
			try := func(ctx context.Context, o livelog.Object) (string, error) {
				switch x := random.Float64(); {
				case x < failing/2:
					return "", errors.New("not stored")
				case x < failing: // stored, but nobody knows
					_, err := storage.put(ctx, o)
					return "", errors.Join(errors.New("the answer was lost"), err)
				}
				return storage.put(ctx, o)
			}
			var sealed atomic.Bool // from then on a failure is final: the Store tries again by itself
			store := func(ctx context.Context, o livelog.Object) (string, error) {
				url, err := try(ctx, o)
				for err != nil && sealed.Load() && ctx.Err() == nil {
					url, err = try(ctx, o)
				}
				return url, err
			}
			if failing > 0 {
				storage.setFault(func(_ string, w http.ResponseWriter, req *http.Request) bool {
					if req.Method == http.MethodPut || rand.Float64() > failing {
						return false
					}
					http.Error(w, "slow down", http.StatusServiceUnavailable)
					return true
				})
			}
			options := livelog.PublishOptions{Interval: 2 * time.Millisecond, MaxInterval: 10 * time.Millisecond,
				TailSize: 1000, MaxChunk: 30_000, TextLimit: 50_000}

			var readers sync.WaitGroup
			logs := make([]string, 3)
			read := func(i int) {
				readers.Go(func() {
					var err error
					if logs[i], err = readAll(ctx, storage.URL+"/"+livelog.IndexName("log"), quick()); err != nil {
						t.Errorf("reader %d: %v", i, err)
					}
				})
			}
			published := make(chan error)
			go func() {
				_, err := livelog.Publish(ctx, "log", spool, store, options)
				published <- err
			}()

			read(0)
			var want strings.Builder
			writing := rand.New(rand.NewPCG(seed, 2))
			out := io.MultiWriter(spool, &want)
			for i := range 600 {
				if i == 300 {
					read(1)
				}
				fmt.Fprintf(out, "%d %s\n", i, strings.Repeat("x", int(1000*writing.ExpFloat64())))
				if writing.IntN(4) == 0 {
					<-time.After(time.Duration(writing.IntN(3_000_000)))
				}
			}
			sealed.Store(true)
			spool.Close()
			if err := <-published; err != nil {
				t.Fatal(err)
			}
			read(2)
			readers.Wait()
			for i, got := range logs {
				if got != want.String() {
					t.Errorf("reader %d read %d bytes, want %d: %s", i, len(got), want.Len(), firstDifference(got, want.String()))
				}
			}
			if text, _ := storage.get("log"); string(text.data) != want.String() {
				t.Errorf("the text has %d bytes, want %d", len(text.data), want.Len())
			}
		})
	}
}

// A reader sees a line while the log is still open: the writer waits for it before the next one.
func TestReaderSeesALineWhileTheLogIsWritten(t *testing.T) {
	ctx := within(t)
	storage := newStorage(t)
	spool := newSpool(t)
	published := make(chan error)
	go func() {
		_, err := livelog.Publish(ctx, "log", spool, storage.put, livelog.PublishOptions{Interval: time.Millisecond, TailSize: 50})
		published <- err
	}()
	r := livelog.NewReader(ctx, storage.URL+"/"+livelog.IndexName("log"), quick())
	defer r.Close()
	lines := bufio.NewReader(r)
	for i := range 30 {
		want := fmt.Sprintf("line %d\n", i)
		if _, err := io.WriteString(spool, want); err != nil {
			t.Fatal(err)
		}
		if got, err := lines.ReadString('\n'); got != want || err != nil {
			t.Fatalf("read %q, %v; want %q", got, err, want)
		}
		if text, ok := storage.get("log"); i > 0 && (!ok || len(text.data) == 0) {
			t.Error("there is no text after the first flush")
		}
	}
	spool.Close()
	if rest, err := io.ReadAll(lines); len(rest) != 0 || err != nil {
		t.Errorf("at the end: %q, %v", rest, err)
	}
	if err := <-published; err != nil {
		t.Error(err)
	}
}
