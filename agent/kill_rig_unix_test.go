//go:build unix

package agent_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// killRig is a queue with its storage in a process of its own, and agents to kill.
type killRig struct {
	t       *testing.T
	program string // upload-agent, built to die at crash points
	dir     string

	queueURL, storageURL string
	queue                *queue.Client
	storage              *queue.Storage

	mu        sync.Mutex
	completed map[schema.TaskID]bool // that the queue has told of
	kills     atomic.Int64           // agents that died of SIGKILL
}

// buildAgent builds upload-agent with its crash points.
func buildAgent(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "upload-agent")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", program, "../cmd/upload-agent").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// newKillRig starts the queue, which misbehaves as faults says. It is asked at the end whether all agents kept the order of reports.
func newKillRig(t *testing.T, program, faults string) *killRig {
	t.Helper()
	r := &killRig{t: t, program: program, dir: t.TempDir(), completed: map[schema.TaskID]bool{}}
	// The queue ends with its stdin, so that it does not outlive this process, whatever happens to that.
	server := exec.Command("sh", "-c", `"$@" & exec >/dev/null; cat; kill $!; wait $!`, "sh",
		program, "queue", "--dir", filepath.Join(r.dir, "storage"), "--listen", "127.0.0.1:0", "--storage-listen", "127.0.0.1:0", "--fault", faults)
	stdin, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr syncBuffer
	server.Stderr = &stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for _, url := range []*string{&r.queueURL, &r.storageURL} {
		if lines.Scan() {
			_, *url, _ = strings.Cut(lines.Text(), " ")
			*url = strings.TrimSpace(*url)
		}
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for lines.Scan() {
			r.watch(lines.Text())
		}
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // never fails
		<-watching
		if err := server.Wait(); err != nil {
			t.Errorf("the queue: %v\n%s", err, stderr.String())
		}
	})
	fast := queue.Options{MinBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond}
	if r.queue, err = queue.New(r.queueURL, fast); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if r.storage, err = queue.NewStorage(r.storageURL, fast); err != nil {
		t.Fatal(err)
	}
	return r
}

// watch hears what the queue publishes: from the moment that a run is completed, its result can be read.
func (r *killRig) watch(line string) {
	key, ok := strings.CutPrefix(line, "queue/v1/task-completed ")
	if !ok {
		return
	}
	id, _, _ := strings.Cut(key, ".")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := r.storage.Result(ctx, schema.TaskID(id), 0); err != nil {
		r.t.Errorf("task %s is said to be completed, but: %v", id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.completed[schema.TaskID(id)] = true
}

func (r *killRig) heard(id schema.TaskID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.completed[id]
}

// patience is how long anything may take.
func patience() time.Duration { return time.Minute + time.Duration(*killSize>>20)*time.Second }

// agentProcess is an upload-agent at work.
type agentProcess struct {
	rig    *killRig
	cmd    *exec.Cmd
	stdout syncBuffer // of resume; exec's is the log
	stderr syncBuffer
	alive  *os.File // reads to its end when the process and all that it has started are gone
	ended  chan struct{}
}

// agent starts upload-agent in a folder. It dies by itself at the crash point at, if that is not "".
func (r *killRig) agent(dir, at string, args ...string) (*agentProcess, error) {
	p := &agentProcess{rig: r, cmd: exec.Command(r.program, args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr = dir, &p.stderr
	if args[0] == "resume" {
		p.cmd.Stdout = &p.stdout
	}
	p.cmd.Env = append(os.Environ(), "UPLOAD_AGENT_CRASH_AT="+at, "UPLOAD_AGENT_STORAGE="+r.storageURL)
	alive, held, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.alive = alive
	p.cmd.Stdin = held // which the command inherits; nobody reads or writes it
	err = p.cmd.Start()
	if err = errors.Join(err, held.Close()); err != nil {
		return nil, errors.Join(err, alive.Close())
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its state says how it ended
	}()
	return p, nil
}

// end waits for the agent, or kills it when its moment has come, and tells whether SIGKILL ended it.
func (p *agentProcess) end(moment func(*agentProcess) <-chan time.Time) (killed bool, err error) {
	var now <-chan time.Time
	if moment != nil {
		now = moment(p)
	}
	select {
	case <-p.ended:
	case <-now:
		_ = p.cmd.Process.Kill() // it may just have ended
		<-p.ended
	case <-time.After(patience()):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return true, fmt.Errorf("%v did not end:\n%s", p.cmd.Args, p.stderr.String())
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed = ok && status.Signaled() && status.Signal() == syscall.SIGKILL
	if killed {
		p.rig.kills.Add(1)
	}
	return killed, nil
}

// alone waits until nothing is left of what the agent has started.
func (p *agentProcess) alone() error {
	defer p.alive.Close()
	if err := p.alive.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, p.alive); err != nil {
		return fmt.Errorf("the command of %v has not ended: %w", p.cmd.Args, err)
	}
	return nil
}
