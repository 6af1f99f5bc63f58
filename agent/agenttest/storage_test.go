package agenttest_test

import (
	"bufio"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

func TestRangesAndConditions(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	const body = "0123456789"
	grant := g.grant(claim.TaskID, "log", "text/plain")
	put := g.request("PUT", grant.ArtifactPutURL.Reveal(), "text/plain", body)
	put.Header.Set("Content-Encoding", "x-test")
	stored := g.do(put)
	g.want(stored, 200)
	sum := md5.Sum([]byte(body))
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	if stored.header.Get("ETag") != etag || stored.header.Get("Date") == "" {
		t.Errorf("headers of the PUT: %v", stored.header)
	}
	whole := g.send("GET", grant.ArtifactURL, "", "")
	modified := whole.header.Get("Last-Modified")
	for _, c := range []struct {
		method, header, value string
		status                int
		body                  string
	}{
		{"GET", "X", "y", 200, body},
		{"HEAD", "X", "y", 200, ""},
		{"GET", "Range", "bytes=2-4", 206, "234"},
		{"GET", "Range", "bytes=7-", 206, "789"},
		{"GET", "Range", "bytes=-2", 206, "89"},
		{"GET", "Range", "bytes=20-", 416, ""},
		{"GET", "If-None-Match", etag, 304, ""},
		{"GET", "If-None-Match", `"other"`, 200, body},
		{"GET", "If-Match", `"other"`, 412, ""},
		{"GET", "If-Modified-Since", modified, 304, ""},
		{"GET", "If-Modified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 200, body},
	} {
		r := g.request(c.method, grant.ArtifactURL, "", "")
		r.Header.Set(c.header, c.value)
		a := g.do(r)
		name := c.method + " " + c.header + ": " + c.value
		if a.err != nil || a.status != c.status || c.body != "" && a.body != c.body {
			t.Errorf("%s: got %d %q %v", name, a.status, a.body, a.err)
		}
		if a.status == 200 {
			for header, want := range map[string]string{"Content-Length": "10", "Content-Type": "text/plain", "Content-Encoding": "x-test",
				"ETag": etag, "X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "*", "Accept-Ranges": "bytes"} {
				if got := a.header.Get(header); got != want {
					t.Errorf("%s: %s is %q, want %q", name, header, got, want)
				}
			}
		}
	}
}

// The check value of CRC-64/NVME, as the catalogues of checksums give it.
func TestChecksum(t *testing.T) {
	g := start(t, agenttest.Options{})
	a := g.put(g.claim().LogsPutURL, "123456789")
	if got, want := a.header.Get("X-Amz-Checksum-Crc64nvme"), base64.StdEncoding.EncodeToString([]byte{0xae, 0x8b, 0x14, 0x86, 0x0a, 0x79, 0x98, 0x88}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMissingObjectsAndFolders(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	g.want(g.put(claim.LogsPutURL, "{}"), 200)
	id := string(claim.TaskID)
	for _, path := range []string{"", id, id + "/", id + "/runs", id + "/runs/0/", id + "/runs/0/logs.json/", id + "/runs/0/logs.json/x",
		id + "/nothing", ".storage/meta", ".storage", strings.Repeat("x", 300), id + "/" + strings.Repeat("x", 300)} {
		g.wantCode(g.get(path), 404, "NoSuchKey")
	}
	own, err := os.ReadDir(filepath.Join(g.dir, ".storage", "meta"))
	if err != nil || len(own) == 0 {
		t.Fatalf("no files of the storage's own: %v", err)
	}
	for _, file := range own {
		g.wantCode(g.get(".storage/meta/"+file.Name()), 404, "NoSuchKey")
	}
	if _, err := g.Object(id + "/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Nothing that a path may hold leads out of the folder, or into the storage's own.
func TestPathsCannotEscape(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("SECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(outside, "dir")
	g := startIn(t, dir, agenttest.Options{})
	id := string(g.claim().TaskID)
	host := strings.TrimPrefix(g.StorageURL(), "http://")
	for _, path := range []string{"/../secret", "/" + id + "/../../secret", "/" + id + "/%2e%2e/%2e%2e/secret", "//secret", "/" + id + "//../../secret",
		"/..%2fsecret", "/" + id + "/..%5c..%5csecret", "/" + id + "/./task.json", "/" + filepath.Join(outside, "secret"), "/.storage/../../secret"} {
		for _, method := range []string{"GET", "PUT"} {
			a := g.raw(host, method+" "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
			if a.status < 400 || strings.Contains(a.body, "SECRET") {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
		if _, err := g.Object(strings.TrimPrefix(path, "/")); err == nil {
			t.Errorf("Object(%q) is there", path)
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 2 {
		t.Errorf("outside there is %v (%v)", entries, err)
	}
}

// raw sends a request as it stands.
func (g *rig) raw(host, request string) answer {
	g.t.Helper()
	conn, err := net.Dial("tcp", host)
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		g.t.Fatal(err)
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		return answer{err: err}
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	var body strings.Builder
	_, err = bufio.NewReader(resp.Body).WriteTo(&body)
	return answer{resp.StatusCode, resp.Header, body.String(), err}
}

// A real S3 stores "a" beside "a/b"; a folder cannot, and says so.
func TestNameConflicts(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	put := func(name string) answer {
		return g.send("PUT", g.grant(claim.TaskID, name, "text/plain").ArtifactPutURL.Reveal(), "text/plain", name)
	}
	g.want(put("a"), 200)
	g.want(put("d/e/f"), 200)
	g.wantCode(put("a/b"), 409, "ObjectParentIsFile")
	g.wantCode(put("a/b/c"), 409, "ObjectParentIsFile")
	g.wantCode(put("d"), 409, "ObjectParentIsFile")
	g.wantCode(put("d/e"), 409, "ObjectParentIsFile")
	g.wantCode(put(strings.Repeat("x", 256)), 400, "KeyTooLongError")
	g.wantCode(put(strings.Repeat("x/", 511)+"x"), 400, "KeyTooLongError")
	for _, name := range []string{"a", "d/e/f"} {
		if a := g.get(string(claim.TaskID) + "/runs/0/artifacts/" + name); a.body != name {
			t.Errorf("%s is now %q", name, a.body)
		}
	}
}

func TestReplacedAtomically(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	texts := []string{strings.Repeat("a", 300<<10), strings.Repeat("b", 200<<10)}
	g.want(g.put(claim.LogsPutURL, texts[0]), 200)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20 {
			if a := g.put(claim.LogsPutURL, texts[i%2]); a.status != 200 {
				t.Errorf("PUT: %d %v", a.status, a.err)
			}
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		a := g.get(string(claim.TaskID) + "/runs/0/logs.json")
		sum := md5.Sum([]byte(a.body))
		if a.err != nil || a.body != texts[0] && a.body != texts[1] || a.header.Get("ETag") != `"`+hex.EncodeToString(sum[:])+`"` {
			t.Fatalf("a mixture of %d bytes, ETag %s (%v)", len(a.body), a.header.Get("ETag"), a.err)
		}
	}
}

func TestBodyShorterThanItsLengthIsNotStored(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	u, err := url.Parse(claim.LogsPutURL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}", u.RequestURI(), u.Host)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	conn.Close()
	if resp.StatusCode != 400 || g.isStored(string(claim.TaskID)+"/runs/0/logs.json") || g.last().Stored {
		t.Errorf("got %d, stored %v", resp.StatusCode, g.isStored(string(claim.TaskID)+"/runs/0/logs.json"))
	}
	if left, err := os.ReadDir(filepath.Join(g.dir, ".storage", "tmp")); err != nil || len(left) != 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestEmptyObject(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	r := g.request("PUT", claim.LogsPutURL.Reveal(), jsonType, "")
	r.Body = http.NoBody
	g.want(g.do(r), 200)
	if a := g.get(string(claim.TaskID) + "/runs/0/logs.json"); a.status != 200 || a.header.Get("Content-Length") != "0" {
		t.Errorf("got %d, length %s", a.status, a.header.Get("Content-Length"))
	}
}

// A rejected PUT that expects "100 Continue" never gets it, so no byte of the body is sent for nothing.
func TestRejectsBeforeTheBody(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	for _, c := range []struct {
		change func(string) string
		status int
		reads  bool
	}{
		{func(u string) string { return u }, 200, true},
		{func(u string) string { return u + "0" }, 403, false},
	} {
		body := &countingReader{Reader: strings.NewReader("{}")}
		r := g.request("PUT", c.change(claim.LogsPutURL.Reveal()), jsonType, "")
		r.Body, r.ContentLength = body, 2
		r.Header.Set("Expect", "100-continue")
		g.want(g.do(r), c.status)
		if (body.n > 0) != c.reads {
			t.Errorf("status %d: %d bytes of the body were sent", c.status, body.n)
		}
	}
}

type countingReader struct {
	*strings.Reader
	n int
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += n
	return n, err
}

func (r *countingReader) Close() error { return nil }

// Objects, with all that is known of them, outlive the process; half-written ones do not.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	first := startIn(t, dir, agenttest.Options{})
	claim := first.claim()
	first.want(first.put(claim.LogsPutURL, "{}"), 200)
	path := string(claim.TaskID) + "/runs/0/logs.json"
	before := first.get(path)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path))); err != nil || string(data) != "{}" {
		t.Errorf("on disk: %q %v", data, err)
	}
	half := filepath.Join(dir, ".storage", "tmp", "half")
	if err := os.WriteFile(half, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	byHand := filepath.Join(dir, string(claim.TaskID), "by-hand")
	if err := os.WriteFile(byHand, []byte("hand"), 0o600); err != nil {
		t.Fatal(err)
	}

	second := startIn(t, dir, agenttest.Options{})
	after := second.get(path)
	second.want(after, 200)
	for _, h := range []string{"ETag", "Content-Type", "Last-Modified", "Content-Length"} {
		if after.header.Get(h) != before.header.Get(h) {
			t.Errorf("%s was %q, is %q", h, before.header.Get(h), after.header.Get(h))
		}
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half-written object: %v", err)
	}
	if a := second.get(string(claim.TaskID) + "/by-hand"); a.body != "hand" {
		t.Errorf("by hand: %d %q", a.status, a.body)
	}
	// The state of the queue is gone, but the definition is there and can be scheduled again.
	second.want(second.send("GET", second.QueueURL()+"/task/"+string(claim.TaskID)+"/status", "", ""), 404)
	if s := decodeAnswer[schema.StatusAnswer](second, second.post("/task/"+string(claim.TaskID)+"/schedule", "")).Status; s.State != schema.Pending {
		t.Errorf("scheduled again: %+v", s)
	}
}
