package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Run is what callers get to see of a run. An [*agent.Run] is one.
type Run interface {
	AddArtifact(name string, source upload.Source, o agent.ArtifactOptions) error
	WaitArtifact(ctx context.Context, name string) (upload.Receipt, error)
	Redact(values ...string) error
	Progress() agent.Progress
}

// Runs finds the run that a caller means. A caller that does not say which has the task "", and means the only one. Errors that are [ErrNoRun]
// are for the caller to read.
type Runs func(task schema.TaskID, run schema.RunID) (Run, error)

// Only is the one run of an agent.
func Only(r Run) Runs {
	return func(task schema.TaskID, run schema.RunID) (Run, error) {
		if p := r.Progress(); task != "" && (task != p.TaskID || run != p.RunID) {
			return nil, fmt.Errorf("%w: this agent has run %d of task %s alone; see TASK_ID and RUN_ID", ErrNoRun, p.RunID, p.TaskID)
		}
		return r, nil
	}
}

// Options of a server. The zero value works.
type Options struct {
	// Connections bounds how many callers are served at once; others wait. Default: 64.
	Connections int
	// Logger takes what was asked for, but no value that is to be redacted. Default: none.
	Logger *slog.Logger
}

// Server serves a socket.
type Server struct {
	folder  *folder
	runs    Runs
	logger  *slog.Logger
	http    *http.Server
	end     context.CancelCauseFunc // of all requests
	serving sync.WaitGroup
}

// Listen serves a socket in the folder dir, which is made if need be and has to be private: mode 0700, of our own user. With dir "" it makes
// one in the system's temporary folder, which Close removes. An error may be [ErrInUse] or [ErrPathTooLong].
func Listen(dir string, runs Runs, o Options) (*Server, error) {
	if o.Connections <= 0 {
		o.Connections = 64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("serve socket: %w", err)
	}
	l, err := f.listen()
	if err != nil {
		return nil, fmt.Errorf("serve socket: %w", errors.Join(err, f.close()))
	}
	s := &Server{folder: f, runs: runs, logger: o.Logger}
	ctx, end := context.WithCancelCause(context.Background())
	s.end = end
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withPeer, ErrorLog: log.New(slogWriter{o.Logger}, "", 0),
	}
	s.serving.Go(func() {
		if err := s.http.Serve(limit(l, o.Connections)); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("socket is not served any more", "error", err)
		}
	})
	return s, nil
}

// Path is where the socket is: callers want it as [Variable].
func (s *Server) Path() string { return s.folder.socket() }

// Close ends all requests, with an answer that says so, and removes the socket. What was added goes on being uploaded.
func (s *Server) Close() error {
	s.end(errClosing)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // callers that read nothing do not hold us up
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.serving.Wait()
	if err := s.folder.close(); err != nil {
		return fmt.Errorf("remove socket: %w", err)
	}
	return nil
}

var errClosing = errors.New("the agent takes no more requests: the command has ended")

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/artifacts", s.upload)
	mux.HandleFunc("POST /v1/redactions", s.redact)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.admit(r); err != nil {
			s.logger.Warn("caller is refused", "error", err)
			refuse(w, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, MaxRequest)
		mux.ServeHTTP(w, r)
	})
}

// admit refuses whoever is not to speak with us.
func (s *Server) admit(r *http.Request) error {
	who, _ := r.Context().Value(peerKey{}).(caller)
	if err := who.check(); err != nil {
		return err
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); !ok || !s.folder.hasToken(token) {
		return fmt.Errorf("%w: it lies next to the socket, in the file %s", ErrToken, tokenName)
	}
	return nil
}

// run is the run that a request is about.
func (s *Server) run(r *http.Request) (Run, error) {
	query := r.URL.Query()
	task, number := schema.TaskID(query.Get("task")), 0
	if text := query.Get("run"); text != "" {
		var err error
		if number, err = strconv.Atoi(text); err != nil || number < 0 {
			return nil, fmt.Errorf("%w: %q is no run id", ErrNoRun, text)
		}
	}
	return s.runs(task, schema.RunID(number))
}

func (s *Server) redact(w http.ResponseWriter, r *http.Request) {
	run, err := s.run(r)
	var asked redactions
	if err == nil {
		err = decode(r, &asked)
	}
	values := asked.Values
	for _, value := range asked.Base64 {
		values = append(values, string(value))
	}
	size := 0
	for _, value := range values {
		size += len(value)
	}
	switch {
	case err != nil:
	case len(values) == 0:
		err = badRequest{errors.New("there is no value to be redacted")}
	case size > MaxRedaction:
		err = badRequest{fmt.Errorf("the values have %d bytes, and may have %d", size, MaxRedaction)}
	default:
		err = run.Redact(values...)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	s.logger.Info("more is redacted from now on", "values", len(values))
	w.WriteHeader(http.StatusNoContent)
}

// decode reads a request. Its errors show nothing of it.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if large := (*http.MaxBytesError)(nil); err == nil || errors.As(err, &large) {
		return err
	}
	return badRequest{errors.New("the body is not what this request wants")}
}

// badRequest is the caller's own fault.
type badRequest struct{ error }

// failureOf is what a caller is told, with the HTTP status.
func failureOf(err error) (failure, int) {
	f, status := failure{Message: err.Error(), Code: codeEnded}, http.StatusServiceUnavailable
	bad, large := badRequest{}, (*http.MaxBytesError)(nil)
	switch {
	case errors.Is(err, ErrUser):
		f.Code, status = codeUser, http.StatusForbidden
	case errors.Is(err, ErrToken):
		f.Code, status = codeToken, http.StatusUnauthorized
	case errors.Is(err, ErrNoRun):
		f.Code, status = codeNoRun, http.StatusNotFound
	case errors.As(err, &large):
		f.Code, status = codeTooLarge, http.StatusRequestEntityTooLarge
		f.Message = fmt.Sprintf("the request has more than %d bytes", large.Limit)
	case errors.As(err, &bad):
		f.Code, status = codeBadRequest, http.StatusBadRequest
	case errors.Is(err, livelog.ErrShortSecret):
		f.Code, status = codeTooShort, http.StatusBadRequest
	case errors.Is(err, agent.ErrClaimLost):
		f.Code, status = codeClaimLost, http.StatusConflict
	}
	return f, status
}

func refuse(w http.ResponseWriter, err error) {
	f, status := failureOf(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(f) // a caller that has gone does not read it
}

// caller is who has connected.
type caller struct {
	uid   int
	known bool
	err   error
}

type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	who := caller{known: true, err: errors.New("not a unix socket")}
	if held, ok := c.(heldConn); ok {
		who.uid, who.known, who.err = peer(held.UnixConn)
	}
	return context.WithValue(ctx, peerKey{}, who)
}

// check says whether it is of our own user, or root.
func (c caller) check() error {
	own := os.Geteuid()
	switch {
	case c.err != nil:
		return fmt.Errorf("%w socket, it seems: ask who is there: %w", ErrUser, c.err)
	case c.known && c.uid != own && c.uid != 0:
		return fmt.Errorf("%w socket: the caller has user id %d, the agent %d", ErrUser, c.uid, own)
	}
	return nil
}

// slogWriter takes the lines of net/http.
type slogWriter struct{ logger *slog.Logger }

func (w slogWriter) Write(p []byte) (int, error) {
	w.logger.Debug("socket", "message", strings.TrimSpace(string(p)))
	return len(p), nil
}
