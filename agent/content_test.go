package agent_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/upload"
)

// get reads an object as a plain client does.
func get(t *testing.T, url string) (http.Header, []byte) {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, answer.Status, err)
	}
	return answer.Header, body
}

// unpacked is what a browser makes of stored bytes.
func unpacked(t *testing.T, body []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// text is some that can be packed, but not to nothing.
func text(size int) string {
	var b strings.Builder
	for r := rand.New(rand.NewPCG(1, 2)); b.Len() < size; {
		fmt.Fprintf(&b, "line %d says %x\n", b.Len(), r.Uint32())
	}
	return b.String()[:size]
}

func noise(size int) string {
	r, b := rand.NewChaCha8([32]byte{}), make([]byte, size)
	r.Read(b)
	return string(b)
}

func writeFile(t *testing.T, path, body string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is gzipped comes out as it went in, the receipt is of the stored bytes, and what gzip is no good for is left as it is.
func TestArtifactsAreGzipped(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	dir := t.TempDir()
	rows := map[string]struct {
		body    string
		options agent.ArtifactOptions
		packed  bool
		want    string
	}{
		"small.txt":  {text(2000), agent.ArtifactOptions{Gzip: true}, true, "text/plain; charset=utf-8"},
		"large.txt":  {text(1_500_000), agent.ArtifactOptions{Gzip: true}, true, "text/plain; charset=utf-8"},
		"chosen":     {text(300_000), agent.ArtifactOptions{Gzip: true, ContentType: "application/x-chosen"}, true, "application/x-chosen"},
		"tiny.txt":   {"tiny", agent.ArtifactOptions{Gzip: true}, false, "text/plain; charset=utf-8"},
		"empty.txt":  {"", agent.ArtifactOptions{Gzip: true}, false, "text/plain; charset=utf-8"},
		"off.txt":    {text(300_000), agent.ArtifactOptions{}, false, "text/plain; charset=utf-8"},
		"noise":      {noise(300_000), agent.ArtifactOptions{Gzip: true}, false, "application/octet-stream"},
		"late":       {text(100_000) + noise(1_000_000), agent.ArtifactOptions{Gzip: true}, false, "text/plain; charset=utf-8"},
		"done.gz":    {text(300_000), agent.ArtifactOptions{Gzip: true}, false, "application/gzip"},
		"headers.md": {text(2000), agent.ArtifactOptions{Gzip: true, CacheControl: "no-store", ContentDisposition: `attachment; filename="x"`}, true, "text/markdown; charset=utf-8"},
	}
	for name, row := range rows {
		if err := run.AddArtifact(name, upload.File(writeFile(t, filepath.Join(dir, name), row.body)), row.options); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := run.Finish(r.ctx(), agent.Outcome{Success: true})
	if err != nil || len(summary.Missing) != 0 {
		t.Fatal(summary, err)
	}
	for name, row := range rows {
		header, body := get(t, summary.Artifacts[name].URL)
		receipt := summary.Artifacts[name]
		if receipt.Size != int64(len(body)) || receipt.Digest != upload.Sum(body) {
			t.Errorf("%s: the receipt is not of the %d bytes that are stored: %+v", name, len(body), receipt)
		}
		if packed := header.Get("Content-Encoding") == "gzip"; packed != row.packed {
			t.Errorf("%s: gzipped: %v, want %v", name, packed, row.packed)
		} else if packed {
			if len(body) > len(row.body)*9/10 {
				t.Errorf("%s: %d bytes became %d", name, len(row.body), len(body))
			}
			body = []byte(unpacked(t, body))
		}
		if string(body) != row.body {
			t.Errorf("%s: %d other bytes", name, len(body))
		}
		if header.Get("Content-Type") != row.want || header.Get("Cache-Control") != row.options.CacheControl || header.Get("Content-Disposition") != row.options.ContentDisposition {
			t.Errorf("%s is served with %v", name, header)
		}
	}
	copies, err := filepath.Glob(filepath.Join(r.options.StateDir, "*", "packed", "*"))
	if err != nil || len(copies) != 0 {
		t.Errorf("left behind: %v, %v", copies, err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	r.checkHistory()
}

func TestArtifactOptionsThatNoRequestCanCarry(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	for _, o := range []agent.ArtifactOptions{{ContentType: "text/plain\n"}, {CacheControl: "a\r\nb"}, {ContentDisposition: "filename=ü"}} {
		if err := run.AddArtifact("x", upload.Bytes(nil), o); err == nil || !strings.Contains(err.Error(), "want printable ASCII") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := run.AddArtifact("x", upload.Bytes(nil), agent.ArtifactOptions{}); err != nil {
		t.Errorf("the name is taken by what was refused: %v", err)
	}
}

// A disk that has no room for the copy is no reason to lose the artifact.
func TestGzipWithoutRoomForACopy(t *testing.T) {
	for _, op := range []string{"create", "write"} {
		t.Run(op, func(t *testing.T) {
			m := newMortal(t, 1)
			hit := false
			m.disk.SetFaults(func(o disktest.Op) error {
				if strings.Contains(o.Path, "packed") && strings.Contains(strings.ToLower(o.Name), op) {
					hit = true
					return &fs.PathError{Op: o.Name, Path: o.Path, Err: syscall.ENOSPC}
				}
				return nil
			})
			run := m.start(t.Context())
			if err := run.AddArtifact("a.txt", upload.Bytes([]byte(text(400_000))), agent.ArtifactOptions{Gzip: true}); err != nil {
				t.Fatal(err)
			}
			summary, err := run.Complete(m.ctx(), agent.Outcome{Success: true})
			if err != nil || len(summary.Missing) != 0 || !hit {
				t.Fatalf("missing %v, %v; the disk was full: %v", summary.Missing, err, hit)
			}
			header, body := get(t, summary.Artifacts["a.txt"].URL)
			if header.Get("Content-Encoding") != "" || string(body) != text(400_000) {
				t.Errorf("%d bytes are stored, encoded as %q", len(body), header.Get("Content-Encoding"))
			}
			for path := range m.disk.Files() {
				t.Errorf("left behind: %s", path)
			}
		})
	}
}
