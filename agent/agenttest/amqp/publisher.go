package amqp

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// Exchanges are those of the protocol.
func Exchanges() []string {
	return []string{"queue/v1/task-pending", "queue/v1/task-running", "queue/v1/task-completed", "queue/v1/task-failed"}
}

// Publisher hands events to a broker until it is closed. Its methods are safe for concurrent use.
type Publisher struct {
	server  *agenttest.Server
	url     schema.SignedURL
	options Options
	link    *link
	end     context.CancelFunc
	ended   chan struct{}

	pending []agenttest.Event // not confirmed, in their order
	fetched int               // number of the last event that was

	mu        sync.Mutex
	confirmed int           // every event up to this number is
	progress  chan struct{} // closed when confirmed changes
}

// Publish hands all events of server, from its first one on, to the broker at url (see [ParseURL]). It returns when the broker has been reached and
// its exchanges are declared. Until then it tries again and again until ctx ends; an error that errors.Is [ErrRefused] ends that at once.
// Afterwards it reconnects for ever, refused or not. Close the Publisher before the server.
func Publish(ctx context.Context, server *agenttest.Server, url schema.SignedURL, o Options) (*Publisher, error) {
	o.setDefaults()
	p := &Publisher{server: server, url: url, options: o, ended: make(chan struct{}), progress: make(chan struct{})}
	var err error
	if p.link, err = dialUntil(ctx, url, &p.options, false, declare); err != nil {
		return nil, fmt.Errorf("publish events: %w", err)
	}
	live, end := context.WithCancel(context.WithoutCancel(ctx))
	p.end = end
	go func() {
		defer close(p.ended)
		p.run(live)
	}()
	return p, nil
}

// declare makes the exchanges, and has the broker confirm what it takes.
func declare(l *link) error {
	for _, name := range Exchanges() {
		if err := l.ExchangeDeclare(name, amqp091.ExchangeTopic, true, false, false, false, nil); err != nil {
			return fmt.Errorf("declare exchange %s: %w", name, err)
		}
	}
	return l.Confirm(false)
}

// run publishes until ctx ends.
func (p *Publisher) run(ctx context.Context) {
	defer func() { p.link.close() }()
	for failures := 0; ; {
		if !p.fetch(ctx) {
			return
		}
		count := len(p.pending)
		err := p.publish(ctx)
		p.settle()
		if ctx.Err() != nil {
			return
		}
		if len(p.pending) < count {
			failures = 0
		}
		if err == nil {
			continue
		}
		p.options.Logger.Warn("events wait to be published", "events", len(p.pending), "err", err)
		if !p.options.pause(ctx, failures) || !p.reconnect(ctx) {
			return
		}
		failures++
	}
}

// fetch takes what there is to be published, and waits for it if that is nothing yet; false when ctx or the server has ended.
func (p *Publisher) fetch(ctx context.Context) bool {
	if p.server.LastEvent() == p.fetched && len(p.pending) > 0 {
		return true
	}
	events, err := p.server.EventsAfter(ctx, p.fetched)
	if err != nil {
		return false
	}
	p.pending = append(p.pending, events...)
	p.fetched = events[len(events)-1].Number
	return true
}

// publish sends a batch, waits for what becomes of it, and keeps in p.pending whatever is not confirmed.
func (p *Publisher) publish(ctx context.Context) error {
	defer context.AfterFunc(ctx, p.link.abort)()
	sent := p.pending[:batch(p.pending)]
	confirmations := make([]*amqp091.DeferredConfirmation, 0, len(sent))
	var failure error
	for _, e := range sent {
		confirmation, err := p.link.PublishWithDeferredConfirm(e.Exchange, e.RoutingKey, false, false,
			amqp091.Publishing{ContentType: "application/json", DeliveryMode: amqp091.Persistent, Body: e.Body})
		if err != nil {
			failure = failed(ctx, "publish to "+p.url.String(), err)
			break
		}
		confirmations = append(confirmations, confirmation)
	}
	var left []agenttest.Event
	for i, e := range sent {
		if i < len(confirmations) {
			acked, err := confirmations[i].WaitContext(ctx) // a connection that breaks confirms nothing
			if acked && err == nil {
				continue
			}
		}
		left = append(left, e)
	}
	confirmed := len(sent) - len(left)
	copy(p.pending[confirmed:], left)
	p.pending = p.pending[confirmed:]
	if failure == nil && len(left) > 0 {
		failure = fmt.Errorf("%d of %d messages are not confirmed by %s", len(left), len(sent), p.url)
	}
	return failure
}

// settle tells Close how far it has come.
func (p *Publisher) settle() {
	confirmed := p.fetched
	if len(p.pending) > 0 {
		confirmed = p.pending[0].Number - 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if confirmed > p.confirmed {
		p.confirmed = confirmed
		close(p.progress)
		p.progress = make(chan struct{})
	}
}

// reconnect replaces the link; false when ctx has ended.
func (p *Publisher) reconnect(ctx context.Context) bool {
	p.link.close()
	l, err := dialUntil(ctx, p.url, &p.options, true, declare)
	if err != nil {
		return false
	}
	p.options.Logger.Info("connected to the broker again", "url", p.url.String(), "events", len(p.pending))
	p.link = l
	return true
}

// Unconfirmed is the error of a Close that had too little time.
type Unconfirmed struct {
	Events int   // that the broker has not, or may not have; it may have some of them
	Err    error // why Close did not wait any longer
}

func (e *Unconfirmed) Error() string {
	return fmt.Sprintf("publish events: %d may be lost, the broker has not confirmed them: %v", e.Events, e.Err)
}

func (e *Unconfirmed) Unwrap() error { return e.Err }

// Close waits until the broker has confirmed every event of the server so far, or ctx ends, and then disconnects. The error is an [*Unconfirmed].
func (p *Publisher) Close(ctx context.Context) error {
	target := p.server.LastEvent()
	var err error
	for err == nil {
		p.mu.Lock()
		confirmed, progress := p.confirmed, p.progress
		p.mu.Unlock()
		if confirmed >= target {
			break
		}
		select {
		case <-progress:
			continue
		case <-p.ended:
			err = errors.New("the publisher or the server was closed before")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		err = &Unconfirmed{Events: target - confirmed, Err: err}
	}
	p.end()
	<-p.ended
	return err
}
