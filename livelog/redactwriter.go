package livelog

import (
	"cmp"
	"io"
	"slices"
	"sync"
	"time"
)

// RedactingWriter passes on what is written to it, in order, without the secrets of its [Redactor].
// It is safe for concurrent use: the bytes of one Write stay together, as one stream with those before and after.
//
// What may be the beginning of a secret is held back: the end of what was written, where it is exactly how a form
// of a secret begins. What follows tells. Without that, after 100 to 200 ms or with Flush and Close, the beginning is passed
// on if it has fewer than [MinSecret] bytes, and counts as secret if it has more. With the end of a line it is passed on
// at once, if it is that short. It is remembered: if the rest of the secret comes later, the rest is redacted.
//
// So no byte is held for longer than 200 ms, a whole line hardly ever, and however slowly a secret is written, in whatever
// pieces, and also if it is cut off, nobody sees more of it than its first 5 bytes. The price: where the writer stops for a
// while right after 6 bytes or more that are the beginning of a secret, these are blanked, whatever follows.
//
// Without secrets a Write is a Write of what is below, and no more.
type RedactingWriter struct {
	redactor *Redactor
	to       io.Writer

	mu      sync.Mutex
	closed  bool
	held    []byte   // the end of what was written: it may go on to be a secret
	passed  int      // bytes of held that are dealt with: passed on or redacted
	marked  bool     // the last byte that was dealt with is redacted, and said to be
	written int64    // bytes written in all, to tell what the timer is for
	found   []extent // kept to be used again, as the two that follow
	data    []byte
	out     []byte

	timer  *time.Timer    // on while bytes are held back
	firing sync.WaitGroup // timers that are on or in work
}

// maxPiece bounds what is scanned at once, so that a huge Write needs no huge buffer.
const maxPiece = 64 << 10

// Write takes over all of p: n is len(p), although some of it may be held back for now, unless the writer below
// fails. Then n says how many bytes of p are sure to be passed on, and the rest of p has been offered to it all the
// same: a writer that counts what it loses counts right. What was held back from earlier may be what fails.
// After Close the error is [ErrSealed].
func (w *RedactingWriter) Write(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, ErrSealed
	}
	forms := w.redactor.forms.Load()
	if forms == nil {
		w.written += int64(len(p))
		return w.to.Write(p)
	}
	for rest := p; len(rest) > 0; {
		piece := rest[:min(len(rest), maxPiece)]
		rest = rest[len(piece):]
		passed, pieceErr := w.writePiece(forms, piece, len(rest) == 0)
		if err == nil {
			n, err = n+passed, pieceErr
		}
	}
	w.setTimer()
	return n, err
}

// writePiece passes on what can be told of the bytes held and of piece, and holds the rest.
func (w *RedactingWriter) writePiece(forms *formSet, piece []byte, last bool) (n int, err error) {
	w.written += int64(len(piece))
	data := piece
	if len(w.held) > 0 {
		w.data = append(append(w.data[:0], w.held...), piece...)
		data = w.data
	}
	found, alive := forms.scan(data, w.found[:0])
	w.found = found
	slices.SortFunc(found, func(a, b extent) int { return cmp.Compare(a.begin, b.begin) })

	show := alive
	if last && len(data)-alive < MinSecret && endsLine(data) {
		show = len(data)
	}
	before, at := len(data)-len(piece), w.passed
	switch {
	case len(found) > 0:
		w.out, at = w.render(data, at, show, found)
		if len(w.out) > 0 {
			_, err = w.to.Write(w.out)
		}
	case at < show: // most output has no secrets: it is not copied
		n, err = w.to.Write(data[at:show])
		w.marked, n, at = false, max(0, at+n-before), show
	}
	if err == nil {
		n = len(piece)
	}
	w.held = append(w.held[:0], data[alive:]...)
	w.passed = at - alive
	return n, err
}

func endsLine(data []byte) bool {
	c := data[len(data)-1]
	return c == '\n' || c == '\r'
}

// render is what is to be passed on of data from at on, and where it ends: at show, or where the secrets around it end.
func (w *RedactingWriter) render(data []byte, at, show int, found []extent) ([]byte, int) {
	out := w.out[:0]
	for _, s := range found {
		if s.end <= at {
			continue
		}
		if at < s.begin {
			if s.begin > show {
				break
			}
			out = append(out, data[at:s.begin]...)
			w.marked = false
		}
		out = w.mark(out)
		at = s.end
	}
	if at < show {
		out = append(out, data[at:show]...)
		w.marked, at = false, show
	}
	return out, at
}

// mark says that there was a secret, once for all that are next to each other.
func (w *RedactingWriter) mark(out []byte) []byte {
	if w.marked {
		return out
	}
	w.marked = true
	return append(out, Redacted...)
}

// Flush decides at once on all that is held back. The error is that of the writer below.
func (w *RedactingWriter) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.release(w.written)
	w.setTimer()
	return err
}

// release decides on what is held back of the bytes before upTo, counted as written is.
func (w *RedactingWriter) release(upTo int64) error {
	end := len(w.held) - int(w.written-upTo)
	if end <= w.passed {
		return nil
	}
	rest := w.held[w.passed:end]
	if len(w.held) >= MinSecret {
		end, rest = len(w.held), w.mark(nil)
	} else {
		w.marked = false
	}
	w.passed = end
	if len(rest) == 0 {
		return nil
	}
	_, err := w.to.Write(rest)
	return err
}

// Close flushes, and waits until nothing more is going on. It does not close the writer below. Closing again does nothing.
func (w *RedactingWriter) Close() error {
	w.mu.Lock()
	err := w.release(w.written)
	w.closed, w.held, w.passed = true, nil, 0
	w.setTimer()
	w.mu.Unlock()
	w.firing.Wait()
	return err
}

// setTimer keeps a timer on while bytes are held back. When it fires, it decides on those that were there when it was set.
func (w *RedactingWriter) setTimer() {
	waiting := len(w.held) > w.passed
	switch {
	case w.timer != nil && !waiting:
		if w.timer.Stop() {
			w.firing.Done()
		}
		w.timer = nil
	case w.timer == nil && waiting:
		set := w.written
		w.firing.Add(1)
		var timer *time.Timer
		timer = time.AfterFunc(moment, func() {
			defer w.firing.Done()
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.timer != timer {
				return // stopped too late
			}
			w.timer = nil
			_ = w.release(set) // whoever has to know of a loss asks the writer below
			w.setTimer()
		})
		w.timer = timer
	}
}
