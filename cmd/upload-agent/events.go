package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/agenttest/amqp"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

func eventsCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "events",
		Usage:     "print what a queue publishes: tasks that are pending, running, completed or failed",
		UsageText: "upload-agent events [--task ID] [--json] --amqp URL | --queue URL",
		Description: "Prints a line for every message from now on, until Ctrl-C. --amqp reads them from RabbitMQ, --queue from an\n" +
			"embedded queue (see 'upload-agent queue'), or from the RabbitMQ that another queue names.\n" +
			"It reconnects by itself, and then prints what it has missed; of RabbitMQ a message may come twice.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "amqp", Usage: "the RabbitMQ: `URL`, such as amqp://user:password@host:5672/vhost; without a user it is guest", Sources: env("amqp")},
			&cli.StringFlag{Name: "queue", Usage: "the queue's API: `URL`, ending in /v1; --amqp goes before", Sources: env("queue")},
			&cli.StringFlag{Name: "task", Usage: "only those of the task `ID`", Sources: env("task")},
			&cli.BoolFlag{Name: "json", Usage: "print them as JSON, an object a line: exchange, routingKey, message", Sources: env("json")},
		}, logFlags()...),
		Action: func(ctx context.Context, cmd *cli.Command) error { return events(ctx, cmd, io) },
	}
}

func events(ctx context.Context, cmd *cli.Command, io *stdio) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	logger, err := io.logger(cmd)
	if err != nil {
		return err
	}
	broker, err := brokerURL(cmd)
	if err != nil {
		return err
	}
	p := eventPrinter{io: io, json: cmd.Bool("json"), task: schema.TaskID(cmd.String("task")), logger: logger}
	if p.task != "" && !p.task.Valid() {
		return usageError(fmt.Errorf("--task %q: a taskId is 22 characters of A-Z a-z 0-9 - _", p.task))
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	switch {
	case !broker.IsZero():
		err = p.fromBroker(ctx, broker)
	case cmd.String("queue") != "":
		err = p.fromQueue(ctx, cmd.String("queue"))
	default:
		return usageError(errors.New("events needs --amqp URL or --queue URL"))
	}
	switch usage := (*statusError)(nil); {
	case ctx.Err() != nil: // that is how one stops
		return nil
	case errors.As(err, &usage):
		return err
	case errors.Is(err, syscall.EPIPE):
		return &statusError{status: statusSignal + 13} // so is a pipe into head
	default:
		return failure(err)
	}
}

// eventPrinter prints messages.
type eventPrinter struct {
	io     *stdio
	json   bool
	task   schema.TaskID // "": all
	logger *slog.Logger
}

// listening says that from now on nothing is missed.
func (p *eventPrinter) listening(to string) {
	fmt.Fprintf(p.io.err, "upload-agent: listening to the events of %s until Ctrl-C\n", printable(to))
}

// fromBroker prints what comes from RabbitMQ until ctx ends.
func (p *eventPrinter) fromBroker(ctx context.Context, broker schema.SignedURL) (err error) {
	pattern := "#"
	if p.task != "" {
		pattern = string(p.task) + ".#"
	}
	var bindings []amqp.Binding
	for _, exchange := range amqp.Exchanges() {
		bindings = append(bindings, amqp.Binding{Exchange: exchange, Pattern: pattern})
	}
	s, err := amqp.Subscribe(ctx, broker, bindings, amqp.Options{Logger: p.logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p.listening(broker.String())
	for {
		m, err := s.Next(ctx)
		if err == nil {
			err = p.print(m.Exchange, m.RoutingKey, m.Body)
		}
		if err != nil {
			return err
		}
	}
}

// fromQueue prints what an embedded queue streams; of another queue it asks for its broker.
func (p *eventPrinter) fromQueue(ctx context.Context, url string) error {
	q, err := queue.New(url, queue.Options{Logger: p.logger})
	if err != nil {
		return usageError(fmt.Errorf("--queue: %w", err))
	}
	stream := newEventStream(strings.TrimSuffix(strings.TrimSuffix(url, "/"), "/v1")+"/events", p.logger)
	defer stream.close()
	err = stream.read(ctx, p.listening, func(e streamedEvent) error {
		if task, _, _ := strings.Cut(e.RoutingKey, "."); p.task != "" && task != string(p.task) {
			return nil
		}
		return p.print(e.Exchange, e.RoutingKey, e.Message)
	})
	if !errors.Is(err, errNoStream) {
		return err
	}
	broker, err := q.AMQPConnectionString(ctx)
	if err != nil {
		return err
	}
	return p.fromBroker(ctx, broker)
}

// print prints a message, on one line.
func (p *eventPrinter) print(exchange, key string, body []byte) error {
	if !p.json {
		_, err := fmt.Fprintln(p.io.out, printable(eventLine(exchange, key, body)))
		return err
	}
	line, err := json.Marshal(struct {
		Exchange   string          `json:"exchange"`
		RoutingKey string          `json:"routingKey"`
		Message    json.RawMessage `json:"message"`
	}{exchange, key, body})
	if err != nil {
		p.logger.Warn("a message is not JSON", "exchange", exchange, "routingKey", key)
		return nil
	}
	_, err = fmt.Fprintf(p.io.out, "%s\n", line)
	return err
}

// eventLine is a message for people to read.
func eventLine(exchange, key string, body []byte) string {
	what := strings.TrimPrefix(exchange, "queue/v1/task-")
	var m struct {
		Status      struct{ TaskID, Reason string }
		RunID       *int
		Success     *bool
		WorkerGroup string
		WorkerID    string
	}
	if err := json.Unmarshal(body, &m); err != nil || m.Status.TaskID == "" {
		return fmt.Sprintf("%-9s  %s", what, key)
	}
	line := fmt.Sprintf("%-9s  %s", what, m.Status.TaskID)
	if m.RunID != nil {
		line += fmt.Sprintf("  run %d  %s/%s", *m.RunID, m.WorkerGroup, m.WorkerID)
	}
	switch {
	case m.Success != nil && *m.Success:
		line += "  success"
	case m.Success != nil:
		line += "  no success"
	case m.Status.Reason != "" && m.Status.Reason != string(schema.ReasonNone):
		line += "  " + m.Status.Reason
	}
	return line
}
