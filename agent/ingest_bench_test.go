package agent_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// BenchmarkLogIngest is how fast a task can write its log: through the redactor into the spool, while it is published to an embedded storage
// on the same machine. Run it with -benchtime 3x.
func BenchmarkLogIngest(b *testing.B) {
	server, err := agenttest.New(b.TempDir(), agenttest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	q, err := queue.New(server.QueueURL(), queue.Options{})
	if err != nil {
		b.Fatal(err)
	}
	line := []byte("2026-01-02T15:04:05.678Z [worker 3] compiling src/module_7/file_1234.c -O2 -Wall -o build/obj/1a2b3c4d.o ... ok\n")
	for _, size := range []int{len(line), 64 << 10} {
		block := bytes.Repeat(line, 1+size/len(line))[:size]
		total := map[bool]int{true: 16 << 20, false: 256 << 20}[size == len(line)]
		for _, secrets := range []int{0, 20} {
			b.Run(fmt.Sprintf("%dB/secrets=%d", size, secrets), func(b *testing.B) {
				var o agent.Options
				for range secrets {
					o.Redact = append(o.Redact, rand.Text())
				}
				var took time.Duration
				for b.Loop() {
					claim, err := server.PostAndClaim(schema.Worker{})
					if err != nil {
						b.Fatal(err)
					}
					run, err := agent.Start(b.Context(), q, claim, o)
					if err != nil {
						b.Fatal(err)
					}
					log := run.Log(agent.DefaultLog)
					start := time.Now()
					for written := 0; written < total; written += size {
						if _, err := log.Write(block); err != nil {
							b.Fatal(err)
						}
					}
					took += time.Since(start)
					if err := run.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(total)*float64(b.N)/took.Seconds()/1e6, "MB/s")
				b.ReportMetric(float64(total/size)*float64(b.N)/took.Seconds(), "writes/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
