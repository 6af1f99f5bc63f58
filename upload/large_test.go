package upload_test

import (
	"context"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

var large = flag.Int64("large", 512, "size in MiB of the file that is uploaded in parts; 8192 takes some ten seconds")

// forgetful is a storage that throws away the bytes of parts, and lets each generation of URLs expire after a few.
type forgetful struct {
	*httptest.Server
	mu         sync.Mutex
	generation int
	left       int // parts that it still takes with these URLs
	renewals   int
	stored     map[int]int64
	completed  []int
}

const perGeneration = 5

func newForgetful(t *testing.T) *forgetful {
	s := &forgetful{stored: map[int]int64{}, left: perGeneration}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("generation") != "" && !s.admit(query.Get("generation")) {
		refuse(403, "AccessDenied", "Request has expired")(w, r)
		return
	}
	switch r.Method {
	case http.MethodPut:
		buffer := buffers.Get().(*[64 << 10]byte)
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r.Body}, buffer[:])
		buffers.Put(buffer)
		if err != nil {
			return
		}
		number, _ := strconv.Atoi(query.Get("part"))
		s.mu.Lock()
		s.stored[number] = n
		s.mu.Unlock()
		w.Header().Set("ETag", fmt.Sprintf(`"opaque %d"`, number))
	case http.MethodPost:
		var list struct {
			Part []struct {
				PartNumber int
				ETag       string
			}
		}
		if err := xml.NewDecoder(r.Body).Decode(&list); err != nil {
			refuse(400, "MalformedXML", err.Error())(w, r)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range list.Part {
			if p.ETag != fmt.Sprintf(`"opaque %d"`, p.PartNumber) {
				refuse(400, "InvalidPart", p.ETag)(w, r)
				return
			}
			s.completed = append(s.completed, p.PartNumber)
		}
		fmt.Fprint(w, `<CompleteMultipartUploadResult><ETag>"whole"</ETag></CompleteMultipartUploadResult>`)
	}
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// admit takes a few requests with each generation of URLs.
func (s *forgetful) admit(generation string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation != strconv.Itoa(s.generation) || s.left == 0 {
		return false
	}
	s.left--
	return true
}

func (s *forgetful) urls(first int) upload.Multipart {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := upload.Multipart{
		UploadID: "id", PartSize: 64 * mib, FirstPart: first,
		Complete: schema.NewSignedURL(s.URL + "/a?complete"), Abort: schema.NewSignedURL(s.URL + "/a?abort"),
	}
	for part := first; part < first+100; part++ {
		m.Parts = append(m.Parts, schema.NewSignedURL(fmt.Sprintf("%s/a?part=%d&generation=%d", s.URL, part, s.generation)))
	}
	return m
}

// A file much larger than memory should be, whose URLs are renewed amid the upload time and again. What it takes of memory does not grow.
func TestRenewalAmidALargeUpload(t *testing.T) {
	size := *large * mib
	path := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, want, err := upload.File(path).Digest()
	if err != nil {
		t.Fatal(err)
	}
	s := newForgetful(t)
	m := s.urls(1)
	m.Renew = func(_ context.Context, first int) (upload.Multipart, error) {
		s.mu.Lock()
		s.generation, s.left = s.generation+1, perGeneration
		s.renewals++
		s.mu.Unlock()
		return s.urls(first), nil
	}
	c := client(t)
	before := allocated()
	got, err := c.Put(t.Context(), upload.Grant{Multipart: &m}, upload.File(path), upload.PutOptions{Name: "large"})
	after := allocated()
	parts := int(*large+63) / 64
	if err != nil || got.Size != size || got.Digest != want || got.Parts != parts || got.ETag != `"whole"` {
		t.Fatalf("receipt %+v, error %v; want %d parts with digest %s", got, err, parts, want)
	}
	var sum int64
	for i, part := range s.completed {
		if part != i+1 {
			t.Errorf("completed with part %d in place %d", part, i+1)
		}
		sum += s.stored[part]
	}
	if sum != size || len(s.completed) != parts {
		t.Errorf("completed with %d parts, %d bytes", len(s.completed), sum)
	}
	if least := parts/perGeneration - 1; got.Renewals != s.renewals || got.Renewals < max(1, least) {
		t.Errorf("%d renewals, the receipt says %d, want at least %d", s.renewals, got.Renewals, least)
	}
	if used := after - before; used > 24*mib {
		t.Errorf("%d KiB allocated on the way, storage included", used>>10)
	}
	t.Logf("%d MiB in %v, %d attempts, %d renewals, %d KiB allocated", *large, got.Duration, got.Attempts, got.Renewals, (after-before)>>10)
}

// allocated is how much was ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
