package upload_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/upload"
)

// during runs change when half of the body has arrived, and then stores it.
func (s *fakeStorage) during(t *testing.T, size int, change func()) step {
	return func(w http.ResponseWriter, r *http.Request) {
		half := make([]byte, size/2)
		if _, err := io.ReadFull(r.Body, half); err != nil {
			t.Errorf("read half: %v", err)
		}
		change()
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(half), r.Body))
		s.store(w, r)
	}
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Error(err)
	}
}

func writeAt(t *testing.T, path string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(data, at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Error(err)
	}
}

// old makes the file look untouched for a while, whatever the resolution of its times.
func old(t *testing.T, path string) string {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	return path
}

// big is more than the sockets on both sides hold.
const big = 32 << 20

func TestFileGrowsDuringTheUpload(t *testing.T) {
	data := random(big)
	path := old(t, file(t, data))
	s := newStorage(t)
	s.script = []step{s.during(t, big, func() { appendTo(t, path, []byte("more")) })}
	got, err := client(t).Put(within(t), s.grant("a"), upload.File(path), upload.PutOptions{})
	wantReceipt(t, got, err, upload.Receipt{URL: s.URL + "/a", Size: big, Digest: upload.Sum(data), ETag: `"etag"`, Attempts: 1})
	s.wantRequests(t, 1)
	s.wantObject(t, "a", data)
}

func TestFileGrowsAndChangesDuringTheUpload(t *testing.T) {
	path := old(t, file(t, random(big)))
	s := newStorage(t)
	s.script = []step{s.during(t, big, func() {
		appendTo(t, path, []byte("more"))
		writeAt(t, path, 0, []byte("other bytes"))
	})}
	_, err := client(t).Put(within(t), s.grant("a"), upload.File(path), upload.PutOptions{})
	wantError(t, err, upload.ErrChanged, 1)
	s.wantRequests(t, 1)
}

func TestFileShrinksDuringTheUpload(t *testing.T) {
	for name, left := range map[string]int64{"to what was sent": 1000, "to nothing": 0} {
		t.Run(name, func(t *testing.T) {
			path := old(t, file(t, random(big)))
			s := newStorage(t)
			s.script = []step{s.during(t, big, func() { os.Truncate(path, left) })}
			_, err := client(t).Put(within(t), s.grant("a"), upload.File(path), upload.PutOptions{})
			wantError(t, err, upload.ErrChanged, 1)
			s.wantRequests(t, 1)
			s.wantObject(t, "a", nil)
		})
	}
}

func TestFileChangesDuringTheUpload(t *testing.T) {
	path := old(t, file(t, random(big)))
	s := newStorage(t)
	s.script = []step{s.during(t, big, func() { writeAt(t, path, 0, []byte("other bytes")) })}
	_, err := client(t).Put(within(t), s.grant("a"), upload.File(path), upload.PutOptions{})
	if e := wantError(t, err, upload.ErrChanged, 1); !strings.Contains(e.Error(), "changed while it was uploaded") {
		t.Errorf("error is %v", e)
	}
	s.wantRequests(t, 1) // what it has stored cannot be taken back; the error says not to count on it
}

func TestFileChangesBetweenAttempts(t *testing.T) {
	path := old(t, file(t, []byte("these bytes")))
	s := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
		writeAt(t, path, 0, []byte("other"))
		plain(503)(w, r)
	})
	_, err := client(t).Put(within(t), s.grant("a"), upload.File(path), upload.PutOptions{})
	wantError(t, err, upload.ErrChanged, 1)
	s.wantRequests(t, 1)
	s.wantObject(t, "a", nil)
}

// Bytes that change under a Section are seen by their digest at the latest.
func TestSectionChangesBeforeItIsHashedAgain(t *testing.T) {
	data := []byte("these bytes")
	s := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
		refuse(400, "BadDigest", "no match")(w, r)
	})
	src := upload.Section(io.NewSectionReader(&changing{data: data}, 0, int64(len(data))))
	_, err := client(t).Put(within(t), s.grant("a"), src, upload.PutOptions{})
	wantError(t, err, upload.ErrChanged, 1)
	s.wantRequests(t, 1)
}

// changing gives other bytes each time.
type changing struct {
	data  []byte
	reads byte
}

func (c *changing) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	n := copy(p, c.data[off:])
	p[0] = c.reads
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestFileIsReplacedDuringTheUpload(t *testing.T) {
	data := random(big)
	path := old(t, file(t, data))
	s := newStorage(t)
	s.script = []step{s.during(t, big, func() {
		if err := os.Rename(file(t, []byte("new")), path); err != nil {
			t.Error(err)
		}
	})}
	got, err := client(t).Put(within(t), s.grant("a"), upload.File(path), upload.PutOptions{})
	if err != nil || got.Digest != upload.Sum(data) {
		t.Errorf("receipt %+v, error %v", got, err)
	}
	s.wantObject(t, "a", data)
}

func TestEmptyFile(t *testing.T) {
	for name, source := range map[string]upload.Source{
		"file": upload.File(file(t, nil)), "bytes": upload.Bytes(nil), "section": upload.Section(io.NewSectionReader(bytes.NewReader(nil), 0, 0)),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorage(t, plain(503))
			got, err := client(t).Put(within(t), s.grant("a"), source, upload.PutOptions{})
			wantReceipt(t, got, err, upload.Receipt{URL: s.URL + "/a", Digest: upload.Sum(nil), ETag: `"etag"`, Attempts: 2})
			s.wantRequests(t, 2)
			s.wantObject(t, "a", []byte{})
			for _, r := range s.seen() {
				if r.Header.Get("Content-Length") != "0" || len(r.TransferEncoding) != 0 {
					t.Errorf("Content-Length %q, Transfer-Encoding %q", r.Header.Get("Content-Length"), r.TransferEncoding)
				}
			}
		})
	}
}

func TestLengthIsAlwaysKnown(t *testing.T) {
	data := random(100_000)
	for name, source := range map[string]upload.Source{
		"file": upload.File(file(t, data)), "bytes": upload.Bytes(data),
		"section": upload.Section(io.NewSectionReader(bytes.NewReader(append([]byte("before"), data...)), 6, 100_000)),
	} {
		t.Run(name, func(t *testing.T) {
			if size, err := source.Size(); size != 100_000 || err != nil {
				t.Errorf("size is %d, %v", size, err)
			}
			s := newStorage(t)
			if _, err := client(t).Put(within(t), s.grant("a"), source, upload.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			if r := s.seen()[0]; r.ContentLength != 100_000 || len(r.TransferEncoding) != 0 {
				t.Errorf("Content-Length %d, Transfer-Encoding %q", r.ContentLength, r.TransferEncoding)
			}
			s.wantObject(t, "a", data)
		})
	}
}

// A spool grows behind the section that is sent, and its position is somebody else's.
func TestSectionOfAGrowingFile(t *testing.T) {
	data := random(big)
	path := file(t, data)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	section := io.NewSectionReader(f, 10, big-10)
	section.Seek(5, io.SeekStart)
	s := newStorage(t)
	s.script = []step{s.during(t, big-10, func() { appendTo(t, path, []byte("more")) })}
	got, err := client(t).Put(within(t), s.grant("a"), upload.Section(section), upload.PutOptions{})
	if err != nil || got.Size != big-10 {
		t.Errorf("receipt %+v, error %v", got, err)
	}
	s.wantObject(t, "a", data[10:])
	if at, _ := section.Seek(0, io.SeekCurrent); at != 5 {
		t.Errorf("the section's position moved to %d", at)
	}

	// What is not there cannot be sent.
	_, err = client(t).Put(within(t), s.grant("b"), upload.Section(io.NewSectionReader(f, 0, 2*big)), upload.PutOptions{})
	wantError(t, err, upload.ErrChanged, 1)
	s.wantObject(t, "b", nil)
}

func TestSourceThatCannotBeSent(t *testing.T) {
	dir := t.TempDir()
	socket, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	s := newStorage(t)
	for _, test := range []struct {
		name   string
		source upload.Source
		kind   error
	}{
		{"folder", upload.File(dir), upload.ErrNotRegular},
		{"device", upload.File(os.DevNull), upload.ErrNotRegular},
		{"socket", upload.File(filepath.Join(dir, "s")), upload.ErrNotRegular},
		{"nothing there", upload.File(filepath.Join(dir, "none")), fs.ErrNotExist},
		{"nothing there", upload.File(filepath.Join(dir, "none")), upload.ErrSource},
		{"zero Source", upload.Source{}, upload.ErrSource},
	} {
		_, err := client(t).Put(within(t), s.grant("a"), test.source, upload.PutOptions{Name: "n"})
		if !errors.Is(err, test.kind) {
			t.Errorf("%s: error is %v, want %v", test.name, err, test.kind)
		}
		wantError(t, err, test.kind, 0)
	}
	s.wantRequests(t, 0)
}

// A transport of the caller's may read in its own way, answer early and close late.
func TestOtherRoundTripper(t *testing.T) {
	data := random(200_000)
	for _, source := range []upload.Source{upload.Bytes(data), upload.File(file(t, data))} {
		trips := 0
		var late io.Reader
		c := client(t, func(o *upload.Options) {
			o.Transport = tripper(func(r *http.Request) (*http.Response, error) {
				answer := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}
				if trips++; trips == 1 {
					io.CopyN(io.Discard, r.Body, 1000)
					late = r.Body // and never closed
					answer.StatusCode = 503
					return answer, nil
				}
				if n, err := late.Read(make([]byte, 10)); n != 0 || err == nil {
					t.Errorf("the body of an attempt that is over gave %d bytes, %v", n, err)
				}
				body, err := io.ReadAll(r.Body)
				if err != nil || !bytes.Equal(body, data) {
					t.Errorf("%d other bytes, %v", len(body), err)
				}
				return answer, r.Body.Close()
			})
		})
		got, err := c.Put(within(t), grantAt("https://storage.test/a", time.Hour), source, upload.PutOptions{})
		if err != nil || got.Attempts != 2 || got.Digest != upload.Sum(data) {
			t.Errorf("receipt %+v, error %v; want 2 attempts", got, err)
		}
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMemoryDoesNotDependOnTheSize(t *testing.T) {
	s := listen(t, func(conn net.Conn, _ int) { discard(conn) })
	path := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := client(t)
	allocated := func(size int64) uint64 {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if got, err := c.Put(context.Background(), s.grant("a"), upload.File(path), upload.PutOptions{}); err != nil || got.Size != size {
			t.Fatalf("receipt %+v, error %v", got, err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	allocated(1 << 20) // connects
	if large := allocated(256 << 20); large > 1<<20 {
		t.Errorf("256 MiB allocated %d bytes", large)
	}
}

func TestSourceSaysItsPathAndDigest(t *testing.T) {
	data := random(100_000)
	path := file(t, data)
	for name, c := range map[string]struct {
		source upload.Source
		path   string
	}{
		"file":    {upload.File(path), path},
		"bytes":   {upload.Bytes(data), ""},
		"section": {upload.Section(io.NewSectionReader(bytes.NewReader(append([]byte("before"), data...)), 6, 100_000)), ""},
	} {
		if got := c.source.Path(); got != c.path {
			t.Errorf("%s: path %q, want %q", name, got, c.path)
		}
		for range 2 {
			if size, digest, err := c.source.Digest(); size != 100_000 || digest != upload.Sum(data) || err != nil {
				t.Errorf("%s: %d, %s, %v; want 100000, %s", name, size, digest, err, upload.Sum(data))
			}
		}
	}
	shrunk := upload.Section(io.NewSectionReader(bytes.NewReader(data), 0, 100_001))
	for name, c := range map[string]struct {
		source upload.Source
		want   error
	}{
		"none":    {upload.Source{}, upload.ErrSource},
		"missing": {upload.File(path + "/none"), upload.ErrSource},
		"folder":  {upload.File(t.TempDir()), upload.ErrNotRegular},
		"shrunk":  {shrunk, upload.ErrChanged},
	} {
		if size, digest, err := c.source.Digest(); size != 0 || digest != "" || !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %q, %v; want %v", name, size, digest, err, c.want)
		}
	}
}
