package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/agent/sidecar"
	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
)

func sidecarCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "sidecar",
		Usage:     "take runs from folders, so that a worker in any language needs to write files only",
		UsageText: "upload-agent sidecar --queue URL --runs DIR [--state DIR] [--storage URL] [OPTIONS]",
		Description: "For each run, a worker makes a folder below DIR and writes there:\n" +
			"  claim.json       the queue's answer to the claim, plus workerGroup and workerId; renamed into place\n" +
			"  logs/NAME        a log, which readers see while it grows\n" +
			"  artifacts/PATH   an artifact, uploaded once it has not changed for a while, at the latest at the end\n" +
			"  finish.json      {\"success\": true, \"result\": {...}}, renamed into place, last\n" +
			"and reads status.json, and claim-lost, which says that the task is to be stopped.\n" +
			"A folder is for one run; the worker removes it when the run is over.\n" +
			"The first SIGINT or SIGTERM ends the command: what is finishing has --grace, all other runs stay\n" +
			"as they are, and the next sidecar goes on with them. Workers notice nothing of that.",
		Flags: append([]cli.Flag{
			queueFlag(), storageFlag(),
			&cli.StringFlag{Name: "runs", Required: true, Usage: "take runs from the folders below `DIR`, which is made if need be", Sources: env("runs")},
			stateFlag("keep the runs below `DIR` until they are over; workers must not be able to write there"),
			&cli.BoolFlag{Name: "report", Value: true, Usage: "report runs completed; with --report=false the worker does when status.json says \"result stored\"", Sources: env("report")},
			&cli.IntFlag{Name: "max-runs", Value: 1000, Usage: "have at most `N` runs open at once; others wait", Sources: env("max-runs")},
			&cli.IntFlag{Name: "uploads", Value: 16, Usage: "upload at most `N` artifacts of all runs at once; logs and documents go first", Sources: env("uploads")},
			&cli.DurationFlag{Name: "settle", Value: 2 * time.Second, Usage: "upload an artifact before the end once it has not changed for so long", Sources: env("settle")},
			&cli.DurationFlag{Name: "poll", Value: 5 * time.Second, DefaultText: "5s; 1s with --no-events", Usage: "look at every folder so often, whatever the system says of changes", Sources: env("poll")},
			&cli.BoolFlag{Name: "no-events", Usage: "do not rely on the system to tell of changes at all, as on network filesystems; --poll is how fast things go then", Sources: env("no-events")},
			&cli.DurationFlag{Name: "grace", Value: 30 * time.Second, Usage: "how long runs that are finishing have to end after the first SIGINT or SIGTERM; a second one ends them at once", Sources: env("grace")},
			&cli.StringFlag{Name: "socket-dir", Usage: "serve a socket in `DIR`, for 'artifact upload', 'redact add' and 'status' of the runs; DIR is made if need be, for our user alone", DefaultText: "none", Sources: env("socket-dir")},
			logLimitFlag(), flushFlag(), bandwidthFlag(),
		}, slices.Concat(redactFlags(), operationsFlags(), logFlags())...),
		Action: func(ctx context.Context, cmd *cli.Command) error { return serveSidecar(ctx, cmd, io) },
	}
}

func serveSidecar(ctx context.Context, cmd *cli.Command, io *stdio) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // it stands beside the work of others: memory counts more than the little time that it takes
	}
	counters := new(ops.Counters)
	s, err := newSidecar(cmd, io, counters)
	if err != nil {
		return err
	}
	logger, err := io.logger(cmd)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	closeSocket, err := serveSidecarSocket(cmd.String("socket-dir"), s, logger)
	if err != nil {
		return err
	}
	defer closeSocket()
	operations, err := startOperations(cmd, sidecarSource{s, ctx}, counters, logger)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, stop) // a second signal ends the process: what it leaves is taken up all the same
	fmt.Fprintf(io.err, "upload-agent: taking runs from the folders in %s\n", cmd.String("runs"))
	if err := errors.Join(s.Serve(ctx), operations.close()); err != nil {
		return failure(err)
	}
	return nil
}

func newSidecar(cmd *cli.Command, io *stdio, counters *ops.Counters) (*sidecar.Sidecar, error) {
	if err := noArguments(cmd); err != nil {
		return nil, err
	}
	for _, flag := range []string{"settle", "poll", "grace"} {
		if d := cmd.Duration(flag); d <= 0 {
			return nil, usageError(fmt.Errorf("--%s %v: want more than nothing, such as 5s", flag, d))
		}
	}
	for _, flag := range []string{"max-runs", "uploads"} {
		if n := cmd.Int(flag); n < 1 {
			return nil, usageError(fmt.Errorf("--%s %d: want at least 1", flag, n))
		}
	}
	storage, logger, err := io.storage(cmd)
	if err != nil {
		return nil, err
	}
	q, err := queue.New(cmd.String("queue"), queue.Options{Logger: logger, Transport: counters.CountQueueErrors(nil)})
	if err != nil {
		return nil, usageError(fmt.Errorf("--queue: %w", err))
	}
	limit, err := logLimit(cmd)
	if err != nil {
		return nil, err
	}
	publish, err := flushes(cmd)
	if err != nil {
		return nil, err
	}
	redact, err := secrets(cmd, os.Environ(), logger)
	if err != nil {
		return nil, err
	}
	uploads, err := newUploader(cmd, logger)
	if err != nil {
		return nil, err
	}
	state, err := stateDir(cmd)
	if err != nil {
		return nil, err
	}
	runs, err := runsDir(cmd.String("runs"), state)
	if err != nil {
		return nil, err
	}
	s, err := sidecar.New(q, runs, sidecar.Options{
		State: state, WorkerReports: !cmd.Bool("report"), MaxRuns: cmd.Int("max-runs"), Uploads: cmd.Int("uploads"),
		Settle: cmd.Duration("settle"), Poll: poll(cmd), NoEvents: cmd.Bool("no-events"), Grace: cmd.Duration("grace"),
		Run: agent.Options{Uploader: uploads, Storage: storage, LogLimit: limit, Publish: publish, Redact: redact}, Logger: logger, Counters: counters,
	})
	if err != nil {
		return nil, failure(err)
	}
	return s, nil
}

// runsDir is the folder of the run folders. The state of the runs must not be in it: whoever may write there could tell us anything.
func runsDir(dir, state string) (string, error) {
	runs, err := filepath.Abs(dir)
	if err != nil {
		return "", usageError(fmt.Errorf("--runs: %w", err))
	}
	below, err := filepath.Abs(state)
	if err == nil {
		below, err = filepath.Rel(runs, below)
	}
	if err == nil && filepath.IsLocal(below) {
		return "", usageError(fmt.Errorf("--state %s is in the folder of --runs, where workers write; choose another one", state))
	}
	return runs, makeRunsDir(runs)
}

// poll is how often folders are looked at; 0 for what the sidecar does by default.
func poll(cmd *cli.Command) time.Duration {
	if !cmd.IsSet("poll") {
		return 0
	}
	return cmd.Duration("poll")
}

func makeRunsDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return failure(fmt.Errorf("make the folder of the runs: %w", err))
	}
	return nil
}
