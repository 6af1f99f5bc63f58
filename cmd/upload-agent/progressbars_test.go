package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"
)

// screen is what a terminal gets.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until the screen has been given a text.
func (s *screen) await(t *testing.T, want string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(30 * time.Second); !strings.Contains(s.String(), want); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("no %q on the screen:\n%q", want, s)
		}
	}
}

// Bars show what is worth one, and all of it; lines go above, and nowhere else once they are gone.
func TestBars(t *testing.T) {
	var out screen
	tally := newTally()
	o := tally.observer("")
	io := &stdio{err: &out, side: &aside{to: &out}}
	on := mpb.New(mpb.WithOutput(&out), mpb.WithAutoRefresh(), mpb.WithRefreshRate(5*time.Millisecond))
	io.above(on)
	ticks, ended, done := make(chan time.Time), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		drawBars(on, tally, ticks, ended)
	}()
	o.ArtifactAdded("small", 10)
	for i := range 6 {
		o.ArtifactAdded(fmt.Sprintf("dist/large-%d\x1b", i), 8<<20)
		o.ArtifactSent(fmt.Sprintf("dist/large-%d\x1b", i), 4<<20, 8<<20)
	}
	ticks <- time.Time{}
	out.await(t, "all            [==========>-----------]  0 of 7 artifacts, 24.0 MiB of 48.0 MiB")
	out.await(t, "dist/large-0\uFFFD")
	fmt.Fprintln(io.notices(), "a line of the log")
	out.await(t, "a line of the log\n")
	o.ArtifactMissing("dist/large-0\x1b", "gone")
	ticks <- time.Time{}
	out.await(t, "1 of 7 artifacts, 20.0 MiB of 40.0 MiB")
	close(ended)
	<-done
	io.above(nil)
	on.Wait()
	fmt.Fprintln(io.notices(), "the end")
	text := out.String()
	if !strings.HasSuffix(text, "the end\n") || strings.Count(text, "a line of the log\n") != 1 {
		t.Errorf("lines are lost: %q", text)
	}
	if strings.Contains(text, "dist/large-5") || strings.Contains(text, "small ") {
		t.Errorf("bars of what is not worth one: %q", text)
	}
	if strings.Contains(text, "\x1b[3") || strings.Contains(text, "large-0\x1b") {
		t.Errorf("it steers the terminal, or has colours: %q", text)
	}
}
