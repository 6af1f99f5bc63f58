package upload

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What can end a Put, for errors.Is. ErrUnavailable and ErrStalled end one only when its time is over;
// the others end it at once, and another Put of the same would end alike.
var (
	ErrExpired     = errors.New("the signed URL has expired")
	ErrDenied      = errors.New("the storage refuses the signed URL")
	ErrRedirected  = errors.New("the storage redirects where the object cannot be stored")
	ErrChanged     = errors.New("changed while it was uploaded")
	ErrStalled     = errors.New("nothing moved any more")
	ErrRejected    = errors.New("the storage rejects the object")
	ErrDigest      = errors.New("the storage received other bytes than were sent")
	ErrUnavailable = errors.New("the storage cannot be reached or is overloaded")
	ErrProxy       = errors.New("the proxy refuses the connection")
	ErrNotRegular  = errors.New("not a regular file")
	ErrSource      = errors.New("the source cannot be read")
	ErrGrant       = errors.New("the grant cannot be used")
	ErrReadBack    = errors.New("cannot be read back as it was sent")
	ErrGaveUp      = errors.New("given up, as PutOptions.GiveUpAfter is over")
)

// Error says why an object was not stored. It never contains a signed URL.
//
// errors.Is finds Kind and everything in Err; and when the context ended or the time was up, that too:
// context.Cause and the context's own error, ErrGaveUp or ErrExpired.
type Error struct {
	Name     string // PutOptions.Name
	Part     int    // of an upload in parts, the part that could not be stored, counted from 1; 0 if it is about the whole
	Host     string // the storage's host, "" if the grant names none
	Kind     error  // what the last attempt failed with: one of the Err... of this package; nil if the context ended before any failed
	Status   int    // HTTP status of the last answer, 0 if there was none
	Code     string // the storage's error code ("EntityTooLarge"), "" if none
	Message  string // the storage's message, in one line and cut
	Proxy    string // host and port of the proxy the last request went through, "" if none
	Attempts int    // requests made, those for parts and for their completion included
	Renewals int    // how often PutOptions.Renew gave a grant
	Err      error  // the cause; may be nil

	over error // why it was not tried again, if not because of the above
}

// Error is one line: what was attempted, on what, what is wrong and what can be done about it.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("upload")
	if e.Name != "" {
		fmt.Fprintf(&b, " %q", e.Name)
	}
	if e.Part != 0 {
		fmt.Fprintf(&b, " part %d", e.Part)
	}
	if e.Host != "" {
		fmt.Fprintf(&b, " to %s", e.Host)
	}
	if e.over != nil {
		fmt.Fprintf(&b, ": %v", e.over)
	}
	if parts := e.parts(); len(parts) > 0 {
		if e.over != nil {
			b.WriteString("; last")
		}
		b.WriteString(": " + strings.Join(parts, ": "))
	}
	var how []string
	if e.Proxy != "" {
		how = append(how, "through the proxy "+e.Proxy)
	}
	if e.Attempts > 1 {
		how = append(how, fmt.Sprintf("%d attempts", e.Attempts))
	}
	if len(how) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(how, ", "))
	}
	if advice := advices[e.Kind]; advice != "" {
		b.WriteString("; " + advice)
	}
	return b.String()
}

// parts are the kind, the answer and the cause, without saying anything twice.
func (e *Error) parts() []string {
	var parts []string
	if e.Kind != nil && (e.Err == nil || !errors.Is(e.Err, e.Kind)) {
		parts = append(parts, e.Kind.Error())
	}
	if e.Status != 0 {
		parts = append(parts, strings.TrimSpace(statusText(e.Status)+" "+e.Code))
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return parts
}

// advices are what can be done, by kind.
var advices = map[error]string{
	ErrExpired:    "ask for a new signed URL",
	ErrDenied:     "was it signed for exactly this content type, and with a key that is still valid?",
	ErrChanged:    "store a file only when it is complete",
	ErrNotRegular: "only regular files can be stored",
	ErrProxy:      "look at HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// Unwrap gives Kind, Err and why it was not tried again.
func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.Kind, e.Err, e.over} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// failure is why one attempt did not store the object, and what follows from it.
type failure struct {
	what    Error // without name, host and counts
	verdict verdict
	after   time.Duration // Retry-After
	digest  Digest        // of what was sent, "" if that was not all
}

func (f *failure) Error() string { return f.what.Error() }

// sourceFailure is that of a source that is not what it should be, which is final.
func sourceFailure(err error) *failure {
	f := &failure{what: Error{Kind: ErrSource, Err: err}, verdict: stop}
	for _, kind := range []error{ErrChanged, ErrNotRegular, ErrLink} {
		if errors.Is(err, kind) {
			f.what.Kind = kind
		}
	}
	return f
}

// error is what Put returns for a failure, nil if nothing has failed yet.
// over is why it was not tried again, nil if that follows from the failure itself.
func (p *put) error(f *failure, over error) *Error {
	e := Error{}
	if f != nil {
		e = f.what
	}
	if over != nil {
		e.over = p.scrub().error(over)
	}
	e.Name, e.Host, e.Attempts, e.Renewals = p.options.Name, p.host, p.attempts, p.renewals
	e.Part = p.task.step.part
	return &e
}
