package livelog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// storage is an object storage on loopback.
type storage struct {
	URL string

	mu      sync.Mutex
	objects map[string]stored
	puts    []string                                                         // names, in order
	gets    []string                                                         // names, with the range if there is one
	fault   func(name string, w http.ResponseWriter, req *http.Request) bool // true: it has answered
}

// direct is a transport without a network, for use in a bubble of fake time.
type direct struct{ http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := context.Cause(req.Context()); err != nil {
		return nil, err
	}
	if req.Body == nil {
		req.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	d.ServeHTTP(answer, req)
	return answer.Result(), nil
}

type stored struct {
	data               []byte
	encoding, mimeType string
	etag               string
}

func newStorage(t testing.TB) *storage {
	s := &storage{objects: map[string]stored{}}
	server := httptest.NewServer(s)
	server.Config.ErrorLog = nil
	s.URL = server.URL
	t.Cleanup(server.Close)
	return s
}

// put is the Store function of the tests: it sends o to the storage.
func (s *storage) put(ctx context.Context, o livelog.Object) (string, error) {
	return s.putThrough(ctx, &http.Transport{DisableKeepAlives: true}, o)
}

func (s *storage) putThrough(ctx context.Context, transport http.RoundTripper, o livelog.Object) (string, error) {
	url := s.URL + "/" + o.Name
	// Of its own: a transport may look at the body of a request that is over.
	body := io.NewSectionReader(o.Body, 0, o.Body.Size())
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, body)
	if err != nil {
		return "", err
	}
	req.ContentLength = o.Body.Size()
	if req.ContentLength == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", o.ContentType)
	if o.ContentEncoding != "" {
		req.Header.Set("Content-Encoding", o.ContentEncoding)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	return url, nil
}

// set stores an object as it is.
func (s *storage) set(name string, data []byte, encoding string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[name] = stored{data: data, encoding: encoding, etag: fmt.Sprintf("%q", fmt.Sprint(len(s.puts)))}
	s.puts = append(s.puts, name)
}

// setIndex stores an index of chunks, which it stores as well, and a tail.
func (s *storage) setIndex(t testing.TB, complete bool, tail string, chunks ...string) {
	x := schema.LogIndex{Version: schema.Version, Complete: complete, Chunks: []schema.Chunk{}, Tail: []byte(tail)}
	if !complete {
		x.PollAfterMs = 1
	}
	for _, c := range chunks {
		name := fmt.Sprintf("chunk-%d-%d", x.Size, len(c))
		s.set(name, []byte(c), "")
		x.Chunks = append(x.Chunks, schema.Chunk{Offset: x.Size, Size: int64(len(c)), URL: s.URL + "/" + name, Encoding: "identity"})
		x.Size += int64(len(c))
	}
	x.Size += int64(len(tail))
	s.set("index", encode(t, x), "")
}

func encode(t testing.TB, x schema.LogIndex) []byte {
	t.Helper()
	data, err := schema.Encode(x)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (s *storage) get(name string) (stored, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[name]
	return o, ok
}

func (s *storage) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

func (s *storage) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.gets)
}

func (s *storage) setFault(f func(name string, w http.ResponseWriter, req *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *storage) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name := strings.TrimPrefix(req.URL.Path, "/")
	s.mu.Lock()
	fault := s.fault
	if req.Method == http.MethodGet {
		s.gets = append(s.gets, strings.TrimSpace(name+" "+req.Header.Get("Range")))
	}
	s.mu.Unlock()
	if fault != nil && fault(name, w, req) {
		return
	}
	if req.Method == http.MethodPut {
		data, err := io.ReadAll(req.Body)
		if err != nil || int64(len(data)) != req.ContentLength {
			http.Error(w, "incomplete", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.objects[name] = stored{
			data: data, encoding: req.Header.Get("Content-Encoding"), mimeType: req.Header.Get("Content-Type"),
			etag: fmt.Sprintf("%q", fmt.Sprint(len(s.puts))),
		}
		s.puts = append(s.puts, name)
		return
	}
	o, ok := s.get(name)
	if !ok {
		http.Error(w, "no such object", http.StatusNotFound)
		return
	}
	o.serve(w, req)
}

func (o stored) serve(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("ETag", o.etag)
	w.Header().Set("Content-Type", o.mimeType)
	if o.encoding != "" {
		w.Header().Set("Content-Encoding", o.encoding)
	}
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(o.data))
}

// quick are options with which retries do not take long.
func quick() livelog.ReaderOptions {
	return livelog.ReaderOptions{MinPoll: time.Millisecond, MaxPoll: 20 * time.Millisecond}
}

// within is a context for a test that must not hang.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("the test takes too long"))
	t.Cleanup(cancel)
	return ctx
}

// newSpool makes a spool that is removed with the test.
func newSpool(t testing.TB) *livelog.Spool {
	t.Helper()
	s, err := livelog.Create(t.TempDir() + "/spool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// readAll reads a log to its end.
func readAll(ctx context.Context, url string, o livelog.ReaderOptions) (string, error) {
	r := livelog.NewReader(ctx, url, o)
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), err
}
