package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// What a resumed run must keep of the one before, each promise by itself.

// mortal is a rig whose process can be killed.
type mortal struct {
	*rig
	disk *disktest.Disk
}

func newMortal(t *testing.T, seed uint64) *mortal { return newMortalWith(t, seed, agenttest.Options{}) }

func newMortalWith(t *testing.T, seed uint64, o agenttest.Options) *mortal {
	m := &mortal{rig: newRig(t, o), disk: disktest.New(rand.New(rand.NewPCG(seed, 1)))}
	m.options.StateDir = "/state"
	m.options.SetDisk(m.disk)
	return m
}

func (m *mortal) folder() string {
	return filepath.Join("/state", fmt.Sprintf("%s-%d", m.claim.Task(), m.claim.RunID))
}

// noted waits until the journal says so.
func (m *mortal) noted(what string, is func(journal.State) bool) {
	m.t.Helper()
	eventually(m.t, what+" in the journal", func() bool {
		state, err := journal.Read(m.disk, m.folder())
		return err == nil && is(state)
	})
}

// kill ends the process of the run. Whatever it does from now on, nobody will know.
func (m *mortal) kill(run *agent.Run) {
	m.disk.Crash()
	run.Close()
}

// resume is the next process.
func (m *mortal) resume() (*agent.Run, error) {
	m.t.Helper()
	return m.resumeAfter(false)
}

// resumeAfter is the next process, after a power cut perhaps.
func (m *mortal) resumeAfter(power bool) (*agent.Run, error) {
	m.t.Helper()
	m.disk = m.disk.Restart(power)
	m.disk.SetFaults(nil)
	m.options.SetDisk(m.disk)
	run, err := agent.Resume(m.t.Context(), m.queue, m.folder(), m.options)
	if err == nil {
		m.t.Cleanup(func() { run.Close() })
	}
	return run, err
}

// An artifact that is added again is stored again if it is another now, and only then.
func TestResumeStoresAgainWhatHasChanged(t *testing.T) {
	m := newMortal(t, 1)
	add := func(run *agent.Run, name, body string) {
		t.Helper()
		if err := run.AddArtifact(name, upload.Bytes([]byte(body)), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	run := m.start(t.Context())
	add(run, "same", "as it was")
	add(run, "changed", "as it was")
	add(run, "grown", "as it was")
	m.noted("all artifacts", func(s journal.State) bool { return len(s.Stored) == 3 })
	m.kill(run)

	run, err := m.resume()
	if err != nil {
		t.Fatal(err)
	}
	add(run, "same", "as it was")
	add(run, "changed", "as it is ")
	add(run, "grown", "as it was, and more")
	summary, err := run.Complete(m.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"same"}, summary.Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"same": "as it was", "changed": "as it is ", "grown": "as it was, and more"} {
		if got := string(m.stored("artifacts/" + name)); got != want || summary.Artifacts[name].Digest != upload.Sum([]byte(want)) {
			t.Errorf("%s: %q is stored, want %q; receipt %+v", name, got, want, summary.Artifacts[name])
		}
	}
	if n := m.count("put", "artifacts/same"); n != 1 {
		t.Errorf("the same bytes were stored %d times", n)
	}
	m.checkHistory()
}

// The chunks of a log that are stored stay; the log goes on behind them.
func TestResumeStoresNoChunkAgain(t *testing.T) {
	m := newMortal(t, 1)
	before, after := strings.Repeat("before\n", 6000), strings.Repeat("after\n", 6000)
	run := m.start(t.Context())
	io.WriteString(run.Log("terminal.log"), before)
	m.noted("a chunk", func(s journal.State) bool { return len(s.Logs[0].Chunks) > 0 })
	m.kill(run)

	run, err := m.resume()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(run.Log("terminal.log"), after)
	summary, err := run.Complete(m.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := m.count("put", "live/terminal.log/0-"); n != 1 {
		t.Errorf("a first chunk was stored %d times", n)
	}
	if n := summary.Continued["terminal.log"]; n == 0 || string(m.stored("artifacts/terminal.log")) != before+after {
		t.Errorf("went on at byte %d, %d bytes are stored, want %d", n, len(m.stored("artifacts/terminal.log")), len(before+after))
	}
	m.checkHistory()
}

// A chunk that has replaced others before the process died is the one that the next process knows.
func TestResumeGoesOnWithMergedChunks(t *testing.T) {
	m := newMortal(t, 1)
	m.options.Publish = livelog.PublishOptions{TailSize: 100, Interval: time.Millisecond}
	run := m.start(t.Context())
	log := run.Log("terminal.log")
	line := strings.Repeat("before", 40) + "\n"
	wrote := 0
	for !m.merged() {
		if wrote > 50 {
			t.Fatal("no chunk has replaced others")
		}
		fmt.Fprint(log, line)
		wrote++
		at := wrote * len(line)
		m.noted("what was written", func(s journal.State) bool {
			chunks := s.Logs[0].Chunks
			return len(chunks) > 0 && chunks[len(chunks)-1].Offset+chunks[len(chunks)-1].Size == int64(at)
		})
	}
	known, err := journal.Read(m.disk, m.folder())
	if err != nil {
		t.Fatal(err)
	}
	m.kill(run)

	run, err = m.resume()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(run.Log("terminal.log"), "after\n")
	if _, err := run.Complete(m.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	for _, chunk := range known.Logs[0].Chunks {
		if n := m.count("put", strings.TrimPrefix(chunk.URL, m.server.StorageURL())); n != 1 {
			t.Errorf("%s was stored %d times", chunk.URL, n)
		}
	}
	reader := livelog.NewReader(m.ctx(), m.server.StorageURL()+"/"+m.path("artifacts/"+livelog.IndexName("terminal.log")), livelog.ReaderOptions{})
	defer reader.Close()
	got, err := io.ReadAll(reader)
	if want := strings.Repeat(line, wrote) + "after\n"; string(got) != want || err != nil {
		t.Errorf("a reader got %d bytes, %v; want %d", len(got), err, len(want))
	}
	m.checkHistory()
}

// merged says whether the journal has fewer chunks than were stored.
func (m *mortal) merged() bool {
	state, err := journal.Read(m.disk, m.folder())
	stored := m.count("put", "live/terminal.log/") - m.count("put", "live/terminal.log/index.json")
	return err == nil && len(state.Logs) > 0 && len(state.Logs[0].Chunks) > 0 && len(state.Logs[0].Chunks) < stored
}

// That the disk does not take a log is not forgotten with the process that has seen it: the next one says so in the log, at that
// place, and the log goes on. What a failed write may have left behind the log is no part of it.
func TestResumeMarksWhatDiedInMemory(t *testing.T) {
	for seed := range uint64(10) {
		m := newMortal(t, seed)
		run := m.start(t.Context())
		io.WriteString(run.Log("terminal.log"), "kept\n")
		m.disk.SetFaults(func(op disktest.Op) error {
			if op.Name == "write" && strings.HasPrefix(op.Path, filepath.Join(m.folder(), "logs")) {
				return syscall.ENOSPC
			}
			return nil
		})
		if n, err := io.WriteString(run.Log("terminal.log"), "lost\n"); n != 5 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		m.kill(run)

		run, err := m.resume()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(run.Log("terminal.log"), "behind a gap\n"); err != nil {
			t.Errorf("Write behind a gap = %v", err)
		}
		summary, err := run.Complete(m.ctx(), agent.Outcome{Success: true})
		if err != nil {
			t.Fatal(err)
		}
		text := string(m.stored("artifacts/terminal.log"))
		before, behind, found := strings.Cut(text, "upload-agent: at least ")
		unit, n := "bytes", 5-max(len(strings.TrimSuffix(before, "\n"))-len("kept\n"), 0)
		if n == 1 {
			unit = "byte"
		}
		want := fmt.Sprintf("%d %s (1 line) of this log are missing here: the disk did not take them: no space left on device\nbehind a gap\n", n, unit)
		if !found || !strings.HasPrefix("kept\nlost\n", strings.TrimSuffix(before, "\n")) || behind != want {
			t.Errorf("seed %d: the log is %q, want %q at its end", seed, text, want)
		}
		if reason := summary.Incomplete["terminal.log"]; !strings.HasPrefix(reason, "incomplete: at least ") || m.result().Artifacts["terminal.log"] == "" || len(summary.Missing) > 0 {
			t.Errorf("seed %d: incomplete: %v, missing: %v", seed, summary.Incomplete, summary.Missing)
		}
		m.checkHistory()
	}
}

// Once the outcome is known, a power cut takes nothing of a log, even if its publisher has not come to it.
func TestResumeHasTheWholeLogAfterAPowerCut(t *testing.T) {
	known := 0
	for seed := range uint64(10) {
		m := newMortal(t, seed)
		working, network := m.options.Uploader, upload.NewTransport()
		publishing := make(chan struct{})
		stuck := sync.OnceFunc(func() { close(publishing) })
		m.options.Uploader = upload.New(upload.Options{Transport: wire(func(r *http.Request) (*http.Response, error) {
			if contains(r.URL.Path, "/live/") {
				stuck()
				<-r.Context().Done()
				return nil, context.Cause(r.Context())
			}
			return network.RoundTrip(r)
		})})
		run := m.start(t.Context())
		io.WriteString(run.Log("terminal.log"), "the first words\n")
		<-publishing
		io.WriteString(run.Log("terminal.log"), "the last words\n")
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			run.Complete(m.ctx(), agent.Outcome{Success: true}) // its process dies amid it
		}()
		m.noted("the outcome", func(s journal.State) bool { return s.Outcome != nil })
		m.kill(run)
		<-ended
		network.CloseIdleConnections()

		m.options.Uploader = working
		run, err := m.resumeAfter(true)
		if err == nil {
			_, err = run.Conclude(m.ctx())
		}
		m.checkHistory()
		if errors.Is(err, agent.ErrNoOutcome) {
			continue // the power went between the record's write and its fsync
		}
		known++
		if got := string(m.stored("artifacts/terminal.log")); err != nil || got != "the first words\nthe last words\n" {
			t.Errorf("seed %d: the log is %q, %v", seed, got, err)
		}
	}
	if known == 0 {
		t.Error("the outcome was never known: the test looks at nothing")
	}
}

// The bytes that were frozen are those that are stored, whichever process stores them.
func TestResumeStoresTheFrozenResult(t *testing.T) {
	m := newMortal(t, 1)
	m.inject(agenttest.Fault{What: "put", Kind: "400", Code: "InvalidRequest", Path: "result.json", Count: 1})
	run := m.start(t.Context())
	if _, err := run.Complete(m.ctx(), agent.Outcome{Success: true, Result: map[string]any{"exitCode": 7}}); err == nil {
		t.Fatal("Complete without a result")
	}
	frozen := m.disk.Files()[filepath.Join(m.folder(), "result.json")]
	m.kill(run)

	run, err := m.resume()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Conclude(m.ctx()); err != nil {
		t.Fatal(err)
	}
	if got := m.stored("result.json"); len(frozen) == 0 || !bytes.Equal(got, frozen) {
		t.Errorf("stored:\n%s\nfrozen:\n%s", got, frozen)
	}
	m.checkHistory()
}

// wire is a transport.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

// credulous connects the agent with a queue that grants a reclaim to whoever asks; unless is asked first.
func (m *mortal) credulous(unless func(*http.Request) (*http.Response, error)) (reclaims func() int) {
	m.t.Helper()
	claim, err := schema.Encode(m.claim.ClaimAnswer)
	if err != nil {
		m.t.Fatal(err)
	}
	var mu sync.Mutex
	var granted int
	transport := &http.Transport{}
	m.t.Cleanup(transport.CloseIdleConnections)
	m.queue, err = queue.New(m.server.QueueURL(), queue.Options{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, Transport: wire(func(r *http.Request) (*http.Response, error) {
		if response, err := unless(r); response != nil || err != nil {
			return response, err
		}
		if !strings.HasSuffix(r.URL.Path, "/claim") {
			return transport.RoundTrip(r)
		}
		mu.Lock()
		defer mu.Unlock()
		granted++
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(claim)), Request: r}, nil
	})})
	if err != nil {
		m.t.Fatal(err)
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return granted
	}
}

// A report that went through although nobody heard the answer: the next process finds that out before it does anything,
// even where the queue would give it the claim again.
func TestResumeAfterAReportAsksFirst(t *testing.T) {
	m := newMortal(t, 1)
	ctx, die := context.WithCancel(m.ctx())
	plain := &http.Transport{}
	defer plain.CloseIdleConnections()
	reclaims := m.credulous(func(r *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(r.URL.Path, "/completed") {
			return nil, nil
		}
		response, err := plain.RoundTrip(r)
		if err == nil {
			response.Body.Close()
		}
		m.disk.Crash()
		die()
		return nil, errors.New("the process is dead")
	})
	run := m.start(t.Context())
	run.Complete(ctx, agent.Outcome{Success: true}) // nobody hears what comes of it
	m.kill(run)
	reports := m.count("completed", "")

	if _, err := m.resume(); !errors.Is(err, agent.ErrCompleted) {
		t.Errorf("Resume = %v, want that the run is completed", err)
	}
	if reclaims() > 0 || m.count("completed", "") != reports {
		t.Errorf("%d reclaims, %d more reports", reclaims(), m.count("completed", "")-reports)
	}
	m.checkHistory()
}

// A claim that lapsed while no agent was there may be another worker's by now: that is found out first, too.
func TestResumeAfterTheClaimHasLapsedAsksFirst(t *testing.T) {
	m := newMortal(t, 1)
	m.lapse()
	if err := m.server.LoseClaim(m.claim.Task()); err != nil {
		t.Fatal(err)
	}
	away := true
	reclaims := m.credulous(func(r *http.Request) (*http.Response, error) {
		if away && strings.HasSuffix(r.URL.Path, "/claim") {
			return nil, errors.New("the queue is away")
		}
		return nil, nil
	})
	m.kill(m.start(t.Context()))
	away = false
	puts := m.count("put", "")

	if _, err := m.resume(); !errors.Is(err, agent.ErrClaimLost) {
		t.Errorf("Resume = %v, want a lost claim", err)
	}
	if reclaims() > 0 || m.count("put", "") != puts {
		t.Errorf("%d reclaims, %d uploads under a claim that is lost", reclaims(), m.count("put", "")-puts)
	}
	left, err := m.disk.ReadDir("/state")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// Artifacts go in the order of their sizes, whatever the order in which they were added.
func TestSmallestArtifactsGoFirst(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.Uploads = 1
	begun, goOn := make(chan struct{}), make(chan struct{})
	next := upload.NewTransport()
	t.Cleanup(next.CloseIdleConnections)
	var mu sync.Mutex
	var order []string
	r.options.Uploader = upload.New(upload.Options{Transport: wire(func(req *http.Request) (*http.Response, error) {
		if at := strings.Index(req.URL.Path, "/artifacts/a-"); at >= 0 {
			mu.Lock()
			order = append(order, req.URL.Path[at+len("/artifacts/a-"):])
			first := len(order) == 1
			mu.Unlock()
			if first { // the others come meanwhile
				close(begun)
				<-goOn
			}
		}
		return next.RoundTrip(req)
	})})
	run := r.start(t.Context())
	add := func(size int) {
		t.Helper()
		if err := run.AddArtifact(fmt.Sprint("a-", size), upload.Bytes(make([]byte, size)), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	add(100)
	<-begun
	for _, size := range []int{3000, 2 << 20, 1, 40_000, 20, 0} {
		add(size)
	}
	close(goOn)
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"100", "0", "1", "20", "3000", "40000", "2097152"}; !slices.Equal(order, want) {
		t.Errorf("uploaded in the order %v, want %v", order, want)
	}
	r.checkHistory()
}
