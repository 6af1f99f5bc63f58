package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// crowded is what a process with so many runs takes, each of which writes a line a second.
type crowded struct {
	Runs        int   `json:"runs"`
	Resident    int64 `json:"residentBytes"` // 0 where the system does not tell
	Live        int64 `json:"liveHeapBytes"` // after a collection
	Stacks      int64 `json:"stackBytes"`
	Goroutines  int   `json:"goroutines"`
	Descriptors int   `json:"descriptors"` // 0 where the system does not tell
	Connections int64 `json:"connections"` // to the queue and the storage
}

// job is what such a process is told.
type job struct {
	Queue string          `json:"queue"`
	Tasks []schema.TaskID `json:"tasks"`
	State string          `json:"state"`
	Warm  time.Duration   `json:"warmNs"` // from the start of the last run until it is measured
}

// measureCrowd has a process of its own take that many runs at once, as a sidecar does: they share a client and a pool.
func measureCrowd(ctx context.Context, runs int, warm time.Duration, dir string) (result crowded, err error) {
	var w wires
	server, err := agenttest.New(filepath.Join(dir, "storage"), agenttest.Options{Listen: w.listen})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	j := job{Queue: server.QueueURL(), State: filepath.Join(dir, "state"), Warm: warm}
	for range runs {
		task, err := server.PostTask(schema.Task{})
		if err != nil {
			return result, err
		}
		j.Tasks = append(j.Tasks, task.TaskID)
	}
	self, err := os.Executable()
	if err != nil {
		return result, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"=crowd")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return result, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return result, err
	}
	if err := cmd.Start(); err != nil {
		return result, err
	}
	err = json.NewEncoder(in).Encode(j)
	if err == nil {
		if err = json.NewDecoder(out).Decode(&result); err == nil {
			result.Connections = w.all[0].Open.Load() + w.all[1].Open.Load()
		}
	}
	return result, errors.Join(err, in.Close(), cmd.Wait()) // it ends when nobody tells it anything any more
}

// takeCrowd is main of that process.
func takeCrowd(ctx context.Context, in io.Reader, out io.Writer) error {
	debug.SetGCPercent(50) // as the sidecar
	var j job
	told := bufio.NewReader(in)
	text, err := told.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if err != nil {
		return err
	}
	q, err := queue.New(j.Queue, queue.Options{})
	if err != nil {
		return err
	}
	uploader, pool := upload.New(upload.Options{}), agent.NewPool(8)
	runs := make([]*agent.Run, 0, len(j.Tasks))
	defer func() {
		for _, run := range runs {
			run.Close() // they were not to be completed
		}
	}()
	for _, task := range j.Tasks {
		claim, err := q.Claim(ctx, task, worker)
		if err != nil {
			return err
		}
		run, err := agent.Start(ctx, q, claim, agent.Options{StateDir: j.State, Uploader: uploader, Pool: pool})
		if err != nil {
			return err
		}
		runs = append(runs, run)
	}
	over := time.After(j.Warm)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for number := 0; ; number++ {
		for _, run := range runs {
			if _, err := run.Log(agent.DefaultLog).Write(line(number, 100)); err != nil {
				return err
			}
		}
		select {
		case <-second.C:
			continue
		case <-over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		break
	}
	if err := json.NewEncoder(out).Encode(look(len(runs))); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, told)
	return err
}

// look is what this process takes now.
func look(runs int) crowded {
	c := crowded{Runs: runs, Resident: resident(), Goroutines: runtime.NumGoroutine()}
	if open, err := os.ReadDir("/dev/fd"); err == nil {
		c.Descriptors = len(open)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.Live, c.Stacks = int64(m.HeapAlloc), int64(m.StackInuse)
	return c
}

// resident is the resident set of this process, as Linux tells it.
func resident() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// parseSteps reads a list of numbers of runs.
func parseSteps(text string) ([]int, error) {
	var steps []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > 10_000 {
			return nil, fmt.Errorf("-crowds %s: want numbers from 1 to 10000, such as 10,100,300", text)
		}
		steps = append(steps, n)
	}
	return steps, nil
}
