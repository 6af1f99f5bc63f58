package queue

import (
	"fmt"
	"net/http"

	"github.com/taskcluster/upload-agent/schema"
)

const (
	queueHops   = 5  // redirects followed for a call to the queue
	storageHops = 10 // and for an object of the storage, whose readers must follow them
)

// redirects is the policy for redirects: at most hops of them, none that changes the method or drops the body
// (net/http makes a GET of a POST on 301, 302 and 303), none from https to http.
// The Referer goes too: it would carry the whole URL, signature included.
func redirects(hops int) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		first, last := via[0], via[len(via)-1]
		req.Header.Del("Referer")
		to := schema.Redact(req.URL.String())
		switch {
		case req.Method != first.Method || (first.Body != nil && req.Body == nil):
			return fmt.Errorf("%w: following %d to %s would drop the %s's body or method; give that address as the base URL",
				ErrRedirected, req.Response.StatusCode, to, first.Method)
		case req.URL.Scheme != "http" && req.URL.Scheme != "https":
			return fmt.Errorf("%w: %s is neither http nor https", ErrRedirected, to)
		case last.URL.Scheme == "https" && req.URL.Scheme == "http":
			return fmt.Errorf("%w: %s leaves https", ErrRedirected, to)
		case len(via) > hops:
			return fmt.Errorf("%w: more than %d in a row, the last to %s", ErrRedirected, hops, to)
		}
		return nil
	}
}
