package agenttest

import (
	"bytes"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Cache stands between the storage and those who read it, and gives old answers: to a GET without a Range, whatever Cache-Control the object has.
// The zero value does nothing.
type Cache struct {
	Path  string        // of what it keeps: only paths that contain it
	Life  time.Duration // how long it gives an answer without asking the storage, by Options.Clock
	Deaf  bool          // it does not heed a request's Cache-Control: no-cache
	NoAge bool          // it does not say how old its answers are
}

// cache is a Cache at work.
type cache struct {
	Cache
	now func() time.Time

	mu   sync.Mutex
	kept map[string]*kept // by request URI
}

// kept is an answer.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
	at     time.Time
}

// caching stands before the storage.
func (s *Server) caching(next http.Handler) http.Handler {
	if s.options.Cache.Life == 0 {
		return next
	}
	c := &cache{Cache: s.options.Cache, now: s.options.Clock, kept: map[string]*kept{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Range") != "" || !strings.Contains(r.URL.Path, c.Path) {
			next.ServeHTTP(w, r)
			return
		}
		c.answer(w, r, next)
	})
}

func (c *cache) answer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	c.mu.Lock()
	defer c.mu.Unlock() // one at a time: it is for tests
	a := c.kept[r.RequestURI]
	obeyed := !c.Deaf && strings.Contains(r.Header.Get("Cache-Control"), "no-cache")
	if a == nil || obeyed || c.now().Sub(a.at) >= c.Life {
		a = &kept{header: http.Header{}, at: c.now()}
		whole := r.Clone(r.Context())
		whole.Header.Del("If-None-Match") // it is for us
		next.ServeHTTP(a, whole)
		if a.status == http.StatusOK || a.status == http.StatusNotFound {
			c.kept[r.RequestURI] = a
		}
	}
	maps.Copy(w.Header(), a.header)
	if age := c.now().Sub(a.at); !c.NoAge && age > 0 {
		w.Header().Set("Age", strconv.Itoa(int(age/time.Second)))
	}
	if etag := a.header.Get("ETag"); a.status == http.StatusOK && etag != "" && r.Header.Get("If-None-Match") == etag {
		w.Header().Del("Content-Length")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(a.status)
	w.Write(a.body.Bytes()) // a client that has left is no error of ours
}

func (k *kept) Header() http.Header { return k.header }

func (k *kept) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

func (k *kept) Write(p []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(p)
}
