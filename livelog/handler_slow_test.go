package livelog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// unreadable is a file that can fail to be read.
type unreadable struct {
	*memoryFile
	now atomic.Bool
}

func (f *unreadable) ReadAt(p []byte, off int64) (int, error) {
	if f.now.Load() {
		return 0, syscall.EIO
	}
	return f.memoryFile.ReadAt(p, off)
}

// While one reader takes nothing, and one little, a log is written and others read it.
func TestHandlerSlowReadersSlowNobody(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	s := newSpool(t)
	url := serveSpool(t, s, nil, public).URL
	p := newPattern()
	const size = 16 << 20 // more than the buffers of the system hold
	stuck, slow, fast := ask(t, ctx, "GET", url+"?follow=1"), ask(t, ctx, "GET", url+"?follow=1"), ask(t, ctx, "GET", url+"?follow=1")
	sse := ask(t, ctx, "GET", url, "Accept: text/event-stream")
	done := make(chan error, 1)
	go func() {
		n, err := p.check(fast.Body, 0)
		if err == nil && n != size {
			err = fmt.Errorf("%d bytes, want %d", n, size)
		}
		done <- err
	}()
	fill(t, s, p, size, 64<<10)
	s.Close()
	if err := <-done; err != nil {
		t.Error("fast:", err)
	}
	// Only now do the others begin.
	if n, err := p.check(&dripping{slow.Body, time.NewTicker(time.Millisecond)}, 0); n != size || err != nil {
		t.Errorf("slow: %d bytes, %v; want %d", n, err, size)
	}
	if n, err := p.check(stuck.Body, 0); n != size || err != nil {
		t.Errorf("stuck: %d bytes, %v; want %d", n, err, size)
	}
	got, err := p.check(&sseLog{t: t, r: newEvents(sse.Body)}, 0)
	if got != size || err != nil {
		t.Errorf("stuck with events: %d bytes, %v; want %d", got, err, size)
	}
}

// dripping gives up to 64 KiB each time that its ticker ticks.
type dripping struct {
	io.Reader
	*time.Ticker
}

func (d *dripping) Read(p []byte) (int, error) {
	<-d.C
	return d.Reader.Read(p[:min(len(p), 64<<10)])
}

// patient is a ResponseWriter to a client that takes each write after a while, or never.
type patient struct {
	http.ResponseWriter
	takes    time.Duration
	deadline time.Time
	taken    strings.Builder
	writes   int
}

func (w *patient) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }
func (w *patient) SetReadDeadline(time.Time) error    { return nil }
func (w *patient) FlushError() error                  { return nil }

func (w *patient) Write(p []byte) (int, error) {
	w.writes++
	left := time.Until(w.deadline)
	if left < w.takes {
		<-time.After(left)
		return 0, os.ErrDeadlineExceeded
	}
	<-time.After(w.takes)
	return w.taken.Write(p)
}

// A reader may take its time for each piece, for days; but one that takes nothing at all is dropped.
func TestHandlerDropsTheDeadAndNotTheSlow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	synctest.Test(t, func(t *testing.T) {
		s, err := livelog.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Remove()
		log := strings.Repeat("0123456789", 1<<20)
		io.WriteString(s, log)
		for _, what := range []string{"now", "follow", "events"} { // with the second the log ends
			for _, takes := range []time.Duration{20 * time.Minute, 300 * time.Hour} {
				if what == "follow" {
					go func() { <-time.After(time.Hour); s.Close() }()
				}
				w := &patient{ResponseWriter: httptest.NewRecorder(), takes: takes}
				url := "/"
				if what == "follow" {
					url = "/?follow=1"
				}
				req := httptest.NewRequestWithContext(t.Context(), "GET", url, nil)
				if what == "events" {
					req.Header.Set("Accept", "text/event-stream")
				}
				start := time.Now()
				dropped := aborts(func() { livelog.NewHandler(t.Context(), s, "log", nil, public).ServeHTTP(w, req) })
				took := time.Since(start)
				if alive := takes < 30*time.Minute; alive == dropped || (alive && took < 20*time.Hour) || (!alive && (took < 28*time.Minute || took > 31*time.Minute)) {
					t.Errorf("%s, %v for each write: dropped is %v after %v and %d writes", what, takes, dropped, took, w.writes)
				} else if alive && what != "events" && w.taken.String() != log {
					t.Errorf("%s: %d bytes", what, w.taken.Len())
				}
			}
		}
	})
}

// blocked is a ResponseWriter to a client that takes nothing until it leaves.
type blocked struct {
	http.ResponseWriter
	leaves chan struct{}
}

func (w *blocked) FlushError() error { return nil }

func (w *blocked) Write([]byte) (int, error) {
	<-w.leaves
	return 0, net.ErrClosed
}

// What a reader who takes nothing costs does not depend on what there is to read.
func TestHandlerHoldsOneBufferForEachBlockedReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	synctest.Test(t, func(t *testing.T) {
		s, err := livelog.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Remove()
		fill(t, s, newPattern(), 8<<20, 64<<10)
		const readers = 90
		h := livelog.NewHandler(t.Context(), s, "log", nil, public)
		leaves := make(chan struct{})
		var all sync.WaitGroup
		before := heap()
		for i := range readers {
			req := httptest.NewRequestWithContext(t.Context(), "GET", []string{"/", "/?follow=1", "/?lines=100000"}[i%3], nil)
			if i%2 == 0 {
				req.Header.Set("Accept", "text/event-stream")
			}
			all.Go(func() {
				if !aborts(func() { h.ServeHTTP(&blocked{httptest.NewRecorder(), leaves}, req) }) {
					t.Error("the answer is whole")
				}
			})
		}
		synctest.Wait() // all are blocked
		each := (heap() - before) / readers
		if each > 160<<10 {
			t.Errorf("each holds %d bytes", each)
		}
		close(leaves)
		all.Wait()
	})
}

// SetWriteDeadline to the past ends a Write as if the client had left.
func (w *blocked) SetWriteDeadline(t time.Time) error {
	if t.Before(time.Now()) {
		close(w.leaves)
	}
	return nil
}

// The end of the handler is also that of an answer whose client takes nothing.
func TestHandlerEndsWhileAClientTakesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	synctest.Test(t, func(t *testing.T) {
		s, err := livelog.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Remove()
		io.WriteString(s, "one\n")
		for _, query := range []string{"", "?follow=1"} {
			ctx, end := context.WithCancel(t.Context())
			req := httptest.NewRequestWithContext(t.Context(), "GET", "/"+query, nil)
			torn := make(chan bool, 1)
			go func() {
				w := &blocked{httptest.NewRecorder(), make(chan struct{})}
				torn <- aborts(func() { livelog.NewHandler(ctx, s, "log", nil, public).ServeHTTP(w, req) })
			}()
			synctest.Wait()
			if len(torn) != 0 {
				t.Fatal("the client takes something")
			}
			end()
			start := time.Now()
			if !<-torn || time.Since(start) > time.Second {
				t.Errorf("%q: whole, or torn after %v", query, time.Since(start))
			}
		}
	})
}

// heap is how much memory is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// aborts reports whether serve tears its connection.
func aborts(serve func()) (aborted bool) {
	defer func() {
		if r := recover(); r == http.ErrAbortHandler {
			aborted = true
		} else if r != nil {
			panic(r)
		}
	}()
	serve()
	return false
}

// A client that reads nothing is dropped on a real connection, too, which is seen from the torn body.
func TestHandlerDropsADeadConnection(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"/", "/?follow=1"} {
		s := newSpool(t)
		p := newPattern()
		const size = 96 << 20 // more than the buffers of the system hold
		fill(t, s, p, size, 64<<10)
		o := public
		o.StallTimeout = 200 * time.Millisecond
		f := serveSpool(t, s, nil, o)
		conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", query)
		f.server.Close() // waits for the answer, but not for ever
		if n, err := io.Copy(io.Discard, conn); n >= size {
			t.Errorf("%s: read all %d bytes, %v", query, n, err)
		}
	}
}

// When an answer cannot go on, no reader takes what it has for the whole log.
func TestHandlerBreaksOff(t *testing.T) {
	cause := errors.New("enough")
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, accept := range []string{"text/plain", "text/event-stream"} {
			for what, cut := range map[string]func(s *livelog.Spool, f *unreadable, end context.CancelCauseFunc){
				"its context ends": func(_ *livelog.Spool, _ *unreadable, end context.CancelCauseFunc) { end(cause) },
				"the log shrinks": func(s *livelog.Spool, f *unreadable, _ context.CancelCauseFunc) {
					f.failSyncs()
					s.Sync()
				},
				"the file is gone": func(s *livelog.Spool, f *unreadable, _ context.CancelCauseFunc) {
					f.now.Store(true)
					io.WriteString(s, "more")
				},
			} {
				t.Run(protocol+" "+accept+" "+what, func(t *testing.T) {
					t.Parallel()
					ctx := within(t)
					f := &unreadable{memoryFile: newFile()}
					s := livelog.NewSpool(f, 0)
					defer s.Release()
					io.WriteString(s, "one\n")

					handling, end := context.WithCancelCause(ctx)
					defer end(nil)
					server := httptest.NewUnstartedServer(livelog.NewHandler(handling, s, "log", nil, public))
					server.EnableHTTP2 = protocol == "HTTP/2.0"
					server.StartTLS()
					defer server.Close()
					req, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"?follow=1", nil)
					req.Header.Set("Accept", accept)
					resp, err := server.Client().Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					if resp.Proto != protocol {
						t.Fatal(resp.Proto)
					}
					if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
						t.Fatal(err)
					}
					cut(s, f, end)
					if rest, err := io.ReadAll(resp.Body); err == nil {
						t.Errorf("ended well after %q", rest)
					}
					if err := server.Config.Shutdown(ctx); err != nil {
						t.Errorf("shutdown: %v", err)
					}
				})
			}
		}
	}
}

// A reader that leaves is noticed while the log is quiet: Close of the server waits for its answer.
func TestHandlerNoticesWhoLeaves(t *testing.T) {
	f := serveSpool(t, newSpool(t), nil, public)
	for _, accept := range []string{"text/plain", "text/event-stream"} {
		ctx, leave := context.WithCancel(within(t))
		ask(t, ctx, "GET", f.URL+"?follow=1", "Accept: "+accept)
		leave()
	}
	f.server.Close()
}

// The server's own timeouts are not for those who follow.
func TestHandlerOutlivesTheTimeoutsOfTheServer(t *testing.T) {
	t.Parallel()
	s := newSpool(t)
	server := httptest.NewUnstartedServer(livelog.NewHandler(t.Context(), s, "log", nil, public))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	server.Start()
	defer server.Close()
	resp := ask(t, within(t), "GET", server.URL+"?follow=1")
	<-time.After(300 * time.Millisecond)
	io.WriteString(s, "one\n")
	s.Close()
	if got, err := io.ReadAll(resp.Body); string(got) != "one\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
