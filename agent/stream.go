package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// StreamOptions adjust a [Stream]. The zero value works.
type StreamOptions struct {
	// Key signs the links: at least 32 random bytes. With the same key, links outlive the process, for runs that are resumed.
	// Default: a random one of the Stream's own.
	Key []byte
	// Origins are the web pages that may read from a browser, see [livelog.HandlerOptions]. Default: none.
	Origins []string
	// Validity is how long a link is good for; default 24 h. A run that lasts longer has logs.json stored with fresh ones at half that time.
	Validity time.Duration
	// Grace is how long the readers of a log have, after its end, to get the rest of it: so long the end of the run
	// waits for them, if there are any. Default: 5 s.
	Grace time.Duration
	// Logger is told, at debug level, of answers that broke off. Default: none.
	Logger *slog.Logger
}

// Stream serves the logs of runs over HTTP while they are written, right from where they are: for workers that
// readers can reach. It is an [http.Handler], one for all runs of a process:
//
//	stream, err := agent.NewStream("https://worker-7.example/logs/", agent.StreamOptions{})
//	http.Handle("/logs/", stream)
//	run, err := agent.Start(ctx, q, claim, agent.Options{Stream: stream})
//
// While a run lasts its logs.json names each log once more, as stream/NAME: a link to this log, which is signed and expires. How it
// can be read says [livelog.Handler]. The link stands in logs.json only: whoever can read that can read the log.
// It is taken out when the logs end. NAME and live/NAME are there all the time, so that a reader who finds nobody at the link,
// or whose connection tears, goes on there.
//
// An answer that ends well is the log up to its end. Readers who do not have it all when the run ends have [StreamOptions].Grace from
// the end of the log on; then, and at once when a run is given up or left to be resumed, their connections are torn. After
// that a link is answered 410 Gone; a run that is resumed is served again.
type Stream struct {
	base  *url.URL
	links *livelog.Links
	o     StreamOptions

	mu   sync.Mutex
	logs map[string]*streamedLog // by the path of their links below base
}

// streamedLog is a log that is served.
type streamedLog struct {
	path    string
	handler *livelog.Handler
	end     context.CancelCauseFunc // tears all answers
	readers int                     // guarded by the Stream's mu
	left    chan struct{}           // the same; closed when the last reader leaves, nil while nobody waits for that
}

// streamPrefix is where logs.json names the links.
const streamPrefix = "stream/"

// tearing bounds how long the end of a run waits for answers that were torn: a server without deadlines waits for its clients.
const tearing = 2 * time.Second

var errNotServed = errors.New("the run has ended, and its logs are not served any more")

// NewStream makes a Stream that readers reach at baseURL, http or https. Requests may arrive with its path before that of
// the log, or with that stripped.
func NewStream(baseURL string, o StreamOptions) (*Stream, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("make stream at %s: want an http or https URL without a query", schema.Redact(baseURL))
	}
	if n := len(o.Key); n > 0 && n < 32 {
		return nil, fmt.Errorf("make stream: a key of %d bytes is too short, want 32 random ones", n)
	}
	base = base.JoinPath("/") // ends with a slash
	if o.Validity <= 0 {
		o.Validity = 24 * time.Hour
	}
	if o.Grace <= 0 {
		o.Grace = 5 * time.Second
	}
	return &Stream{base: base, links: livelog.NewLinks(o.Key), o: o, logs: map[string]*streamedLog{}}, nil
}

// ServeHTTP answers one reader.
func (s *Stream) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, s.base.Path), "/")
	log := s.enter(path)
	if log == nil {
		s.handler(req.Context(), path, nil).ServeHTTP(w, req)
		return
	}
	defer s.leave(log)
	log.handler.ServeHTTP(w, req)
}

// handler serves the log at path; spool is nil if it is not there.
func (s *Stream) handler(ctx context.Context, path string, spool *livelog.Spool) *livelog.Handler {
	return livelog.NewHandler(ctx, spool, path, s.links, livelog.HandlerOptions{Origins: s.o.Origins, Logger: s.o.Logger})
}

// open serves the log in spool from now on.
func (s *Stream) open(path string, spool *livelog.Spool) *streamedLog {
	ctx, end := context.WithCancelCause(context.Background())
	log := &streamedLog{path: path, handler: s.handler(ctx, path, spool), end: end}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[path] = log
	return log
}

// close ends the service of a log as soon as nobody reads it, and at that moment in any case, by cutting off who is left.
// When it returns nobody reads it any more.
func (s *Stream) close(log *streamedLog, until time.Time) {
	for !s.shut(log, !time.Now().Before(until)) {
		select {
		case <-s.idle(log):
		case <-time.After(time.Until(until)):
		}
	}
	log.end(errNotServed)
	select {
	case <-s.idle(log):
	case <-time.After(tearing):
	}
}

// shut closes the log to new readers, if it has none now or in any case, and says whether it did.
func (s *Stream) shut(log *streamedLog, anyway bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if log.readers > 0 && !anyway {
		return false
	}
	if s.logs[log.path] == log { // and not the same log of a run that was resumed meanwhile
		delete(s.logs, log.path)
	}
	return true
}

// idle is closed as soon as nobody reads the log.
func (s *Stream) idle(log *streamedLog) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if log.readers == 0 {
		idle := make(chan struct{})
		close(idle)
		return idle
	}
	if log.left == nil {
		log.left = make(chan struct{})
	}
	return log.left
}

// enter gives the log at path, if it is served, with one more reader.
func (s *Stream) enter(path string) *streamedLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.logs[path]
	if log != nil {
		log.readers++
	}
	return log
}

func (s *Stream) leave(log *streamedLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if log.readers--; log.readers == 0 && log.left != nil {
		close(log.left)
		log.left = nil
	}
}

// link lets its holder read the log at path, for Validity from now on.
func (s *Stream) link(path string) schema.SignedURL {
	base := *s.base
	base.Path += path
	base.RawPath = "" // none that url.URL would not make by itself
	return s.links.Sign(&base, path, time.Now().Add(s.o.Validity))
}

// streamPath is where a Stream serves a log of the run.
func (r *Run) streamPath(log string) string {
	return fmt.Sprintf("%s/%d/%s", r.lease.taskID, r.lease.runID, log)
}

// streamLink is a link to a log while it is written.
func (r *Run) streamLink(log string) (schema.SignedURL, bool) {
	if r.o.Stream == nil {
		return schema.SignedURL{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.o.Stream.link(r.streamPath(log)), r.sealed.IsZero()
}

// keepLinks has logs.json stored again before the links in it expire.
func (r *Run) keepLinks() {
	renewal := time.NewTicker(r.o.Stream.o.Validity / 2)
	defer renewal.Stop()
	for {
		select {
		case <-renewal.C:
		case <-r.ctx.Done():
			return
		}
		r.mu.Lock()
		if r.sealed.IsZero() {
			r.logsDocument.declare()
		}
		r.mu.Unlock()
	}
}

// endStreams ends the service of all logs of a run that is released: their files are about to be closed.
func (r *Run) endStreams() {
	r.mu.Lock()
	until := time.Now()
	if r.o.Stream != nil && r.over && !r.sealed.IsZero() {
		until = r.sealed.Add(r.o.Stream.o.Grace)
	}
	r.mu.Unlock()
	for _, log := range r.allLogs() {
		if log.stream != nil {
			r.o.Stream.close(log.stream, until)
		}
	}
}
