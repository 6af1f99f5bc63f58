package upload

import (
	"context"
	"io"
	"time"

	"golang.org/x/time/rate"
)

// Limiter bounds how many bytes per second are sent, by all clients that share it ([Options].Limiter). Uploads take turns, piece by piece, so
// that a large one holds up nobody. What has PutOptions.First does not wait, but the others wait for it, up to a second's worth.
// Bodies count, whatever becomes of them, and nothing else: no headers, no answers. It is safe for concurrent use.
type Limiter struct {
	rate  *rate.Limiter
	piece int
}

// Pieces are a sixteenth of a second's worth, within bounds: small enough that a storage sees an upload move although others take their turns.
const (
	smallestPiece = 1 << 10
	largestPiece  = 32 << 10
)

// NewLimiter lets so many bytes per second through; one, if it is less.
func NewLimiter(bytesPerSecond int64) *Limiter {
	bytesPerSecond = max(1, bytesPerSecond)
	piece := int(min(largestPiece, max(smallestPiece, bytesPerSecond/16)))
	return &Limiter{rate: rate.NewLimiter(rate.Limit(bytesPerSecond), piece), piece: piece}
}

// wait waits until n bytes may be sent. The error is the cause of ctx.
func (l *Limiter) wait(ctx context.Context, n int64) error {
	for n > 0 {
		now, piece := time.Now(), min(n, int64(l.piece))
		turn := l.rate.ReserveN(now, int(piece))
		if pause := turn.DelayFrom(now); pause > 0 {
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				turn.Cancel()
				return context.Cause(ctx)
			}
		}
		n -= piece
	}
	return nil
}

// count notes n bytes that are sent without waiting.
func (l *Limiter) count(n int64) {
	for n > 0 {
		now, piece := time.Now(), min(n, int64(l.piece))
		if l.rate.TokensAt(now) < -float64(l.rate.Limit()) {
			return
		}
		l.rate.ReserveN(now, int(piece))
		n -= piece
	}
}

// admit is what a body of an attempt does before n bytes are sent. While it waits, the attempt has not stalled.
func (p *put) admit(ctx context.Context, dog *watchdog, n int64) error {
	l := p.client.options.Limiter
	switch {
	case l == nil:
		return nil
	case p.options.First:
		l.count(n)
		return nil
	}
	dog.held.Add(1)
	defer dog.held.Add(-1)
	return l.wait(ctx, n)
}

// limit has the bodies that next makes wait for their turns.
func (p *put) limit(ctx context.Context, dog *watchdog, next func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	l := p.client.options.Limiter
	if l == nil || p.content.size == 0 {
		return next
	}
	return func() (io.ReadCloser, error) {
		body, err := next()
		if err != nil {
			return nil, err
		}
		return &limitedBody{ReadCloser: body, piece: l.piece, left: p.content.size, admit: func(n int64) error { return p.admit(ctx, dog, n) }}, nil
	}
}

// limitedBody is a body that waits for its turns.
type limitedBody struct {
	io.ReadCloser
	piece int
	left  int64
	admit func(n int64) error
}

// Read waits without the lock of the body, which its Close takes.
func (b *limitedBody) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), int64(b.piece))]
	if err := b.admit(min(int64(len(p)), b.left)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}
