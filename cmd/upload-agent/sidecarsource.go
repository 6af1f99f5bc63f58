package main

import (
	"context"

	"github.com/taskcluster/upload-agent/agent/sidecar"
	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
	"github.com/taskcluster/upload-agent/schema"
)

// sidecarSource shows operators a sidecar that serves until ctx ends.
type sidecarSource struct {
	sidecar *sidecar.Sidecar
	ctx     context.Context
}

// Snapshot is how the sidecar stands. While it is stopping its main loop is over, and its runs take as long as they may.
func (s sidecarSource) Snapshot() ops.Snapshot {
	status := s.sidecar.Status()
	shown := ops.Snapshot{NotReady: status.Reason}
	switch {
	case s.ctx.Err() != nil:
		shown.State = schema.AgentStopping
	case status.Looked.IsZero():
		shown.State = schema.AgentStarting
	default:
		shown.Alive = status.Looked
		if status.Reason == "" {
			shown.State = schema.AgentReady
		}
	}
	for _, f := range status.Folders {
		run := ops.Run{
			Name: f.Folder, TaskID: f.TaskID, RunID: f.RunID, Phase: string(f.Phase), Problem: f.Reason, TakenUntil: f.TakenUntil,
			Stored: len(f.Stored), Missing: len(f.Missing),
		}
		for _, size := range f.Logs {
			run.LogBytes += size
		}
		if f.Unwritten != "" {
			run.Problem = f.Unwritten
		}
		if f.Open {
			shown.Open++
		}
		shown.Runs = append(shown.Runs, run)
	}
	return shown
}
