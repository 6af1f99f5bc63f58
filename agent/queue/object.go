package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// maxResumes is how often the connection may break in the middle of one object.
const maxResumes = 10

// Object is an artifact or a log while it is read. Read and Close are for one goroutine at a time.
type Object struct {
	Size        int64  // bytes that Read gives, or -1 if that is not known beforehand (as with gzip)
	ContentType string // as the storage says; may be ""
	ETag        string // may be ""

	raw     *stream
	decoded io.Reader
}

// Open opens an artifact or a log by its URL, as it stands in result.json or logs.json, through redirects,
// and undoes a Content-Encoding of gzip.
//
// A body that is cut short is an error that errors.Is knows as io.ErrUnexpectedEOF, never a silent end. If the
// connection breaks, or stays silent for AttemptTimeout, within an object of known size that has an ETag, reading goes on
// where it stopped with a range request, ten times at most. The end of ctx ends the reads too. Close the object.
func (s *Storage) Open(ctx context.Context, rawURL string) (*Object, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, &URLError{Use: "object", Problem: "it is not an absolute http or https URL", Example: "https://tasks.taskcluster.net/<taskId>/runs/0/artifacts/<name>"}
	}
	raw := &stream{
		storage: s, ctx: ctx, left: maxResumes, size: -1,
		call: call{op: "read", object: schema.Redact(rawURL), method: http.MethodGet, url: rawURL, refusal: refusalOfObject},
	}
	resp, err := raw.open(nil)
	if err != nil {
		return nil, err
	}
	raw.size, raw.etag, raw.encoding = resp.ContentLength, resp.Header.Get("ETag"), resp.Header.Get("Content-Encoding")
	o := &Object{Size: raw.size, ContentType: resp.Header.Get("Content-Type"), ETag: raw.etag, raw: raw}
	if o.decoded, err = decoded(raw.encoding, raw); err != nil {
		_ = raw.Close()
		return nil, raw.call.failed(err)
	}
	if o.decoded != io.Reader(raw) && o.Size != 0 {
		o.Size = -1
	}
	return o, nil
}

// Read reads the object, decoded. Errors other than io.EOF are an [*Error].
func (o *Object) Read(p []byte) (int, error) {
	n, err := o.decoded.Read(p)
	var known *Error
	if err == nil || err == io.EOF || errors.As(err, &known) {
		return n, err
	}
	return n, o.raw.call.failed(quiet(err)) // the gzip in it is damaged
}

// Close ends the reading. It need not have come to the end.
func (o *Object) Close() error { return o.raw.Close() }

// stream is the stored bytes of an object, over as many connections as it takes.
type stream struct {
	storage *Storage
	ctx     context.Context
	call    call

	size     int64  // -1: unknown
	etag     string // as first seen
	encoding string
	offset   int64 // bytes read so far
	left     int   // resumes left
	err      error // sticky

	body   io.ReadCloser
	cancel context.CancelCauseFunc // of the connection's context
	conn   context.Context
	watch  *time.Timer // cancels a silent connection
}

// open makes the request and leaves the answer's body in s.body. header is for a resume.
func (s *stream) open(header http.Header) (*http.Response, error) {
	var answer *http.Response
	k := s.call
	k.header = header
	err := s.storage.retry(s.ctx, k, func() *Error {
		conn, cancel := context.WithCancelCause(s.ctx)
		watch := time.AfterFunc(s.storage.timeout, func() { cancel(s.storage.slow()) })
		resp, e := s.storage.send(conn, k)
		if !watch.Stop() && e == nil { // it fired just now, and took the connection with it
			_ = resp.Body.Close()
			e = k.failed(s.storage.slow())
			e.temporary = true
		}
		if e != nil {
			cancel(nil)
			return e
		}
		answer, s.body, s.conn, s.cancel, s.watch = resp, resp.Body, conn, cancel, watch
		return nil
	})
	return answer, err
}

func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for s.err == nil {
		if s.size >= 0 { // silence is a sign of trouble, unless it is a live log
			s.watch.Reset(s.storage.timeout)
		}
		n, err := s.body.Read(p)
		s.watch.Stop()
		s.offset += int64(n)
		switch {
		case err == nil:
		case s.offset == s.size, err == io.EOF && s.size < 0:
			s.err = io.EOF
		default:
			s.err = s.resume(broken(s.conn, err))
		}
		if n > 0 || err == nil {
			return n, nil
		}
	}
	return 0, s.err
}

// resume opens the rest of the object after err, or says why it cannot.
func (s *stream) resume(err error) error {
	s.release()
	cut := func(why error) error {
		e := s.call.failed(why)
		e.Attempts = maxResumes - s.left + 1
		return e
	}
	switch {
	case s.ctx.Err() != nil:
		return cut(&endError{cause: context.Cause(s.ctx), ctx: s.ctx.Err()})
	case s.etag == "" || strings.HasPrefix(s.etag, "W/") || s.size < 0 || s.offset == s.size || s.left == 0:
		return cut(fmt.Errorf("%w after %d bytes: %w", io.ErrUnexpectedEOF, s.offset, err))
	}
	s.left--
	resp, rerr := s.open(http.Header{
		"Range":    {"bytes=" + strconv.FormatInt(s.offset, 10) + "-"},
		"If-Match": {s.etag},
	})
	if rerr != nil {
		return rerr
	}
	want := fmt.Sprintf("bytes %d-%d/%d", s.offset, s.size-1, s.size)
	switch {
	case resp.StatusCode != http.StatusPartialContent:
		err = fmt.Errorf("%w after %d bytes; the storage does not give a part of an object", io.ErrUnexpectedEOF, s.offset)
	case resp.Header.Get("ETag") != s.etag, resp.Header.Get("Content-Encoding") != s.encoding, resp.Header.Get("Content-Range") != want:
		err = fmt.Errorf("%w after %d bytes", ErrChanged, s.offset)
	default:
		return nil
	}
	s.release()
	return cut(err)
}

// release lets the connection go.
func (s *stream) release() {
	if s.body != nil {
		s.watch.Stop()
		s.cancel(nil)
		_ = s.body.Close()
		s.body = nil
	}
}

func (s *stream) Close() error {
	s.release()
	if s.err == nil {
		s.err = s.call.failed(errors.New("object is closed"))
	}
	return nil
}
