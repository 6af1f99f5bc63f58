package agent_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/upload"
)

// told is what an observer has heard, as text: each line is a function's name, and what it was given.
type told struct {
	mu       sync.Mutex
	lines    []string
	sent     map[string][]int64 // by artifact
	size     map[string]int64   // the same
	log      map[string][]int64 // flushes
	receipts []upload.Receipt   // of all objects
}

func observe(o *agent.Options) *told {
	w := &told{sent: map[string][]int64{}, size: map[string]int64{}, log: map[string][]int64{}}
	o.Observer = agent.Observer{
		ArtifactAdded:   func(name string, size int64) { w.add("added %s %d", name, size) },
		ArtifactStored:  func(r upload.Receipt) { w.add("stored %s %d %s", r.Name, r.Size, r.URL) },
		ArtifactMissing: func(name, reason string) { w.add("missing %s %s", name, reason) },
		Retrying:        func(name string, kind error) { w.add("retrying %s %v", name, kind) },
		GrantRenewed:    func(name string) { w.add("renewed %s", name) },
		Reclaimed:       func(until time.Time) { w.add("reclaimed %v", until.After(time.Now())) },
		JournalFailed:   func(err error) { w.add("journal %v", err) },
		ArtifactSent: func(name string, sent, size int64) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sent[name], w.size[name] = append(w.sent[name], sent), size
		},
		LogFlushed: func(name string, size int64) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.log[name] = append(w.log[name], size)
		},
		ObjectStored: func(r upload.Receipt) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.receipts = append(w.receipts, r)
		},
	}
	return w
}

func (w *told) add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// of are the lines that begin so, without it.
func (w *told) of(prefix string) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.lines {
		if rest, ok := strings.CutPrefix(line, prefix+" "); ok {
			all = append(all, rest)
		}
	}
	return all
}

// An observer hears of everything that metrics and progress bars need, and of no secret.
func TestObserver(t *testing.T) {
	for name, o := range map[string]agenttest.Options{"one PUT": {}, "in parts": {MultipartFrom: 1 << 20, PartSize: 5 << 20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, o)
			w := observe(&r.options)
			what := "put"
			if o.MultipartFrom > 0 {
				what = "part"
			}
			r.inject(agenttest.Fault{What: what, Kind: "503", Path: "artifacts/large", Count: 1})
			r.inject(agenttest.Fault{What: what, Kind: "expired", Path: "artifacts/large", Count: 1})
			r.inject(agenttest.Fault{What: "put", Kind: "expired", Path: "result.json", Count: 1}) // is renewed by a reclaim
			run := r.start(t.Context())
			large := strings.Repeat("0123456789abcdef", 700_000)
			for name, source := range map[string]upload.Source{
				"large": upload.Bytes([]byte(large)), "small": upload.Bytes([]byte("small")), "gone": upload.File(t.TempDir() + "/gone"), "packed": upload.Bytes([]byte(large[:100_000])),
			} {
				if err := run.AddArtifact(name, source, agent.ArtifactOptions{Gzip: name == "packed"}); err != nil {
					t.Fatal(err)
				}
			}
			if err := run.AddMissing("none", "nobody made it"); err != nil {
				t.Fatal(err)
			}
			io.WriteString(run.Log("terminal.log"), large[:1000])
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil {
				t.Fatal(err)
			}

			added := w.of("added")
			slices.Sort(added)
			if want := []string{"gone 0", fmt.Sprintf("large %d", len(large)), "packed 100000", "small 5", "terminal.log 1000"}; !slices.Equal(added, want) {
				t.Errorf("added %q, want %q", added, want)
			}
			var stored []string
			for name, receipt := range summary.Artifacts {
				stored = append(stored, fmt.Sprintf("%s %d %s", name, receipt.Size, receipt.URL))
				w.checkSent(t, name, receipt.Size)
			}
			wantSame(t, "stored", w.of("stored"), stored)
			var missing []string
			for name, reason := range summary.Missing {
				missing = append(missing, name+" "+reason)
			}
			wantSame(t, "missing", w.of("missing"), missing)
			retrying := w.of("retrying")
			if want := []string{"large " + upload.ErrUnavailable.Error(), "large " + upload.ErrExpired.Error()}; len(retrying) < 3 || !slices.Contains(retrying, want[0]) || !slices.Contains(retrying, want[1]) {
				t.Errorf("retrying %q", retrying)
			}
			if renewed := w.of("renewed"); !slices.Contains(renewed, "large") || !slices.Contains(renewed, "result.json") {
				t.Errorf("renewed %q", renewed)
			}
			if reclaimed := w.of("reclaimed"); len(reclaimed) == 0 || slices.Contains(reclaimed, "false") {
				t.Errorf("reclaimed %q", reclaimed)
			}
			if flushed := w.log["terminal.log"]; len(flushed) == 0 || !slices.IsSorted(flushed) || flushed[len(flushed)-1] != 1000 {
				t.Errorf("flushed %v", flushed)
			}
			w.checkReceipts(t, r, summary)
		})
	}
}

// checkSent wants that all of an artifact was told of, as it is stored.
func (w *told) checkSent(t *testing.T, name string, size int64) {
	t.Helper()
	sent := w.sent[name]
	if len(sent) == 0 || sent[len(sent)-1] != size || slices.Max(sent) > size || w.size[name] != size {
		t.Errorf("sent of %s: %v of %d, %d are stored", name, sent, w.size[name], size)
	}
}

// checkReceipts compares what was told of objects with what the storage has seen.
func (w *told) checkReceipts(t *testing.T, r *rig, summary *agent.Summary) {
	t.Helper()
	names, retries := map[string]int{}, 0
	for _, receipt := range w.receipts {
		names[receipt.Name]++
		retries += receipt.Retries
	}
	for _, want := range []string{"logs.json", "result.json", "terminal.log", "live/terminal.log/index.json", "large", "small", "packed"} {
		if names[want] == 0 {
			t.Errorf("%s was stored, and nobody was told; of %v", want, slices.Sorted(maps.Keys(names)))
		}
	}
	if n := len(w.of("retrying")); n != retries {
		t.Errorf("told of %d retries, receipts of %d", n, retries)
	}
}

// Where readers need a signed URL, an observer does not get it.
func TestObserverGetsNoSecret(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	w := observe(&r.options)
	queueURL := r.server.QueueURL()
	r.between(func(answer http.ResponseWriter, req *http.Request) bool {
		return strings.HasSuffix(req.URL.Path, "/artifact-urls") && withReadURLs(t, queueURL, answer, req, func(url, _ string) string {
			return url + "?X-Amz-Signature=0123456789abcdef0123456789abcdef"
		})
	})
	run := r.start(t.Context())
	r.inject(agenttest.Fault{What: "put", Kind: "403", Path: "artifacts/denied"})
	for _, name := range []string{"a", "denied"} {
		if err := run.AddArtifact(name, upload.Bytes([]byte("x")), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	http.DefaultClient.CloseIdleConnections()
	if err != nil || !strings.Contains(summary.Artifacts["a"].URL, "Signature") {
		t.Fatalf("summary %+v, error %v", summary, err)
	}
	if len(w.of("stored")) != 2 || len(w.of("missing")) != 1 {
		t.Errorf("told %q", w.lines)
	}
	for _, text := range append(w.lines, fmt.Sprint(w.receipts)) {
		if strings.Contains(text, "Signature") {
			t.Errorf("told %s", text)
		}
	}
}

func wantSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: told %q, want %q", what, got, want)
	}
}

// A disk that cannot keep the journal is told of.
func TestObserverOfTheJournal(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	w := observe(&r.options)
	disk := disktest.New(rand.New(rand.NewPCG(1, 1)))
	r.options.SetDisk(disk)
	run := r.start(t.Context())
	disk.SetFaults(func(op disktest.Op) error { return syscall.EIO })
	_ = run.AddMissing("a", "b")
	<-run.Context().Done()
	run.Close()
	if got := w.of("journal"); len(got) != 1 || !strings.Contains(got[0], syscall.EIO.Error()) {
		t.Errorf("told %q", got)
	}
}

// Read back, what readers cannot read as it was sent is not stored.
func TestReadBack(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.ReadBack, r.options.GiveUpAfter = true, 100*time.Millisecond
	w := observe(&r.options)
	r.inject(agenttest.Fault{What: "put", Kind: "rot", Path: "artifacts/rotten"})
	r.inject(agenttest.Fault{What: "get", Kind: "403", Path: "artifacts/private"})
	r.inject(agenttest.Fault{What: "get", Kind: "404", Path: "artifacts/late", Count: 1})
	run := r.start(t.Context())
	body := []byte(strings.Repeat("sound ", 1000))
	for _, name := range []string{"late", "private", "rotten", "sound"} {
		if err := run.AddArtifact(name, upload.Bytes(body), agent.ArtifactOptions{Gzip: name == "sound"}); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if stored := slices.Sorted(maps.Keys(summary.Artifacts)); !slices.Equal(stored, []string{"late", "sound", "terminal.log"}) {
		t.Errorf("stored %q", stored)
	}
	for name, says := range map[string]string{"rotten": "read crc64nvme:", "private": "403 Forbidden AccessDenied"} {
		if reason := fmt.Sprint(r.missing()[name]); !strings.Contains(reason, upload.ErrReadBack.Error()) || !strings.Contains(reason, says) {
			t.Errorf("%s: %s", name, reason)
		}
	}
	if retrying := w.of("retrying"); !slices.Contains(retrying, "late "+upload.ErrReadBack.Error()) {
		t.Errorf("retrying %q", retrying)
	}
	if r.count("get", "artifacts/terminal.log")+r.count("get", ".json") > 0 {
		t.Error("logs or documents were read back")
	}
	if errors.Is(err, upload.ErrReadBack) {
		t.Errorf("the run itself fails: %v", err)
	}
}
