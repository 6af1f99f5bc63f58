package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/taskcluster/upload-agent/schema"
)

// temporary reports whether a request that got this status is worth another attempt.
func temporary(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// refusal is the kind of error that a status of the queue stands for.
func refusal(status int) error {
	switch {
	case status == http.StatusNotFound, status == http.StatusGone:
		return ErrNotFound
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return ErrDenied
	case status/100 == 3:
		return ErrRedirected
	case temporary(status):
		return ErrUnavailable
	case status >= 400:
		return ErrRejected
	}
	return nil
}

// refusalOfTaken is refusal for calls about a run: a 409 says that somebody else has it, as the 404 of the first queue does.
func refusalOfTaken(status int) error {
	if status == http.StatusConflict {
		return ErrNotFound
	}
	return refusal(status)
}

// refusalOfWork is refusal for claim-work, which is answered without a body when there is none.
func refusalOfWork(status int) error {
	if status == http.StatusNoContent {
		return ErrNoWork
	}
	return refusal(status)
}

// refusalOfObject is refusal for the storage: S3 says 403 for a missing object to whoever may not list the bucket.
func refusalOfObject(status int) error {
	switch status {
	case http.StatusForbidden:
		return ErrNotFound
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return ErrChanged
	}
	return refusal(status)
}

// neverSent reports whether a request failed before a byte of it was sent.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// retryAfter reads a Retry-After, seconds or a date; 0 if there is none to be read.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// said is what an answer that refuses says.
type said struct{ message, pointer, incidentID string }

// parseRefusal reads the body of an answer that refuses: the queue's {message, error}, the storage's XML,
// the HTML of a proxy, or plain text. It takes any bytes.
func parseRefusal(body []byte) said {
	body = bytes.TrimSpace(body)
	var s said
	switch {
	case len(body) == 0:
	case body[0] == '{' && json.Valid(body):
		s = parseAnswer(body)
	case body[0] == '<':
		s.message = parseMarkup(body)
	default:
		line, _, _ := bytes.Cut(body, []byte("\n")) // a stack trace follows
		s.message = string(line)
	}
	s.message = abbreviate(scrub(s.message), 300)
	s.pointer = abbreviate(scrub(s.pointer), 100)
	s.incidentID = abbreviate(scrub(s.incidentID), 100)
	return s
}

// parseAnswer reads {message, error}; error is a text, a list of schema errors, or {info, incidentId}.
func parseAnswer(body []byte) (s said) {
	var answer struct{ Message, Error json.RawMessage }
	if json.Unmarshal(body, &answer) != nil {
		return said{}
	}
	_ = json.Unmarshal(answer.Message, &s.message) // what is not a text is left out
	var (
		text     string
		problems []struct{ InstanceContext, Desc string }
		incident struct{ IncidentID string }
	)
	switch {
	case json.Unmarshal(answer.Error, &text) == nil && text != "":
		s.message = strings.TrimPrefix(s.message+": "+text, ": ")
	case json.Unmarshal(answer.Error, &problems) == nil && len(problems) > 0:
		s.pointer = problems[0].InstanceContext
		if problems[0].Desc != "" {
			s.message += ": " + problems[0].Desc
		}
	case json.Unmarshal(answer.Error, &incident) == nil:
		s.incidentID = incident.IncidentID
	}
	return s
}

var title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// parseMarkup reads the storage's <Error><Code><Message>, or the title of a web page.
func parseMarkup(body []byte) string {
	var s3 struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if xml.Unmarshal(body, &s3) == nil {
		return strings.Trim(s3.Code+": "+s3.Message, ": ")
	}
	if m := title.FindSubmatch(body); m != nil {
		return string(m[1])
	}
	return "a web page"
}

var (
	query     = regexp.MustCompile(`(?:\?|%3[fF])[^\s"'<>]{2,}`)
	userinfo  = regexp.MustCompile(`://[^\s/"'<>@]*@`)
	signature = regexp.MustCompile(`(?i)\b((?:signature|awsaccesskeyid|x-amz-[a-z-]+|x-goog-[a-z-]+|sig|token)=)[^\s&"'<>]+`)
)

// scrub redacts what may be a secret in a text from outside: the query of anything like a URL, users in URLs, signatures.
func scrub(text string) string {
	text = query.ReplaceAllString(text, "?<redacted>")
	text = userinfo.ReplaceAllString(text, "://<redacted>@")
	return signature.ReplaceAllString(text, "$1<redacted>")
}

// abbreviate makes one printable line of at most limit bytes.
func abbreviate(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= limit {
		return text
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// broken is the reason why an attempt broke off: the attempt's own timeout if that ended it, else err without its URLs.
func broken(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, ErrRedirected) {
		return cause
	}
	return quiet(err)
}

// quiet takes the URLs out of an error.
func quiet(err error) error {
	for u := (*url.Error)(nil); errors.As(err, &u); {
		err = u.Err
	}
	if d := (*schema.Error)(nil); errors.As(err, &d) {
		clean := *d
		clean.Problems = make([]schema.Problem, len(d.Problems))
		for i, p := range d.Problems {
			p.Found, p.Pointer = scrub(p.Found), scrub(p.Pointer)
			clean.Problems[i] = p
		}
		return &clean
	}
	if text := err.Error(); scrub(text) != text {
		return errors.New(scrub(text))
	}
	return err
}
