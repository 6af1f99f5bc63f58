package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/agenttest/amqp"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

const (
	brokerStart = 30 * time.Second // how long a broker has to be there
	brokerEnd   = 15 * time.Second // how long it has to confirm the last messages
)

// amqpFlag names the broker to which the embedded queue publishes.
func amqpFlag() cli.Flag {
	return &cli.StringFlag{Name: "amqp", Usage: "publish the messages of the queue to the RabbitMQ at `URL`, such as amqp://user:password@host:5672/vhost; without a user it is guest", Sources: env("amqp")}
}

// brokerURL is what --amqp says; zero: nothing.
func brokerURL(cmd *cli.Command) (schema.SignedURL, error) {
	raw := cmd.String("amqp")
	if raw == "" {
		return schema.SignedURL{}, nil
	}
	broker, err := amqp.ParseURL(raw)
	if err != nil {
		return broker, usageError(fmt.Errorf("--amqp: %w", err)) // which does not show it
	}
	return broker, nil
}

// brokerSecrets are what a log must not show of the broker's URL.
func brokerSecrets(broker schema.SignedURL) (secrets []string) {
	parsed, err := url.Parse(broker.Reveal())
	if err != nil || parsed.User == nil {
		return nil
	}
	password, _ := parsed.User.Password()
	for _, secret := range []string{broker.Reveal(), parsed.User.String(), password} {
		if len(secret) >= livelog.MinSecret {
			secrets = append(secrets, secret)
		}
	}
	return secrets
}

// publicBroker is the URL without user and password: what an embedded queue tells whoever asks. They bring their own.
func publicBroker(broker schema.SignedURL) schema.SignedURL {
	parsed, err := url.Parse(broker.Reveal())
	if broker.IsZero() || err != nil {
		return schema.SignedURL{}
	}
	return schema.NewSignedURL((&url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path, RawPath: parsed.RawPath}).String())
}

// publisher hands the events of an embedded queue to a broker.
type publisher struct{ *amqp.Publisher }

// startPublisher starts one if there is a broker; otherwise it is nil.
func startPublisher(ctx context.Context, server *agenttest.Server, broker schema.SignedURL, logger *slog.Logger) (*publisher, error) {
	if broker.IsZero() {
		return nil, nil
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, brokerStart)
	defer cancel()
	p, err := amqp.Publish(ctx, server, broker, amqp.Options{Logger: logger})
	if err != nil {
		return nil, err
	}
	return &publisher{p}, nil
}

// close waits until the broker has everything, for a while, or until it is interrupted.
func (p *publisher) close() error {
	if p == nil {
		return nil
	}
	ctx, stop := interruptible(context.Background())
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, brokerEnd)
	defer cancel()
	return p.Publisher.Close(ctx)
}
