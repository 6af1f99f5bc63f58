package upload_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/upload"
)

// to redirects without reading the body.
func to(status int, location string) step {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
}

func TestRedirectThatChangesTheMethod(t *testing.T) {
	for _, status := range []int{301, 302, 303} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			other := newStorage(t, plain(200))
			s := newStorage(t, to(status, other.URL+"/elsewhere?Signature="+canary))
			_, err := client(t).Put(within(t), s.grant("a"), upload.Bytes(random(100_000)), upload.PutOptions{})
			if e := wantError(t, err, upload.ErrRedirected, 1); e.Status != status {
				t.Errorf("status is %d, want %d", e.Status, status)
			}
			if !strings.Contains(err.Error(), other.URL+"/elsewhere") || strings.Contains(err.Error(), canary) {
				t.Errorf("want the target without its query: %v", err)
			}
			s.wantRequests(t, 1)
			other.wantRequests(t, 0)
			s.wantObject(t, "a", nil)
		})
	}
}

func TestRedirectWithoutTarget(t *testing.T) {
	for name, script := range map[string]step{
		"301 PermanentRedirect": refuse(301, "PermanentRedirect", "Use the other endpoint."),
		"307":                   plain(307),
		"not a URL":             to(307, "http://%zz/?Signature="+canary),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorage(t, script)
			_, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
			wantError(t, err, upload.ErrRedirected, 1)
			s.wantRequests(t, 1)
		})
	}
}

func TestRedirectThatKeepsTheMethod(t *testing.T) {
	data := random(1 << 20)
	for _, size := range []int{0, 1000, len(data)} {
		for _, status := range []int{307, 308} {
			for name, source := range map[string]upload.Source{"bytes": upload.Bytes(data[:size]), "file": upload.File(file(t, data[:size]))} {
				t.Run(fmt.Sprintf("%s/%d/%d bytes", name, status, size), func(t *testing.T) {
					other := newStorage(t)
					s := newStorage(t, to(status, other.URL+"/b?Signature="+canary))
					got, err := client(t).Put(within(t), s.grant("a"), source, upload.PutOptions{})
					wantReceipt(t, got, err, upload.Receipt{
						URL: s.URL + "/a", Size: int64(size), Digest: upload.Sum(data[:size]), ETag: `"etag"`, Attempts: 1,
					})
					s.wantRequests(t, 1)
					other.wantRequests(t, 1)
					other.wantObject(t, "b", data[:size:size])
					moved := other.seen()[0]
					if moved.Method != "PUT" || moved.ContentLength != int64(size) || moved.Header.Get("Content-Type") != "text/plain" {
						t.Errorf("redirected as %s, %d bytes, %q", moved.Method, moved.ContentLength, moved.Header)
					}
				})
			}
		}
	}
}

func TestRedirectDoesNotCarryTheSignedURL(t *testing.T) {
	other := newStorage(t)
	s := newStorage(t, to(307, other.URL+"/b"))
	got, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
	wantReceipt(t, got, err, upload.Receipt{URL: s.URL + "/a", Size: 1, Digest: upload.Sum([]byte("x")), ETag: `"etag"`, Attempts: 1})
	s.wantRequests(t, 1)
	other.wantRequests(t, 1)
	other.wantObject(t, "b", []byte("x"))
	if seen := fmt.Sprint(other.seen()[0].Header); strings.Contains(seen, "Referer") || strings.Contains(seen, canary) {
		t.Errorf("the other host learned %s", seen)
	}
}

func TestRedirectFromHTTPSToHTTP(t *testing.T) {
	other := newStorage(t)
	s := &fakeStorage{script: []step{to(307, other.URL+"/b?Signature="+canary)}, objects: map[string][]byte{}}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	c := client(t, func(o *upload.Options) { o.Transport = s.Client().Transport })
	_, err := c.Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
	wantError(t, err, upload.ErrRedirected, 1)
	s.wantRequests(t, 1)
	other.wantRequests(t, 0)

	// From https to https is fine.
	s.script = []step{to(307, s.URL+"/b")}
	if _, err := c.Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	s.wantObject(t, "b", []byte("x"))
}

func TestRedirectsInARow(t *testing.T) {
	hops := func(n int) *fakeStorage {
		s := newStorage(t)
		for range n {
			s.script = append(s.script, to(307, "/next"))
		}
		return s
	}
	s := hops(5)
	if _, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	s.wantRequests(t, 6)
	s.wantObject(t, "next", []byte("x"))

	s = hops(6)
	_, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
	wantError(t, err, upload.ErrRedirected, 1)
	s.wantRequests(t, 6)
	s.wantObject(t, "next", nil)
}

// What answers without reading a large body is heard behind a redirect, too: the body waits until it is asked for.
func TestRedirectedBodyWaitsToBeAskedFor(t *testing.T) {
	data := random(8 << 20)
	for range 5 { // it is a race between the answer and a reset
		s := newStorage(t)
		s.script = []step{to(307, "/1"), to(307, "/2"), to(307, "/3"), refuse(400, "EntityTooLarge", "Too large")}
		_, err := client(t).Put(within(t), s.grant("a"), upload.Bytes(data), upload.PutOptions{})
		wantError(t, err, upload.ErrRejected, 1)
		s.wantRequests(t, 4)
	}
}
