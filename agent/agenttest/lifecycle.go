package agenttest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Lifecycle is a rule of the storage by which objects expire, as a bucket has them. While an object lives, the answers to GET, HEAD and PUT have a
// header x-amz-expiration; then it is gone: 404, NoSuchKey. [Server.Object], and the promises that the server watches over, know nothing of it.
type Lifecycle struct {
	Path string        // of objects whose path contains it; default: all
	Life time.Duration // from when they were last stored, by Options.Clock; 0: for ever
}

// expiring stands before the storage. The first rule that an object falls under counts.
func (s *Server) expiring(next http.Handler) http.Handler {
	if len(s.options.Lifecycle) == 0 || s.storage == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rule, life := s.ruleFor(r.URL.Path)
		if life == 0 {
			next.ServeHTTP(w, r)
			return
		}
		switch operation(r) {
		case "get":
			stored, ok := s.storedAt(keyOf(r))
			if end := stored.Add(life); ok && !s.options.Clock().Before(end) {
				s3Error{status: http.StatusNotFound, Code: "NoSuchKey", Message: "The specified key does not exist."}.write(w, r)
				return
			} else if ok {
				w = &livingWriter{ResponseWriter: w, header: expiration(end, rule)}
			}
		case "put", "complete":
			w = &livingWriter{ResponseWriter: w, header: expiration(s.options.Clock().Add(life), rule)}
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) ruleFor(path string) (rule int, life time.Duration) {
	for i, l := range s.options.Lifecycle {
		if strings.Contains(path, l.Path) {
			return i, l.Life
		}
	}
	return 0, 0
}

// storedAt says when an object was stored; ok is false if there is none.
func (s *Server) storedAt(key string) (at time.Time, ok bool) {
	file, m, err := s.storage.open(key)
	if err != nil {
		return time.Time{}, false
	}
	_ = file.Close() // not even read
	return m.Modified, true
}

// expiration is the header as S3 has it.
func expiration(end time.Time, rule int) string {
	return fmt.Sprintf(`expiry-date="%s", rule-id="rule-%d"`, end.UTC().Format(http.TimeFormat), rule)
}

// livingWriter says of an object that is there when it will be gone.
type livingWriter struct {
	http.ResponseWriter
	header  string
	written bool
}

func (w *livingWriter) WriteHeader(status int) {
	if !w.written && (status == http.StatusOK || status == http.StatusPartialContent || status == http.StatusNotModified) {
		w.Header().Set("X-Amz-Expiration", w.header)
	}
	w.written = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *livingWriter) Write(p []byte) (int, error) {
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *livingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
