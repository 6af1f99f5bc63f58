package agent_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// BenchmarkReaderLatency measures how soon a line, one every 10 ms, reaches a Reader that follows the log in the
// embedded storage: go test ./agent -run '^$' -bench ReaderLatency -benchtime 60s
func BenchmarkReaderLatency(b *testing.B) {
	server, err := agenttest.New(b.TempDir(), agenttest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	q, err := queue.New(server.QueueURL(), queue.Options{})
	if err != nil {
		b.Fatal(err)
	}
	claim, err := server.PostAndClaim(schema.Worker{})
	if err != nil {
		b.Fatal(err)
	}
	run, err := agent.Start(b.Context(), q, claim, agent.Options{StateDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer run.Close()
	out := run.Log(agent.DefaultLog)
	index := server.StorageURL() + "/" + string(claim.Task()) + "/runs/0/artifacts/" + livelog.IndexName(agent.DefaultLog)

	line := []byte("2026-01-02T03:04:05.678Z INFO compiling package example.org/module/package 12\n")
	var mu sync.Mutex
	var written []time.Time // of each line
	var took []time.Duration
	var reading sync.WaitGroup
	reading.Go(func() {
		r := livelog.NewReader(b.Context(), index, livelog.ReaderOptions{})
		defer r.Close()
		buf := make([]byte, 32<<10)
		for read := 0; ; {
			n, err := r.Read(buf)
			mu.Lock()
			for read += n; len(took) < read/len(line); {
				took = append(took, time.Since(written[len(took)]))
			}
			mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for b.Loop() {
		mu.Lock()
		written = append(written, time.Now())
		_, err := out.Write(line)
		mu.Unlock()
		if err != nil {
			b.Fatal(err)
		}
		<-every.C
	}
	if _, err := run.Finish(context.Background(), agent.Outcome{}); err != nil {
		b.Fatal(err)
	}
	reading.Wait()
	if len(took) != len(written) {
		b.Fatalf("%d lines of %d were seen", len(took), len(written))
	}
	slices.Sort(took)
	for name, of := range map[string]float64{"p50": 0.5, "p99": 0.99, "most": 1} {
		b.ReportMetric(took[int(of*float64(len(took)-1))].Seconds()*1000, "ms-"+name)
	}
}
