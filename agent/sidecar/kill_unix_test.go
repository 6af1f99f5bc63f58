//go:build unix

package sidecar_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// build builds upload-agent.
func build(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "upload-agent")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/upload-agent").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// process is a sidecar in a process of its own.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	log *syncBuffer
}

func startProcess(t testing.TB, program string, r *rig, args ...string) *process {
	t.Helper()
	p := &process{t: t, log: &syncBuffer{}}
	p.cmd = exec.Command(program, append([]string{"sidecar", "--queue", r.server.QueueURL(), "--storage", r.server.StorageURL(),
		"--runs", r.runs, "--state", r.state, "--settle", "200ms", "--poll", "1s"}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// kill ends it with SIGKILL, and does nothing if it has ended.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill() // perhaps it has ended just now
		_ = p.cmd.Wait()
	}
	if p.t.Failed() {
		p.t.Log(p.log.String())
	}
}

// end ends it with SIGTERM.
func (p *process) end() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("sidecar: %v\n%s", err, p.log.String())
	}
}

// Fifty runs at once with twenty files each. The sidecar is killed on the way, and started again: nobody notices.
func TestKill(t *testing.T) {
	const runs, artifacts, steps, kills = 50, 20, 40, 2
	r := newRig(t, agenttest.Options{})
	program := build(t)
	var done atomic.Int64 // steps of all workers
	reached := make(chan struct{}, 1)
	workers := make([]*worker, runs)
	logs := make([][2]strings.Builder, runs)
	for i := range workers {
		workers[i] = r.worker(fmt.Sprintf("run-%02d", i))
	}
	p := startProcess(t, program, r)
	var working sync.WaitGroup
	for i, w := range workers {
		working.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for step := range steps {
				<-pace.C
				for n, name := range []string{"terminal.log", "build.log"} {
					text := fmt.Sprintf("%s %d step %d %s\n", name, i, step, strings.Repeat("x", step*n*10))
					if step%7 == 6 {
						text = strings.TrimSuffix(text, "\n") // what is killed may be amid a line
					}
					logs[i][n].WriteString(text)
					w.append("logs/"+name, text)
				}
				if step%2 == 0 {
					w.write(fmt.Sprintf("artifacts/%d.txt", step/2), fmt.Sprintf("artifact %d of %d", step/2, i))
				}
				done.Add(1)
				select {
				case reached <- struct{}{}:
				default:
				}
			}
			w.finish()
		})
	}
	for kill := range kills {
		for done.Load() < int64(runs*steps*(kill+1)/(kills+1)) {
			<-reached
		}
		p.kill()
		p = startProcess(t, program, r)
	}
	working.Wait()
	for i, w := range workers {
		s := w.awaitPhase(schema.PhaseCompleted)
		if len(s.Problems) > 0 || len(s.Missing) > 0 || len(s.Stored) != artifacts+2 {
			t.Errorf("status %+v", s)
		}
		w.wantArtifact("terminal.log", logs[i][0].String())
		w.wantArtifact("build.log", logs[i][1].String())
		for n := range artifacts {
			w.wantArtifact(fmt.Sprintf("%d.txt", n), fmt.Sprintf("artifact %d of %d", n, i))
		}
		if result := w.result(); len(result.Artifacts) != artifacts+2 {
			t.Errorf("result %v", result.Artifacts)
		}
	}
	p.end()
	if left, err := filepath.Glob(filepath.Join(r.state, "*-0")); err != nil || len(left) > 0 {
		t.Errorf("state of runs that are over: %v, %v", left, err)
	}
}

// One log that is written as fast as it can be read, and rotated; the sidecar is killed time and again.
// Half of its lines hold a secret, so that what is read and what is written are not alike.
func TestKillAmidALog(t *testing.T) {
	const size, rotations, password = 12 << 20, 4, "correct horse battery"
	t.Setenv("KILL_TEST_PASSWORD", password)
	r := newRig(t, agenttest.Options{})
	program := build(t)
	w := r.worker("one")
	w.append("logs/fast.log", "begin\n")
	p := startProcess(t, program, r, "--log-limit", "0")
	w.awaitLog("fast.log", 6)
	var want strings.Builder
	want.WriteString("begin\n")
	for rotation := range rotations {
		writing := make(chan struct{})
		go func() {
			defer close(writing)
			for part := 0; part < size/rotations; {
				text := strings.ReplaceAll(lines(want.Len(), want.Len()+5000), "1\n", "1 "+password+"\n")
				w.append("logs/fast.log", text)
				want.WriteString(strings.ReplaceAll(text, password, livelog.Redacted))
				part += len(text)
			}
		}()
		before := w.status().Logs["fast.log"]
		w.await("more of the log", func(s schema.Status) bool { return s.Logs["fast.log"] > before })
		p.kill()
		<-writing
		w.must(os.Rename(w.path("logs/fast.log"), w.path(fmt.Sprintf("logs/fast.log.%d", rotation))))
		w.append("logs/fast.log", "rotated\n")
		want.WriteString("rotated\n")
		p = startProcess(t, program, r, "--log-limit", "0")
		w.awaitLog("fast.log", want.Len()) // else it would be rotated twice while nobody looks, now and then
	}
	w.finish()
	w.awaitPhase(schema.PhaseCompleted)
	w.wantArtifact("fast.log", want.String())
	if result := w.result(); len(result.Artifacts) != 1 {
		t.Errorf("result %v", result.Artifacts)
	}
	p.end()
}
