package amqp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/taskcluster/upload-agent/schema"
)

// Options of [Publish] and [Subscribe]; the zero value works.
type Options struct {
	Logger     *slog.Logger  // is told of lost connections and of new ones; nil: nobody is
	MinBackoff time.Duration // before the second attempt to connect; default 100 ms. It doubles with each further one
	MaxBackoff time.Duration // default 5 s
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MinBackoff <= 0 {
		o.MinBackoff = 100 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 5 * time.Second
	}
}

// pause waits before the next attempt, a little more or less than the backoff; false if ctx has ended.
func (o *Options) pause(ctx context.Context, failed int) bool {
	wait := o.MinBackoff << min(failed, 16)
	if wait <= 0 || wait > o.MaxBackoff {
		wait = o.MaxBackoff
	}
	timer := time.NewTimer(wait/2 + rand.N(wait))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ParseURL reads the URL of a broker, such as "amqp://user:password@host:5672/vhost", or amqps. Without a user it is "guest". The error does not show it.
func ParseURL(raw string) (schema.SignedURL, error) {
	if _, err := amqp091.ParseURI(raw); err != nil { // the error may hold all of it
		return schema.SignedURL{}, errors.New("want a URL such as amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps, with reserved characters in it escaped")
	}
	return schema.NewSignedURL(raw), nil
}

// ErrRefused is an error of [Publish] and [Subscribe] that another attempt would not change: the broker does not accept the user and password, or does not let them do
// this, or has no such virtual host, or has exchanges of other kinds under the same names.
var ErrRefused = errors.New("the broker refuses")

const (
	handshakeTime = 30 * time.Second // for a connection to be made
	closeTime     = 2 * time.Second  // for one to be closed in good order
)

// link is a connection to the broker with one channel.
type link struct {
	*amqp091.Channel
	conn  *amqp091.Connection
	abort func() // breaks the connection, whatever waits on it
}

// dial connects, and prepares the channel.
func dial(ctx context.Context, url schema.SignedURL, prepare func(*link) error) (*link, error) {
	if _, err := ParseURL(url.Reveal()); err != nil {
		return nil, fmt.Errorf("connect to the broker: %w: %w", ErrRefused, err)
	}
	l := new(link)
	stop := func() bool { return true }
	conn, err := amqp091.DialConfig(url.Reveal(), amqp091.Config{Dial: func(network, addr string) (net.Conn, error) {
		raw, err := (&net.Dialer{Timeout: handshakeTime}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		l.abort = func() { raw.Close() }
		stop = context.AfterFunc(ctx, l.abort)
		return raw, raw.SetDeadline(time.Now().Add(handshakeTime)) // cleared when the connection is made
	}})
	defer func() { stop() }()
	if err != nil {
		return nil, failed(ctx, "connect to "+url.String(), err)
	}
	l.conn = conn
	if l.Channel, err = conn.Channel(); err == nil {
		err = prepare(l)
	}
	if err != nil {
		l.close()
		return nil, failed(ctx, "prepare "+url.String(), err)
	}
	return l, nil
}

func (l *link) close() {
	_ = l.conn.CloseDeadline(time.Now().Add(closeTime)) // what was not confirmed or acknowledged is repeated anyway
}

// failed says what was attempted, and whether it is worth another attempt.
func failed(ctx context.Context, attempted string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", attempted, context.Cause(ctx))
	}
	var said *amqp091.Error
	if errors.As(err, &said) {
		switch said.Code {
		case amqp091.AccessRefused, amqp091.NotAllowed, amqp091.PreconditionFailed:
			return fmt.Errorf("%s: %w: %w", attempted, ErrRefused, err)
		}
	}
	return fmt.Errorf("%s: %w", attempted, err)
}

// dialUntil dials again and again until it works, ctx ends, or (unless it is stubborn) the broker refuses.
func dialUntil(ctx context.Context, url schema.SignedURL, o *Options, stubborn bool, prepare func(*link) error) (*link, error) {
	for attempt := 0; ; attempt++ {
		l, err := dial(ctx, url, prepare)
		if err == nil || errors.Is(err, ErrRefused) && !stubborn || ctx.Err() != nil {
			return l, err
		}
		o.Logger.Warn("no broker", "attempt", attempt+1, "err", err)
		if !o.pause(ctx, attempt) {
			return nil, err
		}
	}
}
