package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// What the processes say to each other.
type (
	// manySetup goes to the storage, manyPlan comes from it and goes to the agent.
	manySetup struct {
		Dir    string
		Runs   int
		Faults string
	}
	manyPlan struct {
		QueueURL, StorageURL string
		Claims               []json.RawMessage
		LogSize              int64
		StateDir             string
		File                 string // an artifact of every run
	}
	// manyEnded comes from the agent for each run, then manyReport.
	manyEnded struct {
		Run   int
		Error string
	}
	manyReport struct {
		Peak       int64 // bytes
		Goroutines int   // the most that were seen
		AtOnce     int   // the most artifacts that were uploaded at once; only of the process with a pool
		Duration   time.Duration
		LeftOver   string
	}
	// manyHistory comes from the storage in the end.
	manyHistory struct {
		Requests   int
		Faults     map[string]int
		Violations []string
	}
)

// runChild is main of the processes that the test starts.
func runChild(role string) {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	switch role {
	case "storage":
		exitOn(serveMany(in, out))
	case "agent":
		exitOn(agentOfMany(in, out))
	case "pool":
		exitOn(poolOfMany(in, out))
	}
}

// serveMany is the process of the queue and the storage. It ends when its input does.
func serveMany(in *json.Decoder, out *json.Encoder) error {
	var setup manySetup
	if err := in.Decode(&setup); err != nil {
		return err
	}
	faults, err := agenttest.ParseFaults(setup.Faults, 1)
	if err != nil {
		return err
	}
	server, err := agenttest.New(setup.Dir, agenttest.Options{Faults: faults, ClaimLength: manyClaim, ArtifactURLLife: manyURLLife})
	if err != nil {
		return err
	}
	defer server.Close()
	if setup.Faults != "" { // one stall there is in any case
		if err := server.Inject(agenttest.Fault{What: "put", Kind: "stall", Path: "/live/", After: setup.Runs, Count: 1}); err != nil {
			return err
		}
	}
	plan := manyPlan{QueueURL: server.QueueURL(), StorageURL: server.StorageURL()}
	for range setup.Runs {
		claim, err := server.PostAndClaim(schema.Worker{})
		if err != nil {
			return err
		}
		encoded, err := schema.Encode(claim)
		if err != nil {
			return err
		}
		plan.Claims = append(plan.Claims, encoded)
	}
	if err := out.Encode(plan); err != nil {
		return err
	}
	if err := in.Decode(&setup); err != io.EOF {
		return err
	}
	history := manyHistory{Faults: map[string]int{}, Violations: server.Violations()}
	for _, request := range server.Requests() {
		history.Requests++
		if request.Fault != "" {
			history.Faults[request.Fault]++
		}
	}
	return out.Encode(history)
}

// agentOfMany is the agent's process: all the runs at once, with one client of the storage and one of the queue.
func agentOfMany(in *json.Decoder, out *json.Encoder) error {
	var plan manyPlan
	if err := in.Decode(&plan); err != nil {
		return err
	}
	before, err := descriptors()
	if err != nil {
		return err
	}
	start := time.Now()
	m, err := newMany(plan)
	if err != nil {
		return err
	}
	var writing sync.Mutex // of out
	var wait sync.WaitGroup
	for i, claim := range plan.Claims {
		wait.Go(func() {
			ended := manyEnded{Run: i}
			if err := m.run(i, claim); err != nil {
				ended.Error = err.Error()
			}
			writing.Lock()
			defer writing.Unlock()
			out.Encode(ended) // if nobody listens any more, nobody misses it
		})
	}
	wait.Wait()
	m.uploads.CloseIdleConnections()
	m.transport.CloseIdleConnections()
	report := manyReport{Duration: time.Since(start), Goroutines: m.goroutines}
	report.LeftOver = leftOver(before)
	if report.Peak, err = peakMemory(); err != nil {
		return err
	}
	return out.Encode(report)
}

// many is what the runs of a process share.
type many struct {
	plan      manyPlan
	queue     *queue.Client
	storage   *queue.Storage
	transport *http.Transport // of those two
	uploads   *upload.Client

	mu         sync.Mutex
	goroutines int // the most that were seen
}

func newMany(plan manyPlan) (m *many, err error) {
	transport := upload.NewTransport()
	m = &many{plan: plan, transport: transport, uploads: upload.New(upload.Options{StallTimeout: manyStall})}
	if m.queue, err = queue.New(plan.QueueURL, queue.Options{Transport: transport}); err != nil {
		return nil, err
	}
	m.storage, err = queue.NewStorage(plan.StorageURL, queue.Options{Transport: transport})
	return m, err
}

// run is one run from its claim to its report.
func (m *many) run(number int, claim json.RawMessage) error {
	decoded, err := schema.Decode[schema.Claim]("claim", claim)
	if err != nil {
		return err
	}
	run, err := agent.Start(context.Background(), m.queue, decoded, agent.Options{
		StateDir: m.plan.StateDir, Storage: m.storage, Uploader: m.uploads,
	})
	if err != nil {
		return err
	}
	defer run.Close() // a second time, unless something went wrong
	text := manyText(number)
	err = errors.Join(
		run.AddArtifact("public/part.txt", upload.Section(text.section(manyArtifact)), agent.ArtifactOptions{}),
		run.AddArtifact("public/file", upload.File(m.plan.File), agent.ArtifactOptions{}),
		m.write(run.Log(agent.DefaultLog), text.section(m.plan.LogSize), number%2 == 0),
	)
	if err != nil {
		return err
	}
	summary, err := run.Complete(context.Background(), agent.Outcome{Success: true})
	if err == nil && len(summary.Missing) > 0 {
		err = fmt.Errorf("missing: %v", summary.Missing)
	}
	return err
}

// write writes a log, piece by piece.
func (m *many) write(log io.Writer, text *io.SectionReader, paced bool) error {
	tick := time.NewTicker(manyPace)
	defer tick.Stop()
	buffer := make([]byte, manyPiece)
	for off := int64(0); off < text.Size(); {
		if paced {
			<-tick.C
		}
		piece := buffer
		if off == 0 {
			piece = buffer[:manyFirst]
		}
		n, err := text.ReadAt(piece, off)
		if err != nil && err != io.EOF {
			return err
		}
		if _, err := log.Write(piece[:n]); err != nil {
			return err
		}
		off += int64(n)
		m.mu.Lock()
		m.goroutines = max(m.goroutines, runtime.NumGoroutine())
		m.mu.Unlock()
	}
	return nil
}

// peakMemory is the most memory that this process had at any time: where the system tells, resident;
// elsewhere what Go ever asked for, which is more.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.Sys), nil
	}
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, err = fmt.Sscanf(rest, "%d kB", &kib)
	return kib << 10, err
}

// descriptors counts the open ones.
func descriptors() (int, error) {
	r, w, err := os.Pipe() // so that those which the runtime keeps for itself are there from the start
	if err != nil {
		return 0, err
	}
	entries, err := os.ReadDir("/dev/fd")
	return len(entries) - 2, errors.Join(err, r.Close(), w.Close())
}

// leftOver says what there is more of than before: goroutines and descriptors.
func leftOver(before int) string {
	if err := goleak.Find(); err != nil {
		return err.Error()
	}
	tick := time.NewTicker(manyCheck)
	defer tick.Stop()
	for end := time.Now().Add(manyLeftOver); ; <-tick.C {
		now, err := descriptors()
		switch {
		case err != nil:
			return err.Error()
		case now <= before:
			return ""
		case time.Now().After(end):
			return fmt.Sprintf("%d descriptors, %d before", now, before)
		}
	}
}

// child is another process of this binary. It gets one JSON value, and sends some.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startChild(t *testing.T, role string, input any) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), manyVariable+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() }) // the context has ended, so it is killed, or it has been waited for
	if err := json.NewEncoder(in).Encode(input); err != nil {
		t.Fatal(err)
	}
	return &child{cmd, in, json.NewDecoder(out)}
}

func (c *child) receive(t *testing.T, message any) {
	t.Helper()
	if err := c.out.Decode(message); err != nil {
		t.Fatalf("receive %T: %v", message, err)
	}
}

// close ends the input of the process.
func (c *child) close(t *testing.T) {
	t.Helper()
	if err := c.in.Close(); err != nil {
		t.Fatal(err)
	}
}

func (c *child) end(t *testing.T) {
	t.Helper()
	if err := c.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}
