package page

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// Options of a page. Storage is required, the rest may be zero.
type Options struct {
	Storage *queue.Storage

	// Tasks lists the tasks, oldest first. One with only a TaskID is fine: its state is told from the storage. nil: there is no list,
	// and who looks for a task has to know its id.
	Tasks func(context.Context) ([]schema.TaskStatus, error)

	// Status is what the queue says of a task, such as [queue.Client.Status]. An error, or nil: the state is told from the storage, which cannot
	// tell a run that goes on from one that died until the task's deadline has passed.
	Status func(context.Context, schema.TaskID) (schema.TaskStatus, error)

	// Hosts are the names, without a port, by which the page may be called besides localhost and the address it is reached at.
	Hosts []string

	Quiet  time.Duration // how long nothing may have come of the log of a lost run until it is taken to have ended; default 5 s
	Logger *slog.Logger  // told what could not be read, at level debug; default: discards
}

// Page is the handler, to be mounted at the root. It is safe for concurrent use.
type Page struct {
	o     Options
	mux   *http.ServeMux
	views views
}

//go:embed static
var static embed.FS

// The page runs nothing but its own files, and nobody frames it.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// New makes the page.
func New(o Options) *Page {
	if o.Quiet <= 0 {
		o.Quiet = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Page{o: o, mux: http.NewServeMux()}
	p.views.read = p.readTask
	for _, pattern := range []string{"/{$}", "/tasks/{id}", "/tasks/{id}/runs/{run}"} {
		p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { serveFile(w, r, "index.html") })
	}
	p.mux.HandleFunc("/static/{name}", func(w http.ResponseWriter, r *http.Request) { serveFile(w, r, r.PathValue("name")) })
	p.mux.HandleFunc("/api/tasks", p.serveTasks)
	p.mux.HandleFunc("/api/tasks/{id}", p.serveTask)
	p.mux.HandleFunc("/api/tasks/{id}/documents/{name}", p.serveDocument)
	p.mux.HandleFunc("/api/tasks/{id}/runs/{run}/documents/{name}", p.serveDocument)
	p.mux.HandleFunc("/api/tasks/{id}/runs/{run}/artifacts", p.serveArtifacts)
	p.mux.HandleFunc("/api/tasks/{id}/runs/{run}/log", p.serveLog)
	return p
}

func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	switch {
	case !p.called(r):
		refuse(w, http.StatusMisdirectedRequest, "this page is not served under that name; use the address that was printed")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "the page only reads: GET or HEAD")
	case strings.HasPrefix(r.URL.Path, "/api/") && fromElsewhere(r):
		refuse(w, http.StatusForbidden, "only the page itself may ask")
	default:
		p.mux.ServeHTTP(w, r)
	}
}

// called says whether the request is for a host that we are: a name from outside that suddenly has our address belongs to
// somebody whose scripts would be let in.
func (p *Page) called(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || slices.ContainsFunc(p.o.Hosts, func(known string) bool { return strings.EqualFold(known, host) }) {
		return true
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.IsLoopback() {
		return ip != nil
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.IP.Equal(ip)
}

// fromElsewhere says whether a browser asks on behalf of another site's page.
func fromElsewhere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}

// serveFile serves a file of the page itself.
func serveFile(w http.ResponseWriter, r *http.Request, name string) {
	data, err := static.ReadFile("static/" + name)
	if err != nil {
		refuse(w, http.StatusNotFound, "there is no such page")
		return
	}
	sum := sha256.Sum256(data)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "no-cache")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	if strings.HasSuffix(name, ".js") { // what the system's table of types says is not to be relied on
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Write(data) // a reader who has left is no error of ours
}

// answer writes what the API has to say.
func answer(w http.ResponseWriter, status int, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"error":"the answer is no JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	w.Write(data)
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]string{"error": why})
}

// failed answers with an error of the storage.
func (p *Page) failed(w http.ResponseWriter, r *http.Request, err error) {
	p.o.Logger.Debug("inspector page", "path", r.URL.Path, "err", err)
	switch {
	case r.Context().Err() != nil: // nobody listens
	case errors.Is(err, queue.ErrNotFound):
		refuse(w, http.StatusNotFound, redact(err.Error()))
	default:
		refuse(w, http.StatusBadGateway, redact(err.Error()))
	}
}
