package agenttest

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/taskcluster/upload-agent/schema"
)

// serveQueue, serveStorage and serveAlternate are the handlers of the three listeners.
func (s *Server) serveQueue(w http.ResponseWriter, r *http.Request)   { s.front(w, r, false, false) }
func (s *Server) serveStorage(w http.ResponseWriter, r *http.Request) { s.front(w, r, true, false) }

// serveAlternate is where redirects lead, of the queue and of the storage; no task is called "v1".
func (s *Server) serveAlternate(w http.ResponseWriter, r *http.Request) {
	s.front(w, r, !strings.HasPrefix(r.URL.Path, "/v1/"), true)
}

// exchange is one request on its way through the server.
type exchange struct {
	s       *Server
	w       *statusWriter
	r       *http.Request
	storage bool
	what    string
	body    []byte // of a request to the queue
	entry   int    // in the history

	arrivedAfter int // how many claims
}

// front watches a request, hits it with a fault or serves it, and writes it into the history.
func (s *Server) front(w http.ResponseWriter, r *http.Request, storage, redirected bool) {
	s.active.Add(1)
	defer s.active.Done()
	x := &exchange{s: s, w: &statusWriter{ResponseWriter: w}, r: r, storage: storage}
	w.Header().Set("Date", s.options.Clock().UTC().Format(http.TimeFormat)) // net/http's own is another clock's
	if !storage {
		x.arrivedAfter = s.queue.claimsSoFar()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, schema.MaxBytes))
		if err != nil {
			refuse(http.StatusRequestEntityTooLarge, "Request payload could not be read: "+err.Error()).write(w)
			return
		}
		x.body = body
	}
	x.what = x.classify()
	part := 0
	if x.what == "part" {
		part, _ = strconv.Atoi(r.URL.Query().Get("partNumber")) // one that is none is refused later
	}
	x.entry = s.history.begin(Request{What: x.what, Method: r.Method, Host: r.Host, Path: r.URL.Path, Part: part, At: s.options.Clock()})
	x.watch()
	kind := ""
	fault, variant := s.plan.decide(target{what: x.what, path: r.URL.Path, part: part, redirected: redirected})
	if fault == nil {
		x.serve(x.w, r)
	} else {
		kind = fault.Kind
		s.history.update(x.entry, func(r *Request) { r.Fault = kind })
		x.misbehave(fault, variant)
	}
	s.history.update(x.entry, func(r *Request) { r.Status = x.w.status })
	x.told()
	s.logger.Debug("request", "what", x.what, "method", r.Method, "path", r.URL.Path, "status", x.w.status, "fault", kind)
}

// classify says what a request asks for, in the words of [Request].
func (x *exchange) classify() string {
	if x.storage {
		return operation(x.r)
	}
	rt, _ := findRoute(x.r.Method, x.r.URL.Path)
	if rt == nil {
		return "other"
	}
	if rt.what == "claim" {
		if request, err := schema.DecodeLenient[schema.ClaimRequest]("request", x.body); err == nil && request.RunID != nil {
			return "reclaim"
		}
	}
	return rt.what
}

// watch tells the order checker what arrives, before any fault can hide it.
func (x *exchange) watch() {
	switch x.what {
	case "put", "create", "part", "complete":
		x.s.order.putArrived(keyOf(x.r))
	case "completed":
		_, args := findRoute(x.r.Method, x.r.URL.Path)
		id := schema.TaskID(args[0])
		request, err := schema.DecodeLenient[schema.CompletedRequest]("request", x.body)
		if _, e := x.s.queue.status(id); err == nil && !errors.Is(e, errUnknownTask) {
			x.s.order.reported(id, request.RunID, x.s.options.Clock())
		}
	}
}

// told tells the order checker that a worker has heard of the end of its claim.
func (x *exchange) told() {
	lost := x.w.status == http.StatusNotFound || x.w.status == http.StatusConflict || x.w.status == http.StatusGone
	if x.what != "reclaim" || !lost {
		return
	}
	_, args := findRoute(x.r.Method, x.r.URL.Path)
	if request, err := schema.DecodeLenient[schema.ClaimRequest]("request", x.body); err == nil {
		x.s.order.told(schema.TaskID(args[0]), *request.RunID)
	}
}

// serve does what is asked.
func (x *exchange) serve(w http.ResponseWriter, r *http.Request) {
	if !x.storage {
		x.s.call(w, r, x.body, x.arrivedAfter)
		return
	}
	if x.s.bucket != nil {
		x.s.bucket.lead(w, r)
		return
	}
	if etag := x.s.object(w, r); etag != "" {
		x.s.history.update(x.entry, func(r *Request) { r.Stored, r.ETag = true, etag })
	}
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) flush() { http.NewResponseController(w.ResponseWriter).Flush() }

// drop ends the connection in the middle of whatever it was in, with a reset if it can be had.
func (w *statusWriter) drop(reset bool) {
	w.status = 0 // whatever was written, no answer arrives
	conn, _, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return // dropped before
	}
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok && reset {
		tcp.SetLinger(0) // or the close is an orderly one
	}
	conn.Close()
}
