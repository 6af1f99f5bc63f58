package upload_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// canary is in the query of every signed URL of these tests and must show up nowhere else.
const canary = "CANARY0123456789"

// step answers one request.
type step func(w http.ResponseWriter, r *http.Request)

// fakeStorage answers the first requests by its script, and stores what comes after.
type fakeStorage struct {
	*httptest.Server
	mu       sync.Mutex
	script   []step
	requests []*http.Request
	objects  map[string][]byte
}

func newStorage(t *testing.T, script ...step) *fakeStorage {
	t.Helper()
	s := &fakeStorage{script: script, objects: make(map[string][]byte)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *fakeStorage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	answer := s.store
	if len(s.script) > 0 {
		answer, s.script = s.script[0], s.script[1:]
	}
	s.mu.Unlock()
	answer(w, r)
}

// store keeps the body as the object.
func (s *fakeStorage) store(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.objects[r.URL.Path] = body
	s.mu.Unlock()
	w.Header().Set("ETag", `"etag"`)
}

// grant is one for /name that expires in an hour.
func (s *fakeStorage) grant(name string) upload.Grant { return grantAt(s.URL+"/"+name, time.Hour) }

func grantAt(base string, life time.Duration) upload.Grant {
	at := time.Now().Add(life).Unix()
	return upload.Grant{
		URL:         schema.NewSignedURL(fmt.Sprintf("%s?Signature=%s&Expires=%d", base, canary, at)),
		ContentType: "text/plain",
		ReadURL:     base,
	}
}

func (s *fakeStorage) seen() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// wantRequests checks how many requests the storage saw.
func (s *fakeStorage) wantRequests(t *testing.T, want int) {
	t.Helper()
	if got := len(s.seen()); got != want {
		t.Errorf("the storage saw %d requests, want %d", got, want)
	}
}

// wantObject checks the stored bytes; nil is none.
func (s *fakeStorage) wantObject(t *testing.T, name string, want []byte) {
	t.Helper()
	s.mu.Lock()
	got, ok := s.objects["/"+name]
	s.mu.Unlock()
	if ok != (want != nil) || !bytes.Equal(got, want) {
		t.Errorf("stored %v: %d bytes, want %v: %d bytes", ok, len(got), want != nil, len(want))
	}
}

// refuse answers as an object storage does.
func refuse(status int, code, message string, header ...string) step {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<Error><Code>%s</Code><Message>%s</Message><RequestId>1</RequestId></Error>", code, message)
	}
}

// plain answers with a status and nothing else.
func plain(status int, header ...string) step {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

// reset cuts the connection without an answer.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// client is one with short pauses.
func client(t *testing.T, change ...func(*upload.Options)) *upload.Client {
	t.Helper()
	o := upload.Options{MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	c := upload.New(o)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// within is a context that ends long after every test should have.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wantError checks the kind of an error and its counts.
func wantError(t *testing.T, err error, kind error, attempts int) *upload.Error {
	t.Helper()
	var e *upload.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want an *upload.Error", err)
	}
	if !errors.Is(err, kind) {
		t.Errorf("error is %q, want kind %q", err, kind)
	}
	if e.Attempts != attempts {
		t.Errorf("error says %d attempts, want %d: %v", e.Attempts, attempts, err)
	}
	return e
}

// wantReceipt checks a receipt, but for its time.
func wantReceipt(t *testing.T, got upload.Receipt, err error, want upload.Receipt) {
	t.Helper()
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	want.Duration, want.Retries = got.Duration, max(0, want.Attempts-1) // of a single PUT
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("receipt (-want +got):\n%s", d)
	}
}

func random(n int) []byte {
	var seed [32]byte
	rand.Read(seed[:])
	b := make([]byte, n)
	mathrand.NewChaCha8(seed).Read(b) // many times as fast
	return b
}

// file writes data to a new file.
func file(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
