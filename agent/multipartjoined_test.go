package agent_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// A large artifact is gzipped first, and then goes in parts: readers get the same bytes and headers as of any other.
func TestGzippedArtifactIsStoredInParts(t *testing.T) {
	r := newPartsRig(t, knowsParts)
	text := hex.EncodeToString([]byte(noise(6 * mib))) // packed to a little more than a half
	path := writeFile(t, filepath.Join(t.TempDir(), "large.txt"), text)
	run := r.start(t.Context())
	o := agent.ArtifactOptions{Gzip: true, CacheControl: "max-age=60", ContentDisposition: `attachment; filename="large.txt"`}
	if err := run.AddArtifact("large.txt", upload.File(path), o); err != nil {
		t.Fatal(err)
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil || len(summary.Missing) > 0 {
		t.Fatalf("Complete = %+v, %v", summary, err)
	}
	header, body := get(t, summary.Artifacts["large.txt"].URL)
	got := summary.Artifacts["large.txt"]
	if got.Parts != 2 || r.count("part", "") != 2 || got.Size != int64(len(body)) || got.Digest != upload.Sum(body) {
		t.Errorf("receipt %+v of %d bytes that are stored", got, len(body))
	}
	if len(body) >= len(text) || unpacked(t, body) != text {
		t.Errorf("%d other bytes are stored", len(body))
	}
	for name, want := range map[string]string{
		"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip", "Cache-Control": o.CacheControl, "Content-Disposition": o.ContentDisposition,
	} {
		if header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, header.Get(name), want)
		}
	}
	if left := r.server.Uploads(); len(left) > 0 {
		t.Errorf("uploads left behind: %+v", left)
	}
	r.checkHistory()
}

// silent has the queue's first answer leave out that it knows parts; before says when that answer may come.
func (r *rig) silent(before func()) *asked {
	first := true
	a := new(asked)
	r.between(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, "/artifact-urls") {
			return false
		}
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		a.mu.Lock()
		a.all++
		if contains(string(body), `"multipart"`) {
			a.parts++
		}
		silent := first
		first = false
		a.mu.Unlock()
		if !silent {
			return false
		}
		before()
		res, err := http.Post(r.server.QueueURL()+strings.TrimPrefix(req.URL.Path, "/v1"), "application/json", bytes.NewReader(body))
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var answer map[string]any
		if json.NewDecoder(res.Body).Decode(&answer) != nil {
			return false
		}
		delete(answer, "multipart")
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer)
		return true
	})
	return a
}

// The URL for a single PUT of a large artifact came, with those of its batch, before the queue had said that it knows parts. Once it has,
// the artifact goes in parts all the same; but one that is under way already stays what it is.
func TestGrantOfABatchCameBeforeTheOffer(t *testing.T) {
	for name, row := range map[string]struct {
		late  bool // the offer comes when the upload is under way
		parts int
	}{"and it goes in parts": {false, 3}, "and the offer comes too late": {true, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newPartsRig(t, knowsParts)
			r.options.Logs, r.options.Uploads = []string{}, 1
			added := make(chan struct{})
			asked := r.silent(func() { <-added })
			path, data := largeFile(t)
			run := r.start(t.Context())
			if err := run.AddArtifact("large", upload.File(path), agent.ArtifactOptions{}); err != nil {
				t.Fatal(err)
			}
			if row.late {
				r.inject(agenttest.Fault{What: "put", Path: "artifacts/large", Kind: "expired", Count: 1}) // so that the queue is asked again
			} else {
				eventually(t, "the request for the first batch", func() bool { all, _ := asked.counts(); return all == 1 })
				if err := run.AddArtifact("small", upload.Bytes([]byte("small")), agent.ArtifactOptions{}); err != nil { // asked for before the large one is put
					t.Fatal(err)
				}
			}
			close(added)
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil || len(summary.Missing) > 0 || !bytes.Equal(r.stored("artifacts/large"), data) {
				t.Fatalf("Complete = %+v, %v", summary, err)
			}
			got := summary.Artifacts["large"]
			_, parts := asked.counts()
			puts := r.count("put", "artifacts/large")
			if got.Parts != row.parts || r.count("part", "") != row.parts || row.late && (puts != 2 || parts != 0) || !row.late && puts != 0 {
				t.Errorf("receipt %+v, %d parts, %d single PUTs, asked %d times for parts", got, r.count("part", ""), puts, parts)
			}
			if left := r.server.Uploads(); len(left) > 0 {
				t.Errorf("uploads left behind: %+v", left)
			}
			r.checkHistory()
		})
	}
}
