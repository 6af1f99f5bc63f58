package agenttest

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// misbehave does what a fault says.
func (x *exchange) misbehave(f *Fault, variant uint64) {
	switch f.Kind {
	case "reset":
		x.reset(variant)
	case "stall":
		x.stall()
	case "slow":
		x.slow()
	case "expired":
		now := x.s.options.Clock()
		expiredError(0, now, now).write(x.w, x.r)
	case "redirect":
		x.redirect()
	case "late":
		x.late(f)
	case "rot":
		x.serve(&rotWriter{statusWriter: x.w, rot: func() { x.s.storage.rot(keyOf(x.r)) }}, x.r)
	case "lost":
		x.serve(&noAnswer{header: http.Header{}}, x.r)
		x.w.drop(false)
	default:
		x.fail(f)
	}
}

// late answers 200, and then an error, as S3 does when it has begun to answer while it puts the parts together.
func (x *exchange) late(f *Fault) {
	e := s3Error{Code: "InternalError", Message: "We encountered an internal error. Please try again.", Resource: x.r.URL.Path, RequestID: randomHex()}
	if f.Code != "" {
		e.Code, e.Message = f.Code, "This is a simulated fault."
	}
	body, _ := xml.Marshal(e) // of strings
	x.w.Header().Set("Content-Type", "application/xml")
	x.w.WriteHeader(http.StatusOK)
	io.WriteString(x.w, xml.Header+"\n \n")
	x.w.flush()
	x.w.Write(body) // a client that has left is no error of ours
}

// fail answers an error status, without a look at the body.
func (x *exchange) fail(f *Fault) {
	for name, values := range f.Header {
		x.w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	status := f.status()
	if x.storage {
		known, ok := s3Codes[status]
		if !ok {
			known = s3Code{strings.ReplaceAll(http.StatusText(status), " ", ""), "This is a simulated fault."}
		}
		if f.Code != "" {
			known = s3Code{f.Code, "This is a simulated fault."}
		}
		s3Error{status: status, Code: known.code, Message: known.message}.write(x.w, x.r)
		return
	}
	if status == http.StatusInternalServerError {
		incident().write(x.w)
		return
	}
	refuse(status, "Simulated fault: "+http.StatusText(status)).write(x.w)
}

type s3Code struct{ code, message string }

// s3Codes are the usual codes of S3.
var s3Codes = map[int]s3Code{
	400: {"InvalidRequest", "Invalid Request"},
	403: {"AccessDenied", "Access Denied"},
	404: {"NoSuchKey", "The specified key does not exist."},
	405: {"MethodNotAllowed", "The specified method is not allowed against this resource."},
	409: {"OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again."},
	411: {"MissingContentLength", "You must provide the Content-Length HTTP header."},
	412: {"PreconditionFailed", "At least one of the preconditions you specified did not hold."},
	429: {"TooManyRequests", "Please reduce your request rate."},
	500: {"InternalError", "We encountered an internal error. Please try again."},
	501: {"NotImplemented", "A header you provided implies functionality that is not implemented."},
	503: {"SlowDown", "Please reduce your request rate."},
}

// reset resets the connection: amid the answer of the storage to a GET, before or amid the body of a PUT, at once otherwise.
func (x *exchange) reset(variant uint64) {
	switch {
	case x.what == "get" && x.s.bucket == nil: // which has no answer to speak of
		x.serve(&cutWriter{statusWriter: x.w}, x.r)
	case (x.what == "put" || x.what == "part") && variant%2 == 0:
		io.CopyN(io.Discard, x.r.Body, x.r.ContentLength/2) // the connection ends either way
	}
	x.w.drop(true)
}

// stall holds the request until the client leaves or the server is closed. A small body is read: the server then
// hears the client leave. A large one fills the buffers of the sockets, and the client's writing stands still.
func (x *exchange) stall() {
	const small = 64 << 10
	if x.r.ContentLength <= small {
		io.CopyN(io.Discard, x.r.Body, small) // a client that has left is what we wait for
	}
	select {
	case <-x.r.Context().Done():
	case <-x.s.closing:
	}
	x.w.drop(false)
}

// redirect leads to the same thing on the alternate port. A URL that is not valid here is refused, not signed again.
func (x *exchange) redirect() {
	status := http.StatusTemporaryRedirect
	if x.r.Method == http.MethodGet || x.r.Method == http.MethodHead {
		status = http.StatusFound
	}
	location := x.s.alternate + x.r.URL.RequestURI()
	if x.s.signer.signed(x.r) {
		if refusal := x.s.signer.verify(x.r, x.s.options.Clock()); refusal != nil {
			refusal.write(x.w, x.r)
			return
		}
		location = x.s.signer.moved(x.r, strings.TrimPrefix(x.s.alternate, "http://"))
	}
	x.w.Header().Set("Location", location)
	x.w.WriteHeader(status)
}

// noAnswer swallows an answer.
type noAnswer struct{ header http.Header }

func (w *noAnswer) Header() http.Header         { return w.header }
func (w *noAnswer) Write(p []byte) (int, error) { return len(p), nil }
func (w *noAnswer) WriteHeader(int)             {}

// rotWriter lets an object rot before anybody hears that it is stored.
type rotWriter struct {
	*statusWriter
	rot func()
}

func (w *rotWriter) WriteHeader(status int) {
	if status == http.StatusOK {
		w.rot()
	}
	w.statusWriter.WriteHeader(status)
}

// Write answers 200 where nobody has said otherwise.
func (w *rotWriter) Write(p []byte) (int, error) {
	if w.statusWriter.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.statusWriter.Write(p)
}

// cutWriter lets the first half of an answer through, and then resets the connection.
type cutWriter struct {
	*statusWriter
	left int64
}

var errCut = errors.New("the connection was reset on purpose")

func (w *cutWriter) WriteHeader(status int) {
	size, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	if err != nil {
		size = 0
	}
	w.left = size / 2
	w.statusWriter.WriteHeader(status)
}

func (w *cutWriter) Write(p []byte) (int, error) {
	n, err := w.statusWriter.Write(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	if err == nil && n < len(p) {
		w.flush()
		w.drop(true)
		err = errCut
	}
	return n, err
}
