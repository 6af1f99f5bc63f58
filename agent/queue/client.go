package queue

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options are the options of [New] and [NewStorage]. The zero value works.
type Options struct {
	Transport  http.RoundTripper // default: http.DefaultTransport, with the proxies of the environment
	Logger     *slog.Logger      // told of each attempt that is going to be repeated; default: discards
	MinBackoff time.Duration     // wait after the first failed attempt; default 200 ms. It doubles, with a jitter of one half
	MaxBackoff time.Duration     // longest wait, jitter aside; default 10 s

	// AttemptTimeout ends an attempt that has not brought the whole answer, so that a dead connection does not hang; default 30 s.
	// For [Storage.Open] it is the time to the first byte, and then the longest silence in an object of known size.
	AttemptTimeout time.Duration
}

// A Client calls a queue.
type Client struct{ *caller }

// New returns a client for the queue at baseURL, "https://queue.taskcluster.net/v1" for one; a slash at its end does not matter.
// It does not connect. The error is a [*URLError].
func New(baseURL string, o Options) (*Client, error) {
	base, err := checkBase("queue", "https://queue.taskcluster.net/v1", baseURL)
	if err != nil {
		return nil, err
	}
	return &Client{newCaller(base, queueHops, o)}, nil
}

// URL is the base URL of the queue, without a slash at the end.
func (c *Client) URL() string { return strings.TrimRight(c.base.String(), "/") }

// Skew estimates the queue's clock minus ours from the Date of its last few answers, in whole seconds;
// what is below one second counts as none. It is 0 until there was an answer.
func (c *Client) Skew() time.Duration { return c.skew.estimate() }

// URLError says what is wrong with a URL given by the caller. It does not show more of it than its scheme, host and path.
type URLError struct {
	Use     string // what it was for: "queue", "storage" or "object"
	Problem string
	Example string
}

func (e *URLError) Error() string {
	return fmt.Sprintf("%s URL: %s; want one like %s", e.Use, e.Problem, e.Example)
}

// checkBase takes a base URL apart and refuses what requests could not be built on.
func checkBase(use, example, raw string) (*url.URL, error) {
	bad := func(problem string) (*url.URL, error) {
		return nil, &URLError{Use: use, Problem: problem, Example: example}
	}
	u, err := url.Parse(strings.TrimSpace(raw))
	switch {
	case strings.TrimSpace(raw) == "":
		return bad("it is empty")
	case err != nil:
		return bad("it does not parse") // the parser's own words would echo it
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("it does not start with http:// or https://")
	case u.Hostname() == "":
		return bad("it names no host")
	case u.User != nil:
		return bad("it holds a user or a password, which would end up in logs")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("it has a query or a fragment")
	}
	return u, nil
}

// address is the URL of the resource below base that the (unescaped) segments name.
func address(base *url.URL, segments ...string) string {
	var b strings.Builder
	b.WriteString(strings.TrimRight(base.EscapedPath(), "/"))
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return base.Scheme + "://" + base.Host + b.String()
}
