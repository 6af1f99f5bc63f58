package agent_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/agent"
)

var oneSeed = flag.Uint64("seed", 0, "the one seed to simulate, with all that is logged; 0: as many as -seeds says")

// Whole runs in virtual time: for each seed a task, a server, and what goes wrong meanwhile. Whatever it is, the promises hold.
//
// A seed draws the scenario. The jitter of the agent's pauses and the order of its goroutines are not drawn from it,
// so a failure that hangs on them may need a seed to be tried a few times (-count). Where a goroutine of the agent
// panics, the folders that are left in /dev/shm/simulation-* (or the temporary folder) are named after the seeds under way.
func TestSimulation(t *testing.T) {
	folder := makeSimFiles(t)
	if *oneSeed > 0 {
		simulateSeed(t, *oneSeed, folder)
		return
	}
	before := debug.SetGCPercent(400) // saves a quarter of the time
	t.Cleanup(func() { debug.SetGCPercent(before) })
	number := uint64(*seeds)
	if number == 0 {
		number = 300
	}
	var next atomic.Uint64
	t.Cleanup(func() { t.Logf("of %d runs: %v", number, &simTally) })
	for worker := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1); seed <= number; seed = next.Add(1) {
				simulateSeed(t, seed, folder)
			}
		})
	}
}

// simulateSeed makes and checks one history.
func simulateSeed(t *testing.T, seed uint64, folder string) {
	scenario := drawScenario(seed)
	say := fmt.Sprintf("seed %d: %s\nreplay: go test ./agent -run 'TestSimulation$' -seed %d", seed, scenario, seed)
	blame := func() {
		if r := recover(); r != nil {
			fmt.Fprintln(os.Stderr, say)
			panic(r)
		}
	}
	defer blame() // for a deadlock
	watchdog := time.AfterFunc(5*time.Minute, func() { panic("does not come to an end: " + say) })
	defer watchdog.Stop()
	dir := filepath.Join(folder, fmt.Sprint(seed))
	defer os.RemoveAll(dir)
	var problems []string
	var told string
	synctest.Test(t, func(t *testing.T) {
		defer blame()
		err := simulate(scenario, dir, func(h *history) {
			problems = h.check()
			simTally.add(h)
			if len(problems) > 0 || *oneSeed > 0 {
				told = h.tell()
			}
			if *oneSeed > 0 {
				told = h.shown.String() + told
			}
		})
		if err != nil {
			problems = append(problems, err.Error())
		}
	})
	for _, problem := range problems {
		t.Errorf("seed %d: %s", seed, problem)
	}
	if len(problems) > 0 || *oneSeed > 0 {
		t.Logf("%s\n%s", say, told)
	}
}

// tally counts how the histories ended, so that one can see that they are not all alike.
type tally struct {
	mu sync.Mutex
	of map[string]int
}

var simTally = tally{of: map[string]int{}}

func (c *tally) add(h *history) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := func(what string, is bool) {
		if is {
			c.of[what]++
		}
	}
	count("fair", h.scenario.fair())
	count("of the first queue", h.scenario.quirks)
	count("signed with version 2", h.scenario.v2)
	count("completed", h.completed())
	count("without an outcome", h.concluded)
	for what, target := range map[string]error{"claim lost": agent.ErrClaimLost, "unknown outcome": agent.ErrUnknownOutcome, "completed before": agent.ErrCompleted, "not begun": agent.ErrNotBegun} {
		count(what, slices.ContainsFunc(h.endings, func(e ending) bool { return !e.dead && errors.Is(e.err, target) }))
	}
	count("resumed", slices.ContainsFunc(h.endings, func(e ending) bool { return e.call == "resume" && e.err == nil && !e.dead }))
	count("resumed and completed", h.completed() && slices.ContainsFunc(h.endings, func(e ending) bool { return e.call == "resume" && e.err == nil && !e.completed }))
	count("power cut", h.powerCut)
	resolution, resolved := h.resolution()
	count("completed by another", resolved && resolution.RunID > h.scenario.first())
	if result, missing, err := h.result(); err == nil {
		count("incomplete log", len(members(result, "incompleteLogs")) > 0)
		count("something missing", len(missing) > 0)
	}
	c.of["requests"] += len(h.server.Requests())
}

func (c *tally) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.of)
}

// simFiles are what artifacts and logs are made of: the same for all seeds, and never written to.
var simFiles struct {
	folder       string
	files        []simFile
	noise, lines []byte
}

type simFile struct {
	path string
	body []byte
}

func makeSimFiles(t *testing.T) string {
	folder, err := os.MkdirTemp(memoryFolder(), "simulation-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	r := rand.New(rand.NewPCG(1, 1))
	simFiles.folder, simFiles.files = folder, nil
	simFiles.noise = make([]byte, 1<<20)
	for i := range simFiles.noise {
		simFiles.noise[i] = byte(r.Uint32())
	}
	var lines bytes.Buffer
	for i := 0; lines.Len() < 1<<20; i++ {
		fmt.Fprintf(&lines, "line %d of a log: %x\n", i, r.Uint64()>>r.IntN(64))
	}
	simFiles.lines = lines.Bytes()
	for i, size := range []int{0, 1, 700, 20_000, 64<<10 + 1, 180_000} {
		f := simFile{filepath.Join(folder, fmt.Sprint("file", i)), simFiles.noise[i : i+size]}
		if err := os.WriteFile(f.path, f.body, 0o600); err != nil {
			t.Fatal(err)
		}
		simFiles.files = append(simFiles.files, f)
	}
	return folder
}

// memoryFolder is where temporary files cost least; "" for the system's choice.
func memoryFolder() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}
