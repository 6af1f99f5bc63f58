package agent_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

const mib = 1 << 20

// knowsParts is a queue that grants artifacts in parts.
var knowsParts = agenttest.Options{MultipartFrom: 6 * mib, PartSize: 5 * mib, PartURLs: 2}

// newPartsRig is one whose uploads do not seem to stall on a busy machine.
func newPartsRig(t *testing.T, o agenttest.Options) *rig {
	t.Helper()
	r := newRig(t, o)
	r.options.Uploader = upload.New(upload.Options{Logger: r.options.Logger, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	t.Cleanup(r.options.Uploader.CloseIdleConnections)
	return r
}

// largeFile is one of 11 MiB: three parts.
func largeFile(t *testing.T) (path string, data []byte) {
	t.Helper()
	data = bytes.Repeat([]byte("0123456789abcde\n"), 11*mib/16)
	path = filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, data
}

// asked counts the requests for artifact URLs, and those of them that ask for parts.
type asked struct {
	mu         sync.Mutex
	all, parts int
}

// counts are final once the run has ended.
func (a *asked) counts() (all, parts int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all, a.parts
}

// listen counts what the queue is asked, and may answer in its place.
func (r *rig) listen(answer func(w http.ResponseWriter, body string) bool) *asked {
	a := new(asked)
	r.between(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, "/artifact-urls") {
			return false
		}
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		a.mu.Lock()
		defer a.mu.Unlock() // answer is called by one at a time
		a.all++
		if !contains(string(body), `"multipart"`) {
			return false
		}
		a.parts++
		return answer != nil && answer(w, string(body))
	})
	return a
}

// completeWith adds the file and a small artifact, and completes the run.
func (r *rig) completeWith(path string) (*agent.Summary, error) {
	r.t.Helper()
	run := r.start(r.t.Context())
	for name, source := range map[string]upload.Source{"large": upload.File(path), "small": upload.Bytes([]byte("small"))} {
		if err := run.AddArtifact(name, source, agent.ArtifactOptions{}); err != nil {
			r.t.Fatal(err)
		}
	}
	return run.Complete(r.ctx(), agent.Outcome{Success: true})
}

// checkLarge checks what is stored, and that nothing is left behind.
func (r *rig) checkLarge(summary *agent.Summary, err error, data []byte) {
	r.t.Helper()
	if err != nil || len(summary.Missing) > 0 || r.result().Artifacts["large"] == "" {
		r.t.Fatalf("Complete = %+v, %v", summary, err)
	}
	if !bytes.Equal(r.stored("artifacts/large"), data) || string(r.stored("artifacts/small")) != "small" {
		r.t.Errorf("stored other bytes: %d", len(r.stored("artifacts/large")))
	}
	if left := r.server.Uploads(); len(left) > 0 {
		r.t.Errorf("uploads left behind: %+v", left)
	}
	r.checkHistory()
}

// A large artifact goes in parts where the queue has said that it knows them, if only in the answer to the first request of all.
func TestLargeArtifactIsStoredInParts(t *testing.T) {
	for name, logs := range map[string][]string{"after the logs": nil, "first of all": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newPartsRig(t, knowsParts)
			r.options.Logs = logs
			path, data := largeFile(t)
			summary, err := r.completeWith(path)
			r.checkLarge(summary, err, data)
			if got := summary.Artifacts["large"]; got.Parts != 3 || got.Digest != upload.Sum(data) {
				t.Errorf("receipt %+v", got)
			}
			if n := r.count("part", "artifacts/large"); n != 3 || r.count("put", "artifacts/large") != 0 || r.count("create", "") != 0 {
				t.Errorf("%d parts, want 3 and nothing else", n)
			}
		})
	}
}

// A queue that does not know parts, and would reject who asks for them, is never asked.
func TestQueueThatDoesNotKnowParts(t *testing.T) {
	r := newPartsRig(t, agenttest.Options{})
	asked := r.listen(nil)
	path, data := largeFile(t)
	summary, err := r.completeWith(path)
	r.checkLarge(summary, err, data)
	if all, parts := asked.counts(); parts != 0 || all == 0 || summary.Artifacts["large"].Parts != 0 {
		t.Errorf("asked %d times, %d for parts, receipt %+v", all, parts, summary.Artifacts["large"])
	}
}

// A queue that has offered parts and then refuses them, or leaves them out, still gets its artifact.
func TestQueueTakesBackItsOffer(t *testing.T) {
	for name, status := range map[string]int{"an older queue": 400, "one with troubles": 500} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newPartsRig(t, knowsParts)
			asked := r.listen(func(w http.ResponseWriter, _ string) bool {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				io.WriteString(w, `{"message":"no","error":"multipart"}`)
				return true
			})
			path, data := largeFile(t)
			summary, err := r.completeWith(path)
			r.checkLarge(summary, err, data)
			if _, parts := asked.counts(); parts == 0 || summary.Artifacts["large"].Parts != 0 {
				t.Errorf("asked %d times for parts, receipt %+v", parts, summary.Artifacts["large"])
			}
		})
	}
}

// The URLs of the parts run out and expire amid the upload: the queue is asked for more, even if it is slow to answer.
func TestPartURLsAreRenewed(t *testing.T) {
	r := newPartsRig(t, knowsParts)
	r.inject(agenttest.Fault{What: "part", Part: 2, Kind: "expired", Count: 1})
	r.inject(agenttest.Fault{What: "complete", Kind: "expired", Count: 1})
	troubles := 4
	asked := r.listen(func(w http.ResponseWriter, body string) bool {
		if troubles--; troubles < 0 || !contains(body, `"uploadId"`) {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	path, data := largeFile(t)
	summary, err := r.completeWith(path)
	r.checkLarge(summary, err, data)
	if got := summary.Artifacts["large"]; got.Renewals < 2 || got.Parts != 3 {
		t.Errorf("receipt %+v", got)
	}
	if _, parts := asked.counts(); parts < 5 {
		t.Errorf("asked %d times for parts", parts)
	}
}

// When the claim is lost amid an upload in parts, it stops and leaves none behind.
func TestClaimIsLostAmidAnUploadInParts(t *testing.T) {
	r := newPartsRig(t, knowsParts)
	r.inject(agenttest.Fault{What: "part", Part: 3, Kind: "stall"})
	run := r.start(t.Context())
	path, _ := largeFile(t)
	if err := run.AddArtifact("large", upload.File(path), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two parts stored, one stalled", func() bool {
		left := r.server.Uploads()
		return len(left) == 1 && left[0].Parts == 2 && r.count("part", "") == 3
	})
	r.inject(agenttest.Fault{What: "reclaim", Kind: "409"})
	r.inject(agenttest.Fault{What: "artifact-urls", Kind: "404"}) // which makes it look
	if err := run.AddArtifact("other", upload.Bytes([]byte("x")), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); !errors.Is(err, agent.ErrClaimLost) {
		t.Errorf("Complete = %v", err)
	}
	if err := run.Close(); err != nil { // waits for what is at work
		t.Error(err)
	}
	if left := r.server.Uploads(); len(left) > 0 || r.stored("artifacts/large") != nil {
		t.Errorf("uploads left behind: %+v", left)
	}
	r.checkHistory()
}

// A run that is resumed stores the artifact anew, in other parts; those of the process that died end with the run.
func TestResumedRunStartsTheUploadAnew(t *testing.T) {
	r := newPartsRig(t, knowsParts)
	r.inject(agenttest.Fault{What: "part", Part: 3, Kind: "stall", Count: 1})
	r.inject(agenttest.Fault{What: "abort", Kind: "403", Count: 2}) // as if the process had died
	run := r.start(t.Context())
	path, data := largeFile(t)
	if err := run.AddArtifact("large", upload.File(path), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two parts stored, one stalled", func() bool {
		left := r.server.Uploads()
		return len(left) == 1 && left[0].Parts == 2 && r.count("part", "") == 3
	})
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	stale := r.server.Uploads()
	if len(stale) != 1 {
		t.Fatalf("uploads after the death: %+v", stale)
	}
	folders, err := filepath.Glob(filepath.Join(r.options.StateDir, "*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("state folders: %q, %v", folders, err)
	}
	resumed, err := agent.Resume(t.Context(), r.queue, folders[0], r.options)
	if err != nil {
		t.Fatal(err)
	}
	defer resumed.Close()
	summary, err := resumed.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil || len(summary.Missing) > 0 || summary.Artifacts["large"].Digest != upload.Sum(data) || !bytes.Equal(r.stored("artifacts/large"), data) {
		t.Errorf("Complete = %+v, %v", summary, err)
	}
	if n := r.count("part", "artifacts/large"); n != 6 {
		t.Errorf("%d parts, want three again", n)
	}
	if left := r.server.Uploads(); len(left) > 0 {
		t.Errorf("uploads left behind: %+v", left)
	}
	r.checkHistory()
}
