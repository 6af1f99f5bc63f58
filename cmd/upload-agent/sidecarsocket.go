package main

import (
	"fmt"
	"log/slog"

	"github.com/taskcluster/upload-agent/agent/sidecar"
	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
	"github.com/taskcluster/upload-agent/schema"
)

// serveSidecarSocket lets workers and their tasks speak with a sidecar about its runs, in a folder; "" is none.
func serveSidecarSocket(dir string, s *sidecar.Sidecar, logger *slog.Logger) (stop func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	server, err := socket.Listen(dir, runsOf(s), socket.Options{Logger: logger})
	if err != nil {
		return nil, failure(fmt.Errorf("--socket-dir: %w", err))
	}
	return func() {
		if err := server.Close(); err != nil {
			logger.Warn("socket was left behind", "error", err)
		}
	}, nil
}

// runsOf finds the open runs of a sidecar.
func runsOf(s *sidecar.Sidecar) socket.Runs {
	return func(task schema.TaskID, id schema.RunID) (socket.Run, error) {
		if task == "" {
			if open := s.Runs(); len(open) == 1 {
				return open[0], nil
			} else {
				return nil, fmt.Errorf("%w: %d runs are open here", socket.ErrNoRun, len(open))
			}
		}
		if run, ok := s.Run(task, id); ok {
			return run, nil
		}
		return nil, fmt.Errorf("%w: run %d of task %s is not open here", socket.ErrNoRun, id, task)
	}
}
