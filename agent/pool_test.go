package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// line asks for a turn in the background, and notes who has got one.
type line struct {
	t     *testing.T
	pool  *Pool
	turns []string
	ends  map[string]func()
}

func newLine(t *testing.T, uploads int) *line {
	return &line{t: t, pool: NewPool(uploads), ends: map[string]func(){}}
}

func (l *line) join(ctx context.Context, name string, large bool) {
	go func() {
		end, err := l.pool.acquire(ctx, large)
		if err != nil {
			l.turns = append(l.turns, name+" gave up")
			return
		}
		l.turns, l.ends[name] = append(l.turns, name), end
	}()
	synctest.Wait() // so that the next one comes later
}

func (l *line) end(name string) {
	l.ends[name]()
	synctest.Wait()
}

func (l *line) want(names ...string) {
	l.t.Helper()
	got := l.turns
	l.turns = nil
	if len(got) != len(names) {
		l.t.Fatalf("turns of %q, want %q", got, names)
	}
	for i := range names {
		if got[i] != names[i] {
			l.t.Fatalf("turns of %q, want %q", got, names)
		}
	}
}

func TestPoolGivesTurnsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, 2)
		for _, name := range []string{"a", "b", "c", "d"} {
			l.join(t.Context(), name, false)
		}
		l.want("a", "b")
		l.end("b")
		l.want("c")
		l.join(t.Context(), "e", false)
		l.end("a")
		l.end("c")
		l.want("d", "e")
		l.end("d")
		l.end("e")
	})
}

func TestPoolKeepsALaneForEachKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, 3)
		for _, name := range []string{"L1", "L2", "L3"} {
			l.join(t.Context(), name, true)
		}
		l.want("L1", "L2")
		for _, name := range []string{"s1", "s2", "s3"} {
			l.join(t.Context(), name, false)
		}
		l.want("s1")
		l.end("L1")
		l.want("s2")
		l.end("L2") // the last of the large ones: the next is one of them
		l.want("L3")
		l.end("s1")
		l.want("s3")
		for _, name := range []string{"s2", "s3", "L3"} {
			l.end(name)
		}
	})
}

func TestPoolForgetsWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, 1)
		ctx, cancel := context.WithCancelCause(t.Context())
		l.join(t.Context(), "a", false)
		l.join(ctx, "b", false)
		l.join(t.Context(), "c", false)
		l.want("a")
		cancel(errors.New("enough"))
		synctest.Wait()
		l.want("b gave up")
		l.end("a")
		l.want("c")
		l.end("c")
		if l.pool.lanes.active != 0 || len(l.pool.small) != 0 {
			t.Errorf("left over: %+v, %d in the line", l.pool.lanes, len(l.pool.small))
		}
	})
}
