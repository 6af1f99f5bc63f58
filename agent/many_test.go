package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// In full: go test ./agent -run TestManyRuns -runs 100 -log-size 100MiB -timeout 60m -v
// It takes some minutes, and 30 GB below TMPDIR.
var (
	manyRuns    = flag.Int("runs", 8, "how many runs go on at once in TestManyRuns")
	manyLogSize = int64(4 << 20)
)

func init() {
	flag.Func("log-size", "how long the log of each run is in TestManyRuns, as in 100MiB (default 4MiB)", func(s string) error {
		n, err := strconv.ParseUint(strings.TrimSuffix(s, "MiB"), 10, 20)
		manyLogSize = int64(n) << 20
		return err
	})
}

const (
	// manyVariable makes the test binary the process that it names: "storage" or "agent".
	manyVariable = "AGENT_TEST_MANY"

	manyFaults    = "any=503:0.004,any=reset:0.004,any=lost:0.002,put=stall:0.0005,get=stall:0.0005"
	manyStall     = 5 * time.Second // when to give up what stalls
	manyFollowed  = 3               // runs whose log is read while it is written
	manyArtifact  = 1 << 20
	manyPiece     = 64 << 10               // of a log, in one Write
	manyFirst     = 999                    // bytes of the first piece: from there on no offset is a round number
	manyPace      = time.Second / 32       // of the pieces of every other run: 2 MiB a second; the rest as fast as it goes
	manyClaim     = 2 * time.Minute        // short enough to be renewed
	manyURLLife   = 90 * time.Second       // the same
	manyMemory    = 64 << 20               // what the agent may take at most,
	manyMemoryRun = 1 << 20                // and for each run
	manyPatience  = 2 * time.Minute        // with a reader whose log has ended
	manyLeftOver  = 10 * time.Second       // for connections to close
	manyCheck     = 100 * time.Millisecond // whether they have
)

// Many runs at once, and a storage that fails and stalls: every byte is right, and the memory of the
// agent's process grows neither with the logs nor beyond a small amount for each run. Nothing is left over.
//
// Three processes: the queue and the storage; the agent, which is measured; and this one, which checks.
func TestManyRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	storage := startChild(t, "storage", manySetup{Dir: filepath.Join(dir, "storage"), Runs: *manyRuns, Faults: manyFaults})
	var plan manyPlan
	storage.receive(t, &plan)
	plan.LogSize, plan.StateDir, plan.File = manyLogSize, filepath.Join(dir, "state"), filepath.Join(dir, "file")
	writeFrom(t, plan.File, manyText(-1).section(manyArtifact))

	tasks := make([]schema.TaskID, len(plan.Claims))
	for i, claim := range plan.Claims {
		tasks[i] = decodeClaim(t, claim).TaskID
	}
	live := followLogs(t, plan, tasks[:min(manyFollowed, len(tasks))])
	process := startChild(t, "agent", plan)
	for range tasks {
		var ended manyEnded
		process.receive(t, &ended)
		if ended.Error != "" {
			t.Errorf("run %d: %s", ended.Run, ended.Error)
			continue
		}
		if reader, ok := live[ended.Run]; ok {
			select {
			case err := <-reader:
				if err != nil {
					t.Errorf("run %d: log, followed: %v", ended.Run, err)
				}
			case <-time.After(manyPatience):
				t.Errorf("run %d: whoever follows its log does not come to the end", ended.Run)
			}
		}
		// The bytes of a run that was checked make room for others.
		folder := filepath.Join(dir, "storage", string(tasks[ended.Run]))
		if err := errors.Join(checkRun(t.Context(), plan, ended.Run, folder, tasks[ended.Run]), os.RemoveAll(folder)); err != nil {
			t.Errorf("run %d: %v", ended.Run, err)
		}
	}
	var report manyReport
	process.receive(t, &report)
	process.end(t)
	t.Logf("%d runs with logs of %d MiB: %v, peak memory %.1f MiB, at most %d goroutines",
		len(tasks), plan.LogSize>>20, report.Duration.Round(time.Second), float64(report.Peak)/(1<<20), report.Goroutines)
	if limit := int64(manyMemory + len(tasks)*manyMemoryRun); report.Peak > limit && !raceEnabled() {
		t.Errorf("peak memory of the agent: %d bytes, want at most %d", report.Peak, limit)
	}
	if report.LeftOver != "" {
		t.Errorf("left over in the agent's process: %s", report.LeftOver)
	}

	storage.close(t)
	var server manyHistory
	storage.receive(t, &server)
	storage.end(t)
	t.Logf("%d requests; faults: %v", server.Requests, server.Faults)
	if len(server.Violations) > 0 {
		t.Errorf("order of reports violated: %q", server.Violations)
	}
	if server.Faults["stall"] == 0 {
		t.Error("nothing stalled")
	}
}

// manyText is the log of the run of that number. It is made whenever it is read, and no two of its lines are equal, nor
// two of different runs.
type manyText int

const manyLine = "run 000 line 0000000000: the same words as in every other line\n\n"

func (m manyText) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		line := []byte(manyLine)
		digits(line[4:7], int64(m)&0xfff)
		digits(line[13:23], at/int64(len(line)))
		n += copy(p[n:], line[at%int64(len(line)):])
	}
	return n, nil
}

func (m manyText) section(size int64) *io.SectionReader { return io.NewSectionReader(m, 0, size) }

// digits writes n in hexadecimal.
func digits(to []byte, n int64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
}

// followLogs reads logs from the moment they begin, and tells for each run how it ended.
func followLogs(t *testing.T, plan manyPlan, tasks []schema.TaskID) map[int]chan error {
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	t.Cleanup(func() { cancel(); wait.Wait() })
	results := map[int]chan error{}
	for i, id := range tasks {
		result := make(chan error, 1)
		results[i] = result
		wait.Go(func() { result <- checkLive(ctx, plan, i, id) })
	}
	return results
}

// checkLive reads a log by its index, as those do who follow it.
func checkLive(ctx context.Context, plan manyPlan, number int, id schema.TaskID) error {
	url := fmt.Sprintf("%s/%s/runs/0/artifacts/%s", plan.StorageURL, id, livelog.IndexName(agent.DefaultLog))
	reader := livelog.NewReader(ctx, url, livelog.ReaderOptions{StallTimeout: manyStall})
	defer reader.Close()
	return same(reader, manyText(number).section(plan.LogSize))
}

// checkRun compares what is stored of a completed run, byte by byte.
func checkRun(ctx context.Context, plan manyPlan, number int, folder string, id schema.TaskID) error {
	ctx, cancel := context.WithTimeout(ctx, manyPatience)
	defer cancel()
	if err := checkLive(ctx, plan, number, id); err != nil {
		return fmt.Errorf("log, by its index: %w", err)
	}
	artifacts := filepath.Join(folder, "runs", "0", "artifacts")
	for name, want := range map[string]*io.SectionReader{
		agent.DefaultLog:  manyText(number).section(plan.LogSize),
		"public/part.txt": manyText(number).section(manyArtifact),
		"public/file":     manyText(-1).section(manyArtifact),
	} {
		file, err := os.Open(filepath.Join(artifacts, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if err := errors.Join(same(file, want), file.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// same compares two streams.
func same(got, want io.Reader) error {
	a, b := make([]byte, manyPiece), make([]byte, manyPiece)
	for off := 0; ; off += manyPiece {
		n, errA := io.ReadFull(got, a)
		m, errB := io.ReadFull(want, b)
		switch {
		case !bytes.Equal(a[:n], b[:m]):
			return fmt.Errorf("%d bytes from byte %d on, or some of them, are not those that were written (%d): %v", n, off, m, errA)
		case errB != nil: // the end
			return nil
		case errA != nil:
			return errA
		}
	}
}

func decodeClaim(t *testing.T, claim json.RawMessage) schema.Claim {
	t.Helper()
	decoded, err := schema.Decode[schema.Claim]("claim", claim)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func writeFrom(t *testing.T, path string, from io.Reader) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(file, from)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// raceEnabled says whether the race detector is on; it takes many times the memory.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
