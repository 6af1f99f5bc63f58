package agent_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/upload"
)

var seeds = flag.Int("seeds", 0, "how many seeds to try; 0: 2 for each plan of TestFaults, 300 for TestSimulation")

// Whatever misbehaves, and however often: the same bytes, and the same order.
func TestFaults(t *testing.T) {
	for _, spec := range []string{
		"any=503:0.33", "any=500:0.2,any=429:0.1", "put=reset:0.3", "any=reset:0.2", "any=lost:0.3", "put=expired:0.3",
		"any=redirect:0.5", "put=stall:0.1,get=stall:0.05", "artifact-urls=503:0.5,completed=lost:0.5,reclaim=reset:0.5", "put=slow:0.02",
		"any=503:0.07,any=reset:0.07,any=lost:0.07,any=redirect:0.07,put=expired:0.07,put=stall:0.02",
	} {
		for seed := range cmp.Or(*seeds, 2) {
			t.Run(fmt.Sprintf("%s/%d", spec, seed), func(t *testing.T) {
				t.Parallel()
				faults, err := agenttest.ParseFaults(spec, uint64(seed))
				if err != nil {
					t.Fatal(err)
				}
				runUnderFaults(t, faults, uint64(seed))
			})
		}
	}
}

func runUnderFaults(t *testing.T, faults *agenttest.FaultPlan, seed uint64) {
	r := newRig(t, agenttest.Options{Faults: faults, ClaimLength: 20 * time.Second})
	run := r.start(t.Context())
	random := rand.New(rand.NewPCG(seed, 1))

	artifacts := map[string][]byte{}
	for i := range 5 {
		body := make([]byte, random.IntN(200_000))
		for i := range body {
			body[i] = byte(random.Uint32())
		}
		name := fmt.Sprintf("public/%d.bin", i)
		artifacts[name] = body
		if err := run.AddArtifact(name, upload.Bytes(body), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var text bytes.Buffer
	log := io.MultiWriter(&text, run.Log("terminal.log"))
	for i := range 40 {
		for range random.IntN(60) {
			fmt.Fprintf(log, "line %d: %x\n", i, random.Uint64())
		}
		r.count("put", "") // some time passes
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(summary.Missing) > 0 {
		t.Errorf("missing: %v", summary.Missing)
	}
	artifacts["terminal.log"] = text.Bytes()
	for name, want := range artifacts {
		if got := r.stored("artifacts/" + name); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes are stored, want %d equal ones", name, len(got), len(want))
		}
		if r.result().Artifacts[name] == "" {
			t.Errorf("%s is not in result.json", name)
		}
	}
	reader := livelog.NewReader(r.ctx(), r.server.StorageURL()+"/"+r.path("artifacts/"+livelog.IndexName("terminal.log")), livelog.ReaderOptions{MinPoll: time.Millisecond, MaxPoll: 10 * time.Millisecond, StallTimeout: 500 * time.Millisecond})
	defer reader.Close()
	if live, err := io.ReadAll(reader); err != nil || !bytes.Equal(live, text.Bytes()) {
		t.Errorf("live log: %d bytes, %v; want %d equal ones", len(live), err, text.Len())
	}
	r.checkHistory()
}
