package livelog_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// What is forecast of a log is what Publish stores of it, in virtual time: the indexes but for what jitter does, everything else exactly.
func TestForecast(t *testing.T) {
	for _, c := range []struct {
		name string
		g    livelog.Growth
		o    livelog.PublishOptions
	}{
		{"quiet", livelog.Growth{Piece: 100, Every: 6 * time.Second, Length: 10 * time.Minute}, livelog.PublishOptions{}},
		{"chatty", livelog.Growth{Piece: 100, Every: 100 * time.Millisecond, Length: 5 * time.Minute}, livelog.PublishOptions{}},
		{"chatty, flushed less often", livelog.Growth{Piece: 100, Every: time.Second, Length: 30 * time.Minute}, livelog.PublishOptions{Interval: 10 * time.Second}},
		{"fast", livelog.Growth{Piece: 100_000, Every: 100 * time.Millisecond, Length: 8 * time.Second}, livelog.PublishOptions{}},
		{"one line", livelog.Growth{Piece: 100, Length: time.Minute}, livelog.PublishOptions{}},
		{"long pauses", livelog.Growth{Piece: 50_000, Every: 7 * time.Minute, Length: time.Hour}, livelog.PublishOptions{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := livelog.NewForecast(c.g, c.o, livelog.ReaderOptions{})
				b := &bucket{objects: map[string]bucketObject{}}
				spool := livelog.NewSpool(endless{}, 0)
				var published livelog.Published
				var err error
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					published, err = livelog.Publish(t.Context(), "log", spool, b.store, c.o)
				}()
				read := make(chan error, 1)
				go func() {
					reader := livelog.NewReader(t.Context(), base+livelog.IndexName("log"), livelog.ReaderOptions{Transport: b})
					defer reader.Close()
					_, err := io.Copy(io.Discard, reader)
					read <- err
				}()
				write(spool, c.g)
				if <-ended; err != nil {
					t.Fatal(err)
				}
				if err := <-read; err != nil {
					t.Fatal(err)
				}
				t.Logf("indexes %d (forecast %d), chunks %d (%d), text in chunks %d (%d), texts %d (%d), looks %d (%d), reads %d (%d)", published.Indexes, len(f.Indexes),
					published.Chunks, f.Chunks, published.ChunkedText, f.ChunkedText, b.texts, len(f.Texts), b.looks, f.Looks, b.reads, f.Reads)
				foretold(t, "size", published.Size, f.Size, 0)
				foretold(t, "indexes", published.Indexes, len(f.Indexes), 0.02)
				foretold(t, "chunks", published.Chunks, f.Chunks, 0.02)
				foretold(t, "text in chunks", published.ChunkedText, f.ChunkedText, 0.15) // chunks may be merged a flush earlier
				foretold(t, "texts", b.texts, len(f.Texts), 0.02)
				foretold(t, "looks of a reader", b.looks, f.Looks, 0.1)
				foretold(t, "chunks read", b.reads, f.Reads, 0.1)
			})
		})
	}
}

// In the first hour there is a flush each second, in the eleventh one each ten, and a twentieth less for the jitter.
func TestForecastOfAnOldLog(t *testing.T) {
	f := livelog.NewForecast(livelog.Growth{Piece: 100, Every: 100 * time.Millisecond, Length: 12 * time.Hour}, livelog.PublishOptions{}, livelog.ReaderOptions{})
	in := func(hour int) (n int) {
		for _, age := range f.Indexes {
			if age/time.Hour == time.Duration(hour-1) {
				n++
			}
		}
		return n
	}
	foretold(t, "flushes of the first hour", 3600*20/21, in(1), 0.01)
	foretold(t, "flushes of the eleventh hour", 360*20/21, in(11), 0.01)
}

// write makes a log grow, and ends it.
func write(spool *livelog.Spool, g livelog.Growth) {
	start, piece := time.Now(), make([]byte, g.Piece)
	for {
		spool.Write(piece)
		age := time.Since(start)
		if g.Every == 0 || age+g.Every >= g.Length {
			<-time.After(g.Length - age)
			spool.Close()
			return
		}
		<-time.After(g.Every)
	}
}

// foretold fails unless got is forecast, give or take a part of it, and one.
func foretold[T int | int64](t *testing.T, what string, got, forecast T, part float64) {
	t.Helper()
	bound := part * float64(got)
	if part > 0 {
		bound++
	}
	if math.Abs(float64(got-forecast)) > bound {
		t.Errorf("%s: %d, forecast were %d; want them to be the same but for %.0f", what, got, forecast, bound)
	}
}

// bucket stores objects, answers a reader at once, and counts.
type bucket struct {
	mu                  sync.Mutex
	objects             map[string]bucketObject
	texts, looks, reads int
}

type bucketObject struct {
	data           []byte
	encoding, etag string
}

func (b *bucket) store(_ context.Context, o livelog.Object) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.Name == "log" {
		b.texts++
		return base + o.Name, nil
	}
	data, err := io.ReadAll(o.Body)
	b.objects[base+o.Name] = bucketObject{data, o.ContentEncoding, fmt.Sprintf("%q", fmt.Sprint(len(b.objects[base+o.Name].etag), time.Now().UnixNano()))}
	return base + o.Name, err
}

func (b *bucket) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	url := r.URL.String()
	if url == base+livelog.IndexName("log") {
		b.looks++
	} else {
		b.reads++
	}
	o, ok := b.objects[url]
	answer := httptest.NewRecorder()
	switch {
	case !ok:
		answer.WriteHeader(http.StatusNotFound)
	case r.Header.Get("If-None-Match") == o.etag:
		answer.WriteHeader(http.StatusNotModified)
	default:
		answer.Header().Set("ETag", o.etag)
		if o.encoding != "" {
			answer.Header().Set("Content-Encoding", o.encoding)
		}
		answer.Write(o.data)
	}
	return answer.Result(), nil
}
