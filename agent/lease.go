package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// lease keeps a claim alive: it reclaims well before the claim lapses, or when
// somebody needs fresh signed URLs, and says when the claim is lost.
type lease struct {
	q      *queue.Client
	taskID schema.TaskID
	runID  schema.RunID
	worker schema.Worker
	logger *slog.Logger
	wake   chan struct{}   // somebody wants fresh URLs; one waiting request is enough
	note   func(time.Time) // is told of every new end of the claim

	mu      sync.Mutex
	claim   schema.Claim
	term    term
	count   int           // of reclaims
	renewed chan struct{} // closed and replaced with every reclaim
}

// term is how long a claim holds, by our own clock.
type term struct{ from, until time.Time }

// renewal is when to reclaim: at half time, so that a queue may be away for the other half.
func (t term) renewal() time.Time { return t.from.Add(t.until.Sub(t.from) / 2) }

// lapse is when the claim has to be taken for lost. The margin is for what is on
// its way when that moment comes.
func (t term) lapse() time.Time {
	return t.until.Add(-max(0, min(t.until.Sub(t.from)/20, 2*time.Second)))
}

// holds says whether the claim is certain at that moment. Both clocks have to agree: the wall clock may
// have been set back, and the monotonic one stands still while a machine sleeps.
func (t term) holds(now time.Time) bool {
	lapse := t.lapse().Round(0)
	return now.Before(lapse) && now.Sub(t.from) < lapse.Sub(t.from)
}

// shortestClaim is the length of a claim whose end nobody has told; the queue grants no shorter ones.
const shortestClaim = 30 * time.Second

// termOf reads the end of a claim out of its signed URLs, which expire with it.
// The status is asked only where they do not say: the first queue's status is the one
// from before the claim, and at times another task's. The skew is the queue's clock minus ours.
func termOf(c schema.Claim, now time.Time, skew time.Duration) term {
	var until time.Time
	for _, u := range []schema.SignedURL{c.LogsPutURL, c.ResultPutURL} {
		if t, ok := upload.Expiry(u); ok && (until.IsZero() || t.Before(until)) {
			until = t
		}
	}
	if until.IsZero() {
		until = queue.TakenUntil(c, now.Add(skew))
	}
	if until.IsZero() {
		return term{now, now.Add(shortestClaim)}
	}
	return term{now, until.Add(-skew)}
}

func newLease(q *queue.Client, c schema.Claim, logger *slog.Logger) *lease {
	return &lease{
		q: q, taskID: c.Task(), runID: c.RunID, worker: c.Worker, logger: logger,
		wake:    make(chan struct{}, 1),
		note:    func(time.Time) {},
		claim:   c,
		term:    termOf(c, time.Now(), q.Skew()),
		renewed: make(chan struct{}),
	}
}

// keep reclaims until ctx ends (nil) or the claim is lost (a *ClaimLostError).
func (l *lease) keep(ctx context.Context) error {
	for {
		timer := time.NewTimer(time.Until(l.current().renewal()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-l.wake:
			timer.Stop()
		case <-timer.C:
		}
		if err := l.reclaim(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return &ClaimLostError{TaskID: l.taskID, RunID: l.runID, Err: err}
		}
	}
}

// deadline is when a reclaim that begins now has to be done.
func (l *lease) deadline(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.term.lapse()
	if l.count == 0 && !now.Before(at) {
		return now.Add(firstReclaim)
	}
	return at
}

// holds says whether the claim is ours for certain, by what the queue has said so far.
func (l *lease) holds() error {
	if l.current().holds(time.Now()) {
		return nil
	}
	return &ClaimLostError{TaskID: l.taskID, RunID: l.runID, Err: errLapsed}
}

func (l *lease) current() term {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

var errLapsed = errors.New("the claim lapsed before the queue had renewed it")

// firstReclaim is how long the first reclaim may take even if the claim seems to have lapsed:
// before the queue has answered anything, our own clock may be the wrong one.
const firstReclaim = 10 * time.Second

// reclaim asks until the queue has answered, and at the latest until the claim lapses.
func (l *lease) reclaim(ctx context.Context) error {
	ctx, cancel := context.WithDeadlineCause(ctx, l.deadline(time.Now()), errLapsed)
	defer cancel()
	for {
		c, err := l.q.Reclaim(ctx, l.taskID, l.runID, l.worker)
		switch {
		case err == nil:
			l.renew(c)
			return nil
		case ctx.Err() != nil || errors.Is(err, queue.ErrNotFound):
			return err
		}
		// A refusal of another kind may be the queue's mistake: the claim still holds.
		l.logger.Warn("queue refuses to reclaim; trying again", "task", l.taskID, "run", l.runID, "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last answer: %w", context.Cause(ctx), err)
		case <-time.After(time.Second):
		}
	}
}

func (l *lease) renew(c schema.Claim) {
	t := termOf(c, time.Now(), l.q.Skew())
	l.note(t.until)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claim, l.term = c, t
	l.count++
	close(l.renewed)
	l.renewed = make(chan struct{})
	l.logger.Debug("claim renewed", "task", l.taskID, "run", l.runID, "until", t.until)
}

// documentGrants gives the grant of one of the claim's two documents, and renews it.
// The returned function answers every call but the first with URLs of a later reclaim.
func (l *lease) documentGrants(of func(schema.Claim) schema.SignedURL) func(context.Context) (upload.Grant, error) {
	seen := -1
	return func(ctx context.Context) (upload.Grant, error) {
		for {
			l.mu.Lock()
			claim, count, renewed := l.claim, l.count, l.renewed
			l.mu.Unlock()
			if count > seen {
				seen = count
				return upload.Grant{URL: of(claim), ContentType: jsonType}, nil
			}
			l.hurry()
			select {
			case <-renewed:
			case <-ctx.Done():
				return upload.Grant{}, context.Cause(ctx)
			}
		}
	}
}

// hurry makes the lease reclaim now.
func (l *lease) hurry() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func checkClaim(c schema.Claim) error {
	if !c.Task().Valid() {
		return fmt.Errorf("check claim: taskId %q is not 22 characters of A-Z a-z 0-9 - _", c.Task())
	}
	if c.WorkerGroup == "" || c.WorkerID == "" {
		return errors.New("check claim: workerGroup and workerId are missing; add them to the queue's answer")
	}
	for member, u := range map[string]schema.SignedURL{"logsPutUrl": c.LogsPutURL, "resultPutUrl": c.ResultPutURL} {
		p, err := url.Parse(u.Reveal())
		if err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
			return fmt.Errorf("check claim: %s is not an http or https URL", member)
		}
	}
	return nil
}
