package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// In full: go test ./agent -run TestRunsShareAPool -pooled 1000 -timeout 60m -v
var pooledRuns = flag.Int("pooled", 16, "how many runs go on at once in TestRunsShareAPool")

const (
	pooledUploads   = 8         // of all runs together
	pooledArtifacts = 10        // of each run
	pooledSize      = 100 << 10 // of each artifact
	pooledMemory    = 64 << 20  // what the agent may take at most,
	pooledMemoryRun = 139 << 10 // and for each run: 200 MiB for a thousand
	pooledLog       = 4 << 10   // the log of each run
	pooledPatience  = 10 * time.Minute
)

// Many runs in one process share one pool. All of them end, although the artifacts of the first cannot be read before
// all the others have ended, and their memory is bounded.
func TestRunsShareAPool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	storage := startChild(t, "storage", manySetup{Dir: filepath.Join(dir, "storage"), Runs: *pooledRuns})
	var plan manyPlan
	storage.receive(t, &plan)
	plan.StateDir = filepath.Join(dir, "state")
	process := startChild(t, "pool", plan)
	last := -1
	for range plan.Claims {
		var ended manyEnded
		process.receive(t, &ended)
		if ended.Error != "" {
			t.Errorf("run %d: %s", ended.Run, ended.Error)
		}
		last = ended.Run
		folder := filepath.Join(dir, "storage", string(decodeClaim(t, plan.Claims[ended.Run]).TaskID))
		if err := errors.Join(checkPooled(folder, ended.Run), os.RemoveAll(folder)); err != nil {
			t.Errorf("run %d: %v", ended.Run, err)
		}
	}
	if last != 0 {
		t.Errorf("run %d ended last, after the one that waited for all others", last)
	}
	var report manyReport
	process.receive(t, &report)
	process.end(t)
	t.Logf("%d runs: %v, peak memory %.1f MiB, at most %d artifacts at once", len(plan.Claims), report.Duration.Round(time.Millisecond), float64(report.Peak)/(1<<20), report.AtOnce)
	if limit := int64(pooledMemory + len(plan.Claims)*pooledMemoryRun); report.Peak > limit && !raceEnabled() {
		t.Errorf("peak memory of the agent: %d bytes, want at most %d", report.Peak, limit)
	}
	if report.AtOnce > pooledUploads {
		t.Errorf("%d artifacts were read at once, want at most %d", report.AtOnce, pooledUploads)
	}
	if report.LeftOver != "" {
		t.Errorf("left over in the agent's process: %s", report.LeftOver)
	}
	storage.close(t)
	var server manyHistory
	storage.receive(t, &server)
	storage.end(t)
	if len(server.Violations) > 0 {
		t.Errorf("order of reports violated: %q", server.Violations)
	}
}

// checkPooled compares what is stored of a run, byte by byte.
func checkPooled(folder string, number int) error {
	for i := range pooledArtifacts {
		name := pooledName(i)
		file, err := os.Open(filepath.Join(folder, "runs", "0", "artifacts", filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if err := errors.Join(same(file, manyText(number).section(pooledSize)), file.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func pooledName(i int) string { return fmt.Sprintf("public/%d.txt", i) }

// poolOfMany is the process of the runs. The first is started first, so that it has all the places that it can get.
func poolOfMany(in *json.Decoder, out *json.Encoder) error {
	var plan manyPlan
	if err := in.Decode(&plan); err != nil {
		return err
	}
	before, err := descriptors()
	if err != nil {
		return err
	}
	m, err := newMany(plan)
	if err != nil {
		return err
	}
	transport := &pooledTransport{next: upload.NewTransport()}
	m.uploads = upload.New(upload.Options{Transport: transport, StallTimeout: manyStall})
	p := &pooled{many: m, pool: agent.NewPool(pooledUploads), othersEnded: make(chan struct{})}
	start := time.Now()
	var writing sync.Mutex // of out
	var wait, others sync.WaitGroup
	for i, claim := range plan.Claims {
		run := func() {
			ended := manyEnded{Run: i}
			if err := p.run(i, claim); err != nil {
				ended.Error = err.Error()
			}
			writing.Lock()
			defer writing.Unlock()
			out.Encode(ended) // if nobody listens any more, nobody misses it
		}
		if i == 0 {
			wait.Go(run)
		} else {
			others.Go(run)
		}
	}
	others.Wait()
	close(p.othersEnded)
	wait.Wait()
	m.uploads.CloseIdleConnections()
	m.transport.CloseIdleConnections()
	report := manyReport{Duration: time.Since(start), AtOnce: transport.most, LeftOver: leftOver(before)}
	if report.Peak, err = peakMemory(); err != nil {
		return err
	}
	return out.Encode(report)
}

// pooled are the runs of a process.
type pooled struct {
	*many
	pool        *agent.Pool
	othersEnded chan struct{}
}

// heldText can be read only when all other runs have ended.
type heldText struct {
	io.ReaderAt
	until chan struct{}
}

func (h heldText) ReadAt(p []byte, off int64) (int, error) {
	<-h.until
	return h.ReaderAt.ReadAt(p, off)
}

// pooledTransport counts how many artifacts are uploaded at once.
type pooledTransport struct {
	next *http.Transport

	mu         sync.Mutex
	open, most int
}

func (t *pooledTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/artifacts/public/") {
		t.count(1)
		defer t.count(-1)
	}
	return t.next.RoundTrip(r)
}

func (t *pooledTransport) CloseIdleConnections() { t.next.CloseIdleConnections() }

func (t *pooledTransport) count(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open += n
	t.most = max(t.most, t.open)
}

// run is one run from its claim to its report.
func (p *pooled) run(number int, claim json.RawMessage) error {
	decoded, err := schema.Decode[schema.Claim]("claim", claim)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), pooledPatience)
	defer cancel()
	run, err := agent.Start(ctx, p.queue, decoded, agent.Options{
		StateDir: p.plan.StateDir, Storage: p.storage, Uploader: p.uploads, Pool: p.pool,
	})
	if err != nil {
		return err
	}
	defer run.Close() // a second time, unless something went wrong
	for i := range pooledArtifacts {
		text := io.ReaderAt(manyText(number))
		if number == 0 {
			text = heldText{text, p.othersEnded}
		}
		source := io.NewSectionReader(text, 0, pooledSize)
		if err := run.AddArtifact(pooledName(i), upload.Section(source), agent.ArtifactOptions{ContentType: "text/plain"}); err != nil {
			return err
		}
	}
	line := make([]byte, pooledLog)
	if _, err := manyText(number).ReadAt(line, 0); err != nil {
		return err
	}
	if _, err := run.Log(agent.DefaultLog).Write(line); err != nil {
		return err
	}
	summary, err := run.Complete(ctx, agent.Outcome{Success: true})
	if err == nil && len(summary.Missing) > 0 {
		err = fmt.Errorf("missing: %v", summary.Missing)
	}
	return err
}
