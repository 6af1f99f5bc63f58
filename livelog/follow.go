package livelog

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// buffer is what a follower holds while it has something to send, and only then. Half of it would cost nearly a third more of time for
// those who have much to read, as the server sends each piece in two, and twice as much would save a tenth.
type buffer [128 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// eventBytes is how much of the log one event holds. What comes after them in a buffer is its text.
const eventBytes = 24 << 10

var (
	errShrunk = errors.New("the log has lost bytes that were sent")
	errQuiet  = errors.New("nothing new for a while")
)

// copy sends the log from off to end, as it grows, until it ends, and says how far it got: to the size of the log, if that has ended,
// also if it never got as far as off. Every idle without news, if that is more than 0, it sends nothing at all.
func (h *Handler) copy(a *answer, off, end int64, idle time.Duration,
	room func(*buffer) []byte, send func(buf *buffer, p []byte, off int64) error,
) (int64, error) {
	start := off
	for off < end {
		size, sealed, err := h.wait(a.ctx, off, idle)
		switch {
		case errors.Is(err, errQuiet):
			if err := send(nil, nil, off); err != nil {
				return off, err
			}
		case err != nil:
			return off, err
		case size < off && off > start:
			return off, errShrunk
		}
		for to := min(size, end); off < to; {
			buf := buffers.Get().(*buffer)
			p := room(buf)
			p = p[:min(int64(len(p)), to-off)]
			n, err := h.spool.file.ReadAt(p, off)
			if n > 0 {
				off += int64(n)
				err = send(buf, p[:n], off)
			} else if err == io.EOF {
				err = errShrunk // while it was read
			}
			buffers.Put(buf)
			if err != nil {
				return off, err
			}
		}
		if err := a.flush(); err != nil {
			return off, err
		}
		if sealed {
			return size, nil
		}
	}
	return off, nil
}

// wait is Spool.Wait, which gives up with errQuiet after idle, if that is more than 0.
func (h *Handler) wait(ctx context.Context, seen int64, idle time.Duration) (int64, bool, error) {
	if idle > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, idle, errQuiet)
		defer cancel()
	}
	return h.spool.Wait(ctx, seen)
}

// events sends the log as Server-Sent Events as it grows.
func (h *Handler) events(a *answer, req *http.Request, q request) error {
	a.Header().Set(offsetHeader, strconv.FormatInt(q.offset, 10))
	return h.stream(a, req, eventType, http.StatusOK, func() error {
		off, err := h.copy(a, q.offset, q.end, h.o.KeepAlive, func(buf *buffer) []byte { return buf[:eventBytes] }, a.event)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a, "event: end\nid: %d\ndata: %d\n\n", off, off)
		return err
	})
}

// event sends p, the bytes of the log up to off, as an event, and a comment if there are none.
func (a *answer) event(buf *buffer, p []byte, off int64) error {
	if len(p) == 0 {
		_, err := io.WriteString(a, ":\n\n")
		return err
	}
	text := append(buf[eventBytes:eventBytes], "id: "...)
	text = strconv.AppendInt(text, off, 10)
	text = append(text, "\ndata: "...)
	text = base64.StdEncoding.AppendEncode(text, p)
	_, err := a.Write(append(text, "\n\n"...))
	return err
}
