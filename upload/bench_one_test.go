package upload_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/upload"
)

// BenchmarkPutOne is what a Put of a small file costs besides the transport.
func BenchmarkPutOne(b *testing.B) {
	path := b.TempDir() + "/file"
	if err := os.WriteFile(path, random(4<<10), 0o600); err != nil {
		b.Fatal(err)
	}
	c := upload.New(upload.Options{Transport: taken{http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}}})
	g := grantAt("https://storage.test/bucket/task/runs/0/artifacts/file", time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Put(context.Background(), g, upload.File(path), upload.PutOptions{Name: "file"}); err != nil {
			b.Fatal(err)
		}
	}
}

// taken takes every body, and says that it is stored.
type taken struct{ header http.Header }

func (t taken) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	httptrace.ContextClientTrace(r.Context()).WroteRequest(httptrace.WroteRequestInfo{})
	return &http.Response{StatusCode: http.StatusOK, Header: t.header, Body: http.NoBody, Request: r}, r.Body.Close()
}
