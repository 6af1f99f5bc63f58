package upload

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/taskcluster/upload-agent/schema"
)

const maxHops = 5

// redirectError is a redirect that was not followed.
type redirectError struct {
	status int
	to     string // redacted
	why    string
}

func (e *redirectError) Error() string {
	return fmt.Sprintf("%d redirect to %s: %s", e.status, e.to, e.why)
}

// checkRedirect follows a redirect only where it leads to the same PUT elsewhere, or the same of whatever else it is.
func checkRedirect(req *http.Request, via []*http.Request) error {
	// net/http puts the whole signed URL there.
	req.Header.Del("Referer")
	// net/http leaves these out of a request that follows a redirect, and then does not wait for "100 Continue": what the next host
	// answers without reading the body would be lost behind a reset.
	req.Proto, req.ProtoMajor, req.ProtoMinor = via[0].Proto, via[0].ProtoMajor, via[0].ProtoMinor
	refuse := func(why string) error {
		return &redirectError{status: req.Response.StatusCode, to: schema.Redact(req.URL.String()), why: why}
	}
	from := via[len(via)-1].URL.Scheme
	switch {
	case req.Method != via[0].Method:
		// 301, 302 and 303: it would be a GET, answered with 200, and nothing stored.
		return refuse("it turns the " + via[0].Method + " into a " + req.Method)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Hostname() == "":
		return refuse("neither http nor https")
	case from == "https" && req.URL.Scheme == "http":
		return refuse("from https to http")
	case namesUser(req.Response.Header.Get("Location")):
		return refuse("it names a user")
	case len(via) > maxHops:
		return refuse(fmt.Sprintf("more than %d in a row", maxHops))
	}
	return nil
}

// namesUser says whether there is a user in a Location: an error in a URL from elsewhere (RFC 9110, 4.2.4).
func namesUser(location string) bool {
	u, err := url.Parse(location)
	return err != nil || u.User != nil
}
