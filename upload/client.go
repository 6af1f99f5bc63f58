package upload

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Options are the options of a Client; the zero value works.
type Options struct {
	Transport    http.RoundTripper // default: NewTransport()
	Logger       *slog.Logger      // attempts at Debug, what is tried again and why at Warn; default: discards
	Limiter      *Limiter          // bounds the bytes per second, together with all other clients that have it; default: no bound
	PartsAtOnce  int               // default 4: how many parts of one object are sent at once
	StallTimeout time.Duration     // default 30 s: an attempt on which nothing moves for this long is given up and tried again on a new connection
	MinBackoff   time.Duration     // default 200 ms: the first pause before another attempt, give or take a half
	MaxBackoff   time.Duration     // default 30 s: the longest, give or take a half, unless the storage asks for more (Retry-After)
}

// Client stores objects. It is safe for concurrent use and best shared: it keeps connections open
// and remembers how the clocks of the storages differ from ours. It starts nothing that has to be closed.
type Client struct {
	http    *http.Client
	wire    *wire // below it; nil with a transport that is not net/http's
	log     *slog.Logger
	options Options // with the defaults filled in
	clocks  clocks
}

// New returns a client.
func New(o Options) *Client {
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PartsAtOnce <= 0 {
		o.PartsAtOnce = 4
	}
	if o.StallTimeout <= 0 {
		o.StallTimeout = 30 * time.Second
	}
	if o.MinBackoff <= 0 {
		o.MinBackoff = 200 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 30 * time.Second
	}
	var w *wire
	transport := o.Transport
	if t, ok := transport.(*http.Transport); ok {
		w = &wire{Transport: t}
		transport = w
	}
	return &Client{
		wire: w,
		// No Timeout: a total time would cut what is slow but moves.
		http:    &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		log:     o.Logger,
		options: o,
	}
}

// writeBuffer holds the head of a request and a small body, which then take one write to the socket.
const writeBuffer = 16 << 10

// NewTransport is the default transport, to be adapted where needed (proxy, certificates, dialer).
//
// It takes proxies from the environment, waits a second for "100 Continue", never decompresses, keeps enough
// idle connections for many uploads at once, and speaks HTTP/1.1 only: with HTTP/2 all uploads to a host would share one
// connection and stall together.
//
// Small bodies (up to 12 KiB) go over connections of the Client's own, which are opened and kept by what is set on the transport, and are
// not seen by its CloseIdleConnections; that of the Client closes both kinds.
//
// What is set on it counts if it is set before the first request. A clone of it goes on to connect over TLS with the DialContext and the
// TLSClientConfig of the first one, unless its DialTLSContext is set to nil.
func NewTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		TLSHandshakeTimeout:    20 * time.Second,
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true,
		WriteBufferSize:        writeBuffer,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: maxAnswer,
		Protocols:              protocols,
		OnProxyConnectResponse: onProxyConnect,
	}
	t.DialTLSContext = dialTLS(t)
	return t
}

// CloseIdleConnections closes the connections that are kept open for later.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Skew is the clock of the storage that answered last minus ours, estimated from the Date of its answers
// to about a second; 0 if nothing is known.
func (c *Client) Skew() time.Duration { return c.clocks.latest() }

// proxyError is a proxy's refusal to open a tunnel.
type proxyError struct {
	host   string
	status int
	header http.Header
}

func (e *proxyError) Error() string {
	return "proxy " + e.host + " answers " + statusText(e.status)
}

// onProxyConnect keeps the status, of which the transport would only keep the words.
func onProxyConnect(_ context.Context, proxy *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{host: proxy.Host, status: res.StatusCode, header: res.Header}
}

// proxyOf names the proxy a request goes through, without its password; "" if there is none or the transport does not say.
func (c *Client) proxyOf(req *http.Request) string {
	t, ok := c.options.Transport.(*http.Transport)
	if !ok || t.Proxy == nil {
		return ""
	}
	proxy, err := t.Proxy(req)
	if err != nil || proxy == nil {
		return ""
	}
	return proxy.Host
}
