package upload

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// longestAsked bounds a Retry-After where no deadline does.
const longestAsked = 5 * time.Minute

// pace is the pause before the next attempt: jittered and growing, longer where the storage asks for it (Retry-After),
// none where a pause would not help, and always such that another attempt fits in before the deadline.
// It implements [backoff.BackOff]; the library's own limit of 15 minutes is off.
type pace struct {
	first    time.Duration
	longest  time.Duration
	grow     *backoff.ExponentialBackOff    // nil before the first pause
	ctx      context.Context                // ends every pause; its deadline only shortens them
	deadline func() (at time.Time, ok bool) // no attempt starts after it
	asked    time.Duration                  // Retry-After of the last answer
	soon     bool                           // no pause before the next attempt
}

var _ backoff.BackOff = (*pace)(nil)

func newPace(ctx context.Context, o Options, deadline func() (time.Time, bool)) *pace {
	return &pace{ctx: ctx, first: o.MinBackoff, longest: o.MaxBackoff, deadline: deadline}
}

// Reset does nothing: a pace is for one loop, whose first attempt may have failed by then.
func (p *pace) Reset() {}

// next is the next pause, if nobody asks for another one.
func (p *pace) next() time.Duration {
	if p.grow == nil { // not before it is needed: most uploads never fail
		p.grow = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(p.first),
			backoff.WithMaxInterval(p.longest),
			backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0.5),
			backoff.WithMaxElapsedTime(0), // never
		)
	}
	return p.grow.NextBackOff()
}

// NextBackOff is the pause, or backoff.Stop if no attempt fits in before the deadline.
func (p *pace) NextBackOff() time.Duration {
	asked, soon := p.asked, p.soon
	p.asked, p.soon = 0, false
	var pause time.Duration
	if !soon {
		pause = max(p.next(), min(asked, longestAsked))
	}
	// A pause that would outlast a deadline is cut to half of what is left: rather earlier than asked than never.
	shortest := p.first / 2
	if at, ok := p.ctx.Deadline(); ok {
		if left := time.Until(at); pause >= left {
			pause = max(left/2, shortest)
		}
	}
	if at, ok := p.deadline(); ok {
		left := time.Until(at)
		if pause >= left {
			pause = left / 2
		}
		if left <= 0 || !soon && pause < shortest {
			return backoff.Stop
		}
	}
	return pause
}
