package agenttest

import (
	"io"
	"slices"
	"time"
)

// slow serves the request through a body and an answer that trickle.
func (x *exchange) slow() {
	t := &trickle{rate: 64 << 10, left: 2 * time.Second, gone: x.r.Context().Done(), closing: x.s.closing}
	t.wait(50 * time.Millisecond)
	slowed := x.r.WithContext(x.r.Context())
	slowed.Body = slowBody{x.r.Body, t}
	x.serve(&slowWriter{x.w, t}, slowed)
}

// trickle spends the delays of one request.
type trickle struct {
	rate          int           // bytes a second
	left          time.Duration // of all delays together
	gone, closing <-chan struct{}
}

const tricklePiece = 4 << 10

func (t *trickle) bytes(n int) { t.wait(time.Duration(n) * time.Second / time.Duration(t.rate)) }

func (t *trickle) wait(d time.Duration) {
	d = min(d, t.left)
	t.left -= d
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.gone:
	case <-t.closing:
	}
}

type slowBody struct {
	io.ReadCloser
	t *trickle
}

func (b slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), tricklePiece)])
	b.t.bytes(n)
	return n, err
}

type slowWriter struct {
	*statusWriter
	t *trickle
}

func (w *slowWriter) Write(p []byte) (int, error) {
	written := 0
	for piece := range slices.Chunk(p, tricklePiece) {
		w.t.bytes(len(piece))
		n, err := w.statusWriter.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		w.flush()
	}
	return written, nil
}
