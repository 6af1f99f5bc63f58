package amqp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/taskcluster/upload-agent/schema"
)

// Message is what the broker delivered.
type Message struct {
	Exchange    string
	RoutingKey  string
	ContentType string
	Persistent  bool
	Redelivered bool // it may have been delivered before
	Body        []byte
}

// Binding says which messages are wanted: those that go to an exchange with a routing key that the pattern matches, where "*" stands for one word and "#" for any number.
type Binding struct{ Exchange, Pattern string }

const (
	keptFor  = 10 * time.Minute // how long the broker keeps messages for who has lost the connection
	prefetch = 256              // messages on their way at once
)

// Subscription is a queue of the broker's to which messages are routed. It is for one goroutine.
type Subscription struct {
	url      schema.SignedURL
	options  Options
	queue    string
	bindings []Binding

	link       *link // nil: not connected
	deliveries <-chan amqp091.Delivery
	unhandled  *amqp091.Delivery
	failures   int
}

// Subscribe has the broker at url (see [ParseURL]) keep all messages from now on that a binding asks for. It returns when that is so; until then it tries
// again and again until ctx ends. An error that errors.Is [ErrRefused] ends that at once. An exchange that is not there is waited for: it may be that no queue has been started yet.
func Subscribe(ctx context.Context, url schema.SignedURL, bindings []Binding, o Options) (*Subscription, error) {
	o.setDefaults()
	s := &Subscription{url: url, options: o, bindings: bindings, queue: "upload-agent-events-" + rand.Text()}
	var err error
	if s.link, err = dialUntil(ctx, url, &s.options, false, s.prepare); err != nil {
		return nil, fmt.Errorf("subscribe to events: %w", err)
	}
	return s, nil
}

// prepare declares the queue, which outlives a connection and, being durable, the broker, and asks for what is in it.
func (s *Subscription) prepare(l *link) error {
	expires := amqp091.Table{"x-expires": int32(keptFor.Milliseconds())}
	if _, err := l.QueueDeclare(s.queue, true, false, false, false, expires); err != nil {
		return fmt.Errorf("declare queue: %w", err)
	}
	for _, b := range s.bindings {
		if err := l.QueueBind(s.queue, b.Pattern, b.Exchange, false, nil); err != nil {
			return fmt.Errorf("bind %s %s: %w", b.Exchange, b.Pattern, err)
		}
	}
	if err := l.Qos(prefetch, 0, false); err != nil {
		return err
	}
	var err error
	s.deliveries, err = l.Consume(s.queue, "", false, false, false, false, nil)
	return err
}

// Next waits for a message. With that it says that it has handled the one before, which the broker then forgets. It reconnects as often as needed, for as
// long as ctx lasts. A broker that was away, or not reachable, for less than ten minutes has kept all messages; the last ones may be delivered again.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
	if s.unhandled != nil && s.link != nil {
		_ = s.unhandled.Ack(false) // if it is lost with the connection, the message comes again
	}
	s.unhandled = nil
	for {
		if s.link == nil {
			if err := s.reconnect(ctx); err != nil {
				return Message{}, fmt.Errorf("wait for events: %w", err)
			}
		}
		select {
		case d, open := <-s.deliveries:
			if open {
				s.unhandled, s.failures = &d, 0
				return Message{Exchange: d.Exchange, RoutingKey: d.RoutingKey, ContentType: d.ContentType,
					Persistent: d.DeliveryMode == amqp091.Persistent, Redelivered: d.Redelivered, Body: d.Body}, nil
			}
			s.link.close()
			s.link = nil
			s.options.Logger.Warn("the connection to the broker is lost", "url", s.url.String())
		case <-ctx.Done():
			return Message{}, fmt.Errorf("wait for events: %w", context.Cause(ctx))
		}
	}
}

func (s *Subscription) reconnect(ctx context.Context) error {
	if !s.options.pause(ctx, s.failures) {
		return context.Cause(ctx)
	}
	s.failures++
	l, err := dialUntil(ctx, s.url, &s.options, true, s.prepare)
	if err != nil {
		return err
	}
	s.options.Logger.Info("connected to the broker again", "url", s.url.String())
	s.link = l
	return nil
}

// Close has the broker forget the subscription and all messages that were not delivered.
func (s *Subscription) Close() error {
	if s.link == nil {
		return nil // the broker forgets it by itself
	}
	defer s.link.close()
	defer time.AfterFunc(closeTime, s.link.abort).Stop()
	if s.unhandled != nil {
		_ = s.unhandled.Ack(false)
	}
	if _, err := s.link.QueueDelete(s.queue, false, false, false); err != nil && !errors.Is(err, amqp091.ErrClosed) {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	return nil
}
