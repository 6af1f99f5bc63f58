package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// claimTime bounds how long exec and simulate try to claim their task, and resume to claim its runs again.
const claimTime = 2 * time.Minute

// defaultStorage is the task storage that the protocol names.
const defaultStorage = "https://tasks.taskcluster.net"

func queueFlag() cli.Flag {
	return &cli.StringFlag{Name: "queue", Required: true, Usage: "the queue's API: `URL`, ending in /v1", Sources: env("queue")}
}

func storageFlag() cli.Flag {
	return &cli.StringFlag{Name: "storage", Value: defaultStorage, Usage: "the task storage, as readers see it: `URL`", Sources: env("storage")}
}

func execCommand(io *stdio) *cli.Command {
	one := 1
	return &cli.Command{
		Name:      "exec",
		Usage:     "run a command as a task of a queue, from the claim until it is reported completed",
		UsageText: "upload-agent exec --queue URL (--task-id ID | --claim FILE) [OPTIONS] -- COMMAND ARGUMENTS...",
		Description: "Claims the task, or takes the claim that another program made, runs COMMAND, and stores its\n" +
			"output, the artifacts and the result. The exit status is the command's own; 124 if it ran into\n" +
			"--timeout, 7 if the claim was lost, 125 if the run could not be completed. The queue is tried for two\n" +
			"minutes before that. What COMMAND leaves running is ended. It can speak with this agent: see\n" +
			"\"upload-agent artifact\", \"redact\" and \"status\".\n" +
			"What could not be completed in time is kept, and \"upload-agent resume\" goes on with it.",
		Flags: append([]cli.Flag{
			queueFlag(), storageFlag(),
			&cli.StringFlag{Name: "task-id", Usage: "claim the task `ID`", Sources: env("task-id")},
			&cli.StringFlag{Name: "claim", Usage: "take the claim in `FILE` (- for stdin): the queue's answer, plus workerGroup and workerId", Sources: env("claim")},
			&cli.StringFlag{Name: "worker-group", Value: "upload-agent", Usage: "claim as a worker of `GROUP`", Sources: env("worker-group")},
			&cli.StringFlag{Name: "worker-id", Usage: "claim as worker `ID` (default: from the host's name)", Sources: env("worker-id")},
			stateFlag("keep the run below `DIR` until it is completed; resume goes on from there"),
		}, runFlags()...),
		StopOnNthArg: &one,
		Action:       func(ctx context.Context, cmd *cli.Command) error { return execTask(ctx, cmd, io) },
	}
}

func execTask(ctx context.Context, cmd *cli.Command, io *stdio) error {
	t := taskRun{io: io}
	if err := t.apply(cmd); err != nil {
		return err
	}
	defer t.uploads.CloseIdleConnections()
	argv := cmd.Args().Slice()
	if len(argv) == 0 {
		return usageError(errors.New("exec needs a command: upload-agent exec ... -- COMMAND ARGUMENTS"))
	}
	var err error
	if t.queue, err = queue.New(cmd.String("queue"), queue.Options{Logger: t.logger}); err != nil {
		return usageError(fmt.Errorf("--queue: %w", err))
	}
	if t.storage, _, err = io.storage(cmd); err != nil {
		return err
	}
	if t.stateDir, err = stateDir(cmd); err != nil {
		return err
	}
	if t.stream, err = newStreamServer(cmd, t.logger); err != nil {
		return err
	}
	defer t.stream.close()
	if t.claim, err = takeClaim(ctx, cmd, io, t.queue); err != nil {
		return err
	}
	t.commandWork(argv)
	return t.run(ctx)
}

// takeClaim claims the task, or reads the claim that somebody else made.
func takeClaim(ctx context.Context, cmd *cli.Command, io *stdio, q *queue.Client) (schema.Claim, error) {
	id, file := schema.TaskID(cmd.String("task-id")), cmd.String("claim")
	switch {
	case (id == "") == (file == ""):
		return schema.Claim{}, usageError(errors.New("exec needs either --task-id or --claim"))
	case file != "":
		return readClaim(file, io.in)
	case !id.Valid():
		return schema.Claim{}, usageError(fmt.Errorf("--task-id %q: want 22 characters of A-Z a-z 0-9 - _", string(id)))
	}
	w := schema.Worker{WorkerGroup: cmd.String("worker-group"), WorkerID: cmd.String("worker-id")}
	if w.WorkerID == "" {
		w.WorkerID = hostWorkerID()
	}
	for flag, value := range map[string]string{"worker-group": w.WorkerGroup, "worker-id": w.WorkerID} {
		if !identifier.MatchString(value) {
			return schema.Claim{}, usageError(fmt.Errorf("--%s %q: want 1 to 22 characters of A-Z a-z 0-9 - _", flag, value))
		}
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	claim, err := q.Claim(ctx, id, w)
	if err != nil {
		return claim, runFailure(err)
	}
	return claim, nil
}

var identifier = regexp.MustCompile(`^[A-Za-z0-9_-]{1,22}$`)

// hostWorkerID makes a worker id of the host's name.
func hostWorkerID() string {
	name, err := os.Hostname()
	if err != nil {
		return "upload-agent"
	}
	name = regexp.MustCompile(`[^A-Za-z0-9_-]`).ReplaceAllString(name, "-")
	return name[:min(len(name), 22)]
}

// readClaim reads a claim from a file. It is small, or it is no claim.
func readClaim(file string, stdin io.Reader) (schema.Claim, error) {
	data, name, err := readInput(file, stdin)
	if err != nil {
		return schema.Claim{}, usageError(fmt.Errorf("--claim: %w", err))
	}
	claim, err := schema.DecodeLenient[schema.Claim](name, data)
	if err != nil {
		return claim, usageError(fmt.Errorf("--claim: %w", err))
	}
	return claim, nil
}

// readInput reads a whole file, or stdin for "-". It refuses what is larger than any document.
func readInput(file string, stdin io.Reader) (data []byte, name string, err error) {
	name = file
	if file == "-" {
		name = "stdin"
	} else {
		f, err := os.Open(file)
		if err != nil {
			return nil, name, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, name, err
		}
		if info.IsDir() {
			return nil, name, fmt.Errorf("read %s: it is a folder", file)
		}
		stdin = f
	}
	data, err = io.ReadAll(io.LimitReader(stdin, schema.MaxBytes+1))
	if err != nil {
		return nil, name, fmt.Errorf("read %s: %w", name, err)
	}
	return data, name, nil // one byte too many is found by the decoder
}
