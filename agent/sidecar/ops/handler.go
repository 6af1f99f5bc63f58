package ops

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/taskcluster/upload-agent/schema"
)

// Options of a [Handler]. The zero value works.
type Options struct {
	// Version is that of the program. Default: "unknown".
	Version string
	// HangsAfter is how old [Snapshot.Alive] may be before the agent counts as hanging. Default: 30 s.
	HangsAfter time.Duration
}

func (o Options) withDefaults() Options {
	if o.Version == "" {
		o.Version = "unknown"
	}
	if o.HangsAfter <= 0 {
		o.HangsAfter = 30 * time.Second
	}
	return o
}

// Handler answers an operator's questions, all by GET or HEAD:
//
//	/healthz      200 "ok", or 503 and why a restart may help
//	/readyz       200 "ok" while runs are taken, or 503 and why not
//	/metrics      for Prometheus
//	/status.json  a [schema.AgentStatus]
type Handler struct {
	source   Source
	counters *Counters
	o        Options
	started  time.Time
	mux      *http.ServeMux
}

// NewHandler tells of a source and its counters; nil counters stay at 0.
func NewHandler(s Source, c *Counters, o Options) *Handler {
	if c == nil {
		c = new(Counters)
	}
	h := &Handler{source: s, counters: c, o: o.withDefaults(), started: time.Now(), mux: http.NewServeMux()}
	h.mux.HandleFunc("GET /{$}", h.index)
	h.mux.HandleFunc("GET /healthz", h.health)
	h.mux.HandleFunc("GET /readyz", h.readiness)
	h.mux.HandleFunc("GET /status.json", h.status)
	h.mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(h), promhttp.HandlerOpts{}))
	return h
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.mux.ServeHTTP(w, r)
}

func (h *Handler) index(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "upload-agent\n\n/healthz\n/readyz\n/metrics\n/status.json\n")
}

func (h *Handler) health(w http.ResponseWriter, _ *http.Request) {
	answer(w, h.source.Snapshot().problem(time.Now(), h.o.HangsAfter))
}

func (h *Handler) readiness(w http.ResponseWriter, _ *http.Request) {
	answer(w, h.source.Snapshot().notReady())
}

// answer says ok, or what is wrong.
func answer(w http.ResponseWriter, wrong string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if wrong == "" {
		wrong = "ok"
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, withoutSecrets(wrong)) // whoever does not listen any more has no use for it
}

func (h *Handler) status(w http.ResponseWriter, r *http.Request) {
	body, err := schema.Encode(h.Status())
	if err != nil {
		http.Error(w, "status.json: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(append(body, '\n')))
}

// Status is the document that /status.json answers with.
func (h *Handler) Status() schema.AgentStatus {
	s, c := h.source.Snapshot(), h.counters
	if s.State == "" {
		s.State = schema.AgentStarting
	}
	problem := s.problem(time.Now(), h.o.HangsAfter)
	doc := schema.AgentStatus{
		Version: schema.Version, Agent: h.o.Version, State: s.State, Healthy: problem == "", Started: schema.Timestamp(h.started),
		Reason: withoutSecrets(problem),
		Totals: schema.AgentTotals{
			RunsOpen: s.Open, RunsSucceeded: c.Ended(Succeeded), RunsFailed: c.Ended(Failed),
			RunsNotCompleted: c.Ended(ClaimLost) + c.Ended(NotCompleted),
			LogBytes:         c.LogBytes.Load(), ArtifactsStored: c.Artifacts.Load(), ArtifactsMissing: c.Missing(), BytesUploaded: c.BytesUploaded.Load(),
		},
	}
	if doc.Reason == "" && s.State != schema.AgentReady {
		doc.Reason = withoutSecrets(s.NotReady)
	}
	for _, r := range s.Runs {
		doc.Runs = append(doc.Runs, r.document())
	}
	return doc
}

func (r Run) document() schema.AgentRun {
	doc := schema.AgentRun{
		Name: plain(r.Name), RunID: r.RunID, Phase: plain(r.Phase), Problem: withoutSecrets(r.Problem),
		LogBytes: r.LogBytes, ArtifactsStored: r.Stored, ArtifactsMissing: r.Missing,
	}
	if r.TaskID.Valid() {
		doc.TaskID = r.TaskID
	}
	if !r.TakenUntil.IsZero() {
		doc.TakenUntil = schema.Timestamp(r.TakenUntil)
	}
	return doc
}

// plain is a text that a document can hold: the name of a folder may be any bytes.
func plain(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

var urls = regexp.MustCompile(`[^\s"'(),;]*://[^\s"']*`)

// withoutSecrets redacts the URLs in a text: any of them may be a signed one.
func withoutSecrets(text string) string { return urls.ReplaceAllStringFunc(plain(text), schema.Redact) }
