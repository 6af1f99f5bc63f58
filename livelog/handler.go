package livelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	eventType = "text/event-stream"

	// offsetHeader says where in the log the body begins, completeHeader whether a body that does not follow holds the end.
	offsetHeader   = "Log-Offset"
	completeHeader = "Log-Complete"
)

// HandlerOptions adjust a [Handler]. The zero value works.
type HandlerOptions struct {
	// Public lets everybody read, without a link. Default: the request must be one of Links.
	Public bool
	// Origins are the web pages that may read the log from a browser (CORS): "https://ci.example", or "*" for all,
	// which is safe, because it is the link that lets them read and not a cookie. Default: none.
	Origins []string
	// StallTimeout is how long a reader may take nothing before it counts as dead; default 30 min. See [Handler].
	StallTimeout time.Duration
	// KeepAlive is how often a stream of events that has nothing to say sends a comment, so that
	// no proxy closes it; default 15 s.
	KeepAlive time.Duration
	// Logger is told, at debug level, of answers that broke off; default: discards.
	Logger *slog.Logger
}

// Handler serves a log over HTTP while it is written, to any number of readers: GET and HEAD, and OPTIONS for browsers.
//
//	?expires= &signature=  the link, see [Links]: without it 403, as after its end
//	(no more)              what there is now, with its length; a Range (RFC 9110) gives a part of it
//	?follow=1              goes on until the log ends. A Range is answered as RFC 8673 has it, and one that lies ahead is waited for
//	?offset=N              from this byte on, with or without follow
//	?lines=N               from the beginning of the last N lines on, with or without follow
//	Accept: text/event-stream
//	                       follows as Server-Sent Events
//
// Where a body begins, its header Log-Offset says; a body that does not follow says with Log-Complete: true that the log has ended.
// The body is always the very bytes of the log: Accept-Encoding is ignored.
//
// An event holds up to 24 KiB of the log: "id" is the offset of the byte after it, so that a browser that reconnects
// with Last-Event-ID goes on where it was, and "data" is base64, because an event is text, in which a browser replaces what is
// not UTF-8 and takes \r, \n and \r\n for one and the same, whereas the bytes of a log are to arrive as they are. The last event is
// named "end", and its data is the size of the log. Who comes back after that gets 204, which tells a browser to stay away.
//
// The end of a body is the end of the log, or of what was asked for. An answer that has to break off earlier never ends
// like that: the connection is torn, also when a failed [Spool.Sync] takes back what was sent. The bytes are served
// as soon as they are written: a power cut may take back some of them, unlike those of [Publish].
//
// A slow reader is not dropped, and neither the writer nor another reader notices it: each reads from the page cache at
// its own pace, and a follower that has to wait for its client holds 128 KiB. A dead one is dropped: one that takes nothing for
// StallTimeout. The system tells of progress in steps of as much as its buffers hold, 6 MB perhaps on Linux, so that with the default
// a reader of less than some 4 KB a second that is far behind may count as dead: it goes on where it was, with a Range.
// A client that vanishes while the log is quiet is up to the server's TCP keep-alive.
// The timeouts of the [http.Server] do not cut a log that is followed.
type Handler struct {
	ctx   context.Context
	spool *Spool
	log   string
	links *Links
	o     HandlerOptions
}

// NewHandler makes a Handler of the log in s. log is the name under which links sign it: any, but another for each
// log whose handler has the same links. Without links, and not Public, nobody may read.
//
// s may be nil: that is a log that is not there any more, and who has a link to it is answered 410 Gone.
//
// When ctx ends, answers break off, so that [http.Server.Shutdown] need not wait for those who follow:
// end it first, or register its end with RegisterOnShutdown. End it, and wait for the server, before the spool's Release.
func NewHandler(ctx context.Context, s *Spool, log string, links *Links, o HandlerOptions) *Handler {
	if o.StallTimeout <= 0 {
		o.StallTimeout = 30 * time.Minute
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{ctx: ctx, spool: s, log: log, links: links, o: o}
}

// ServeHTTP answers one reader.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store") // the URL is a password and the log changes
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff") // whatever the log says, it is text
	h.allowOrigin(header, req.Header.Get("Origin"))
	switch req.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "a log can only be read", http.StatusMethodNotAllowed)
		return
	}
	query := req.URL.Query()
	if !h.o.Public {
		if err := h.links.check(query, h.log, time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	q, err := parseRequest(query, req.Header)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if h.spool == nil {
		http.Error(w, "this log is not served here any more", http.StatusGone)
		return
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	defer context.AfterFunc(h.ctx, func() { cancel(context.Cause(h.ctx)) })()
	a := newAnswer(ctx, w, h.o.StallTimeout)
	defer a.close()
	if err := h.answer(a, req, q); err != nil {
		h.o.Logger.Debug("reader of live log is cut off", "log", h.log, "err", err)
		panic(http.ErrAbortHandler) // as its documentation has it: the only way not to end the body as if it were whole
	}
}

// answer finds out what q means for the log as it is now. An error tears the connection.
func (h *Handler) answer(a *answer, req *http.Request, q request) error {
	size, sealed, err := h.spool.Wait(a.ctx, -1) // never waits
	if err != nil {
		return err
	}
	if q.lines >= 0 {
		buf := buffers.Get().(*buffer)
		q.offset, err = lastLines(h.spool.file, size, q.lines, buf[:])
		buffers.Put(buf)
		if err != nil {
			return fmt.Errorf("find the last lines: %w", err)
		}
	}
	switch {
	case q.events && q.resume && sealed && q.offset == size:
		a.WriteHeader(http.StatusNoContent)
		return nil
	case q.offset > size && !q.ranged && (sealed || !q.follow):
		a.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		http.Error(a, "the log is not that long", http.StatusRequestedRangeNotSatisfiable)
		return nil
	case q.events:
		return h.events(a, req, q)
	case q.follow && !sealed:
		return h.follow(a, req, q, size)
	}
	if q.ranged {
		q.offset = 0 // http.ServeContent looks at the Range
	}
	return h.serve(a, req, q.offset, size, sealed)
}

// serve sends the log from start to size, or the Range of it.
func (h *Handler) serve(a *answer, req *http.Request, start, size int64, sealed bool) error {
	header := a.Header()
	header.Set("Content-Type", textType)
	header.Set(offsetHeader, strconv.FormatInt(start, 10))
	header.Set(completeHeader, strconv.FormatBool(sealed))
	var content io.ReadSeeker = h.spool.Section(start, size-start)
	if file := h.spool.reopen(); file != nil {
		defer file.Close() // only read from: no error to lose
		content = &filePart{file: file, start: start, size: size - start}
	}
	http.ServeContent(a, req, "", time.Time{}, content)
	return a.err
}

// follow sends the log as it grows.
func (h *Handler) follow(a *answer, req *http.Request, q request, size int64) error {
	status := http.StatusOK
	header := a.Header()
	if q.ranged {
		if q.suffix > 0 {
			q.offset, q.end = max(0, size-q.suffix), maxRange+1
		}
		status = http.StatusPartialContent
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", q.offset, q.end-1))
	}
	header.Set("Accept-Ranges", "bytes")
	header.Set(offsetHeader, strconv.FormatInt(q.offset, 10))
	return h.stream(a, req, textType, status, func() error {
		_, err := h.copy(a, q.offset, q.end, 0, func(buf *buffer) []byte { return buf[:] }, func(_ *buffer, p []byte, _ int64) error {
			_, err := a.Write(p)
			return err
		})
		return err
	})
}

// stream begins an answer that goes on for as long as the log, and leaves its body to send.
func (h *Handler) stream(a *answer, req *http.Request, mimeType string, status int, send func() error) error {
	header := a.Header()
	header.Set("Content-Type", mimeType)
	header.Set("X-Accel-Buffering", "no") // a word to nginx: not to wait for more
	a.endless()
	a.WriteHeader(status)
	if req.Method == http.MethodHead {
		return nil
	}
	if err := errors.Join(a.renew(), a.flush()); err != nil {
		return err
	}
	return send()
}

// allowOrigin tells a browser which pages may read.
func (h *Handler) allowOrigin(header http.Header, origin string) {
	if len(h.o.Origins) == 0 {
		return
	}
	switch {
	case slices.Contains(h.o.Origins, "*"):
		origin = "*"
	case slices.Contains(h.o.Origins, origin):
		header.Add("Vary", "Origin")
	default:
		header.Add("Vary", "Origin")
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Allow-Methods", "GET, HEAD")
	header.Set("Access-Control-Allow-Headers", "Range, Last-Event-ID")
	header.Set("Access-Control-Expose-Headers", "Content-Range, "+offsetHeader+", "+completeHeader)
	header.Set("Access-Control-Max-Age", "3600")
}
