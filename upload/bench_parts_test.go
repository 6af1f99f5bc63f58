package upload_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// BenchmarkPutInParts compares a large file through a grant in parts, digest included, with eight bare PUTs of eighths of it, four
// at once. They take turns, and the ratio of the medians is reported.
func BenchmarkPutInParts(b *testing.B) {
	const size = 1 << 30
	path := b.TempDir() + "/file"
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for range size / (64 * mib) {
		if _, err := f.Write(random(64 * mib)); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	base := startSink(b, "http")
	transport := upload.NewTransport()
	plain := &http.Client{Transport: transport}
	c := upload.New(upload.Options{Transport: completing{transport}})
	m := upload.Multipart{UploadID: "id", PartSize: 64 * mib, Complete: schema.NewSignedURL(base + "/complete"), Abort: schema.NewSignedURL(base + "/abort")}
	for range size / m.PartSize {
		m.Parts = append(m.Parts, schema.NewSignedURL(base+"/part"))
	}
	bare := func() {
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for i := range 2 {
					f, err := os.Open(path)
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := f.Seek(int64(2*worker+i)*size/8, io.SeekStart); err != nil {
						b.Error(err)
					}
					req, _ := http.NewRequest(http.MethodPut, base+"/bare", eighth{f, int64(2*worker+i+1) * size / 8})
					req.ContentLength = size / 8
					res, err := plain.Do(req)
					if err != nil {
						b.Error(err)
						return
					}
					res.Body.Close()
				}
			})
		}
		wg.Wait()
	}
	put := func() {
		if _, err := c.Put(context.Background(), upload.Grant{Multipart: &m}, upload.File(path), upload.PutOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	bare()
	put()
	var bares, puts []time.Duration
	for b.Loop() {
		bares, puts = append(bares, took(bare)), append(puts, took(put))
	}
	report(b, bares, puts)
}

// eighth is a file up to some offset, which the kernel sends by itself: it offers SyscallConn.
type eighth struct {
	f   *os.File // not embedded: its WriteTo would send all of it
	end int64
}

func (e eighth) Close() error                          { return e.f.Close() }
func (e eighth) SyscallConn() (syscall.RawConn, error) { return e.f.SyscallConn() }

func (e eighth) Read(p []byte) (int, error) {
	at, err := e.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if at >= e.end {
		return 0, io.EOF
	}
	return e.f.Read(p[:min(int64(len(p)), e.end-at)])
}

// completing gives the sink's answers what an object in parts needs.
type completing struct{ next http.RoundTripper }

func (t completing) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res.Header.Set("ETag", `"opaque"`)
	if req.URL.Path == "/complete" {
		res.Body.Close()
		res.Body = io.NopCloser(strings.NewReader("<CompleteMultipartUploadResult><ETag>whole</ETag></CompleteMultipartUploadResult>"))
	}
	return res, nil
}
