package queue

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/taskcluster/upload-agent/schema"
)

const (
	queueHops   = 5  // redirects followed for a call to the queue
	storageHops = 10 // and for an object of the storage, whose readers must follow them
)

// redirects is the policy for redirects: at most hops of them, none that changes the method or drops the body
// (net/http makes a GET of a POST on 301, 302 and 303), none from https to http, none to a URL with a user in it.
// The Referer goes too: it would carry the whole URL, signature included. net/http takes nothing else along to another host.
func redirects(hops int) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		first, last := via[0], via[len(via)-1]
		req.Header.Del("Referer")
		to := schema.Redact(req.URL.String())
		switch {
		case req.Method != first.Method || (first.Body != nil && req.Body == nil):
			return fmt.Errorf("%w: following %d to %s would drop the %s's body or method; give that address as the base URL",
				ErrRedirected, req.Response.StatusCode, to, first.Method)
		case req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Hostname() == "":
			return fmt.Errorf("%w: the target is neither http nor https", ErrRedirected)
		case last.URL.Scheme == "https" && req.URL.Scheme == "http":
			return fmt.Errorf("%w: from https to http, %s", ErrRedirected, to)
		case namesUser(req.Response.Header.Get("Location")):
			return fmt.Errorf("%w: %s names a user", ErrRedirected, to)
		case len(via) > hops:
			return fmt.Errorf("%w: more than %d in a row, the last to %s", ErrRedirected, hops, to)
		}
		return nil
	}
}

// namesUser says whether there is a user in a Location, which is an error in a URL from elsewhere (RFC 9110, 4.2.4):
// net/http would send it on as a password.
func namesUser(location string) bool {
	u, err := url.Parse(location)
	return err != nil || u.User != nil
}

// unparsed is how an error of net/http begins that has no type, and holds the Location that is no URL.
const unparsed = "failed to parse Location header"

// notFollowed is the error of a request whose redirect net/http itself could not follow, and otherwise err.
func notFollowed(err error) error {
	var sent *url.Error
	if errors.As(err, &sent) && strings.HasPrefix(sent.Err.Error(), unparsed) {
		return fmt.Errorf("%w: the target is neither http nor https", ErrRedirected)
	}
	return err
}
