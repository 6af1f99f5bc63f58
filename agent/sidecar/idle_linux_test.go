package sidecar_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// What a sidecar costs that has fifty open runs, of twenty files each, in which nothing happens:
//
//	go test ./agent/sidecar -run '^$' -bench Idle -benchtime 1x
func BenchmarkIdle(b *testing.B) {
	const runs, artifacts, idle = 50, 20, 30 * time.Second
	server, err := agenttest.New(b.TempDir(), agenttest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	r := &rig{server: server, runs: b.TempDir(), state: b.TempDir()}
	var workers []*worker
	for i := range runs {
		w := newWorker(b, server, r.runs, fmt.Sprintf("run-%d", i))
		w.append("logs/terminal.log", lines(0, 100))
		for n := range artifacts {
			w.write(fmt.Sprintf("artifacts/%d", n), "artifact")
		}
		workers = append(workers, w)
	}
	p := startProcess(b, build(b), r, "--poll", "5s", "--settle", "2s")
	for _, w := range workers {
		w.await("all that is there", func(s schema.Status) bool { return len(s.Stored) == artifacts && s.Logs["terminal.log"] > 0 })
	}
	for range b.N {
		<-time.After(5 * time.Second) // what follows an upload
		before := cpuTime(b, p.cmd.Process.Pid)
		<-time.After(idle)
		used := cpuTime(b, p.cmd.Process.Pid) - before
		b.ReportMetric(100*used.Seconds()/idle.Seconds(), "%cpu")
		b.ReportMetric(memory(b, p.cmd.Process.Pid, "VmRSS"), "MiB-now")
		b.ReportMetric(memory(b, p.cmd.Process.Pid, "VmHWM"), "MiB-peak")
		b.ReportMetric(0, "ns/op")
	}
	p.end()
}

// cpuTime is what a process has used so far.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory is a member of a process's status, in MiB.
func memory(b *testing.B, pid int, member string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, value, _ := strings.Cut(string(status), member+":")
	var kib float64
	if _, err := fmt.Sscan(value, &kib); err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
