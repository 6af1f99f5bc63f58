package ops

import (
	"context"
	"errors"
	"net/http"
)

// queueErrors are the kinds of answers, or of none, that a request to the queue did not want.
var queueErrors = [...]string{"client_error", "server_error", "network"}

const (
	clientError = iota
	serverError
	networkError
)

// CountQueueErrors is a transport for [queue.Options] that counts the requests which the queue refuses (4xx), cannot
// answer (5xx), or does not answer. What the agent has cancelled itself does not count. next nil: http.DefaultTransport.
func (c *Counters) CountQueueErrors(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &queueTransport{next: next, counters: c}
}

type queueTransport struct {
	next     http.RoundTripper
	counters *Counters
}

func (t *queueTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(req)
	switch {
	case t.counters == nil:
	case err != nil && !errors.Is(err, context.Canceled):
		t.counters.queue[networkError].Inc()
	case err != nil:
	case res.StatusCode >= 500:
		t.counters.queue[serverError].Inc()
	case res.StatusCode >= 400:
		t.counters.queue[clientError].Inc()
	}
	return res, err
}

// CloseIdleConnections closes those of the transport below.
func (t *queueTransport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}
