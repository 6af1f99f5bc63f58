package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"
)

// sample is one process of one peer, measured whole.
type sample struct {
	Wall time.Duration `json:"wallNs"`
	CPU  time.Duration `json:"cpuNs"`     // user and system
	Peak int64         `json:"peakBytes"` // resident; never less than what this program takes itself, of which the process is a fork; 0 if the system does not tell
}

// measure runs a process to its end.
func measure(ctx context.Context, cmd *exec.Cmd) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if cmd.Process != nil {
			cmd.Process.Kill()
		}
	})
	defer stop()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return sample{}, fmt.Errorf("%w: %s", firstOf(context.Cause(ctx), err), said.Bytes()[:min(said.Len(), 2000)])
	}
	state := cmd.ProcessState
	return sample{Wall: wall, CPU: state.UserTime() + state.SystemTime(), Peak: peakOf(state)}, nil
}

// measured are the samples of one peer with one workload.
type measured struct {
	Peer    string   `json:"peer"`
	Samples []sample `json:"samples"`
}

// compare has all peers do a workload, turn by turn, n times. The first round warms up and does not count.
func compare(ctx context.Context, j job, peers []peer, n int, progress func(string)) ([]measured, error) {
	all := make([]measured, len(peers))
	for round := range n + 1 {
		for i, p := range peers {
			cmd, err := p.command(j)
			if err != nil {
				return nil, err
			}
			s, err := measure(ctx, cmd)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", j.Workload.Name, p.name, err)
			}
			all[i].Peer = p.name
			if round > 0 {
				all[i].Samples = append(all[i].Samples, s)
			}
			progress(fmt.Sprintf("%s %d/%d %s %.3fs", j.Workload.Name, round, n, p.name, s.Wall.Seconds()))
		}
	}
	return all, nil
}
