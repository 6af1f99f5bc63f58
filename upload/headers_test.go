package upload_test

import (
	"errors"
	"testing"

	"github.com/taskcluster/upload-agent/upload"
)

func TestHeadersForReaders(t *testing.T) {
	s := newStorage(t)
	grant := s.grant("a")
	o := upload.PutOptions{ContentEncoding: "gzip", CacheControl: "max-age=60", ContentDisposition: `attachment; filename="x"`}
	if _, err := client(t).Put(within(t), grant, upload.Bytes([]byte("x")), o); err != nil {
		t.Fatal(err)
	}
	grant.Header = map[string][]string{"Cache-Control": {"no-store"}} // signed
	if _, err := client(t).Put(within(t), grant, upload.Bytes([]byte("x")), o); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t).Put(within(t), grant, upload.Bytes([]byte("x")), upload.PutOptions{ContentDisposition: "a\nb"}); !errors.Is(err, upload.ErrGrant) {
		t.Errorf("a header with a newline: %v", err)
	}
	for i, cache := range []string{"max-age=60", "no-store"} {
		got := s.seen()[i].Header
		if got.Get("Content-Encoding") != "gzip" || got.Get("Cache-Control") != cache || got.Get("Content-Disposition") != o.ContentDisposition {
			t.Errorf("request %d has the headers %v", i, got)
		}
	}
	s.wantRequests(t, 2)
}
