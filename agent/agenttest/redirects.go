package agenttest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Redirect has the storage answer a kind of request through redirects, as one does that sits behind a name of its own, or has moved.
// What is asked for is served where the last of them leads.
type Redirect struct {
	Method string      // of the requests that are redirected; default: GET and HEAD
	Path   string      // only requests whose path contains it
	Status int         // of the redirects; default 302 for GET and HEAD, 307 for others
	Header http.Header // that they have besides Location

	// Via is what each redirect has as Location, in order; an empty one has none. In it
	//
	//	{storage}, {alternate}  stand for the scheme, host and port of the storage, and of another port
	//	{localhost}             for those of the storage by its other name
	//	{https}, {untrusted}    for those of the storage over TLS, with a certificate of [Server.Certificate], and with one that nobody knows
	//	{storage-host} and so on for the host and port alone
	//	{path}, {relative}      for the path of what was asked for at the next hop, absolute, or relative to this one
	//	{query}                 for "?" and the query of the request, signed for the host that {path} follows; "" if there was none
	//
	// and the rest for itself: "{https}{path}", "//evil.example{path}".
	Via []string

	// Loop has the last redirect followed by the first, for ever.
	Loop bool
}

// Hop is one request to the storage as it arrived, with all that was in it: secrets, too.
type Hop struct {
	At     string // scheme, host and port of who was asked
	Method string
	Host   string // as the client named it
	URI    string
	Header http.Header
}

// viaPath begins the path of what was asked for behind a redirect: then come the numbers of the rule and of the hop.
const viaPath = "/.via/"

// redirects is what becomes of the Options of this name.
type redirects struct {
	rules []Redirect
	tls   *secure // nil without rules

	mu   sync.Mutex
	hops []Hop
}

// Hops lists every request to the storage, in order, if there are Options.Redirects; otherwise none.
func (s *Server) Hops() []Hop {
	s.redirects.mu.Lock()
	defer s.redirects.mu.Unlock()
	return slices.Clone(s.redirects.hops)
}

// redirecting stands before the storage at one address.
func (s *Server) redirecting(at string, next http.Handler) http.Handler {
	if len(s.redirects.rules) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.redirects.mu.Lock()
		s.redirects.hops = append(s.redirects.hops, Hop{At: at, Method: r.Method, Host: r.Host, URI: r.RequestURI, Header: r.Header.Clone()})
		s.redirects.mu.Unlock()
		r, rule, hop := arrived(r)
		if hop == 0 {
			rule = slices.IndexFunc(s.redirects.rules, func(rule Redirect) bool { return rule.matches(r) })
		}
		if rule < 0 || rule >= len(s.redirects.rules) {
			next.ServeHTTP(w, r)
			return
		}
		via := s.redirects.rules[rule]
		if via.Loop {
			hop %= len(via.Via)
		}
		if hop >= len(via.Via) {
			next.ServeHTTP(w, r)
			return
		}
		s.redirectTo(w, r, via, rule, hop)
	})
}

func (rule Redirect) matches(r *http.Request) bool {
	method := r.Method == rule.Method || rule.Method == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	return method && strings.Contains(r.URL.Path, rule.Path)
}

// arrived is what a request asks for, and how many hops of a rule it has behind it.
func arrived(r *http.Request) (_ *http.Request, rule, hop int) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), viaPath)
	parts := strings.SplitN(rest, "/", 3)
	if !ok || len(parts) < 3 {
		return r, -1, 0
	}
	rule, _ = strconv.Atoi(parts[0])
	hop, _ = strconv.Atoi(parts[1])
	r = r.Clone(r.Context())
	r.URL.RawPath = "/" + parts[2]
	r.URL.Path, _ = url.PathUnescape(r.URL.RawPath)
	return r, rule, hop
}

// redirectTo answers with one redirect.
func (s *Server) redirectTo(w http.ResponseWriter, r *http.Request, via Redirect, rule, hop int) {
	status := via.Status
	if status == 0 {
		status = http.StatusTemporaryRedirect
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			status = http.StatusFound
		}
	}
	for name, values := range via.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if to := via.Via[hop]; to != "" {
		w.Header().Set("Location", s.location(r, to, viaPath+strconv.Itoa(rule)+"/"+strconv.Itoa(hop+1)))
	}
	w.WriteHeader(status)
}

// location fills in a Location; below is where the next hop is.
func (s *Server) location(r *http.Request, template, below string) string {
	for name, at := range map[string]string{
		"storage": s.storageURL, "alternate": s.alternate, "https": s.redirects.tls.trusted, "untrusted": s.redirects.tls.untrusted,
		"localhost": strings.Replace(s.storageURL, "127.0.0.1", "localhost", 1),
	} {
		_, host, _ := strings.Cut(at, "//")
		template = strings.NewReplacer("{"+name+"}", at, "{"+name+"-host}", host).Replace(template)
	}
	path := below + r.URL.EscapedPath()
	// What the client has asked for may itself be below a hop: the request URI tells how deep.
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	relative := strings.Repeat("../", max(strings.Count(asked, "/")-1, 0)) + path[1:]
	host, _, _ := strings.Cut(template, "{path}")
	_, host, _ = strings.Cut(host, "//")
	if host == "" {
		host = r.Host
	}
	return strings.NewReplacer("{path}", path, "{relative}", relative, "{query}", s.queryFor(r, host)).Replace(template)
}

// queryFor is the query of a request, signed for another host if it was signed.
func (s *Server) queryFor(r *http.Request, host string) string {
	query := r.URL.Query()
	raw := r.URL.RawQuery
	if query.Has("X-Amz-Signature") {
		date, _ := time.Parse(amzDate, query.Get("X-Amz-Date")) // one that makes no sense is refused where this leads
		_, raw, _ = strings.Cut(s.signer.resign(r, host, query, date), "?")
	}
	if raw == "" {
		return ""
	}
	return "?" + raw
}
