package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

const (
	streamRetry  = 500 * time.Millisecond // between two attempts to connect
	streamSilent = 40 * time.Second       // an embedded queue says every ten seconds that it is there
)

// errNoStream says that a queue has no stream of events, and therefore is not an embedded one.
var errNoStream = errors.New("the queue has no stream of events")

// streamedEvent is an event as an embedded queue streams it.
type streamedEvent struct {
	Exchange   string          `json:"exchange"`
	RoutingKey string          `json:"routingKey"`
	Message    json.RawMessage `json:"message"`
}

// eventStream reads the events of an embedded queue.
type eventStream struct {
	url       string
	transport *http.Transport
	logger    *slog.Logger
	last      string // id of the last event that was read
}

func newEventStream(url string, logger *slog.Logger) *eventStream {
	return &eventStream{url: url, transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: streamSilent}, logger: logger}
}

func (s *eventStream) close() { s.transport.CloseIdleConnections() }

// read gives each event until ctx ends or each returns an error. It reconnects, and goes on after the last event that it has read. With
// the first connection it tells listening.
func (s *eventStream) read(ctx context.Context, listening func(string), each func(streamedEvent) error) error {
	connected := false
	for {
		var stop *stopError
		err := s.connect(ctx, func() {
			if !connected {
				connected = true
				listening(schema.Redact(s.url))
			}
		}, each)
		switch {
		case errors.As(err, &stop):
			return stop.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errNoStream) && !connected:
			return err
		}
		s.logger.Warn("no events", "url", schema.Redact(s.url), "err", err)
		select {
		case <-time.After(streamRetry):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stopError is an error of the one who is given the events.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// connect reads a stream until it breaks.
func (s *eventStream) connect(ctx context.Context, connected func(), each func(streamedEvent) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return errors.New("read events: the queue's URL is malformed")
	}
	request.Header.Set("Accept", "text/event-stream")
	if s.last != "" {
		request.Header.Set("Last-Event-ID", s.last)
	}
	answer, err := (&http.Client{Transport: s.transport}).Do(request)
	if err != nil {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err // the rest of it is the URL
		}
		return fmt.Errorf("read events: %w", err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusNotFound:
		return errNoStream
	case answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream"):
		return fmt.Errorf("read events: the queue answered %s, %s", answer.Status, answer.Header.Get("Content-Type"))
	}
	silent := time.AfterFunc(streamSilent, cancel)
	defer silent.Stop()
	return s.parse(bufio.NewScanner(answer.Body), func() { silent.Reset(streamSilent) }, connected, each)
}

// parse reads lines of server-sent events. The first id, which comes without an event, says that the stream has begun.
func (s *eventStream) parse(lines *bufio.Scanner, alive, connected func(), each func(streamedEvent) error) error {
	lines.Buffer(nil, 2*schema.MaxBytes)
	id, data := "", ""
	for lines.Scan() {
		alive()
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "" && data != "":
			var e streamedEvent
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return fmt.Errorf("read events: %w", err)
			}
			if err := each(e); err != nil {
				return &stopError{err}
			}
			fallthrough
		case lines.Text() == "":
			if id != "" {
				s.last = id
				connected()
			}
			id, data = "", ""
		case name == "id":
			id = value
		case name == "data":
			data = value
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return errors.New("read events: the stream has ended")
}
