package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

func tailCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "tail",
		Usage:     "print a log, and follow it until it ends",
		UsageText: "upload-agent tail [--storage URL] TASKID[/RUNID[/LOG]] | URL",
		Description: "Without RUNID it takes the latest run; without LOG it takes " + agent.DefaultLog + ".\n" +
			"A URL is that of a live log's index, or of a stored log.",
		Flags: append([]cli.Flag{storageFlag()}, logFlags()...),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Len() != 1 {
				return usageError(errors.New("tail needs one TASKID[/RUNID[/LOG]] or URL"))
			}
			storage, logger, err := io.storage(cmd)
			if err != nil {
				return err
			}
			target, err := parseTarget(cmd.Args().First())
			if err != nil {
				return usageError(err)
			}
			ctx, stop := interruptible(ctx)
			defer stop()
			target.notice = io.err
			err = target.tail(ctx, storage, io.out, livelog.ReaderOptions{Logger: logger})
			switch {
			case err == nil:
				return nil
			case ctx.Err() != nil:
				return &statusError{status: statusSignal + 2} // Ctrl-C is how one stops reading
			case errors.Is(err, syscall.EPIPE):
				return &statusError{status: statusSignal + 13} // so is a pipe into head
			default:
				return failure(err)
			}
		},
	}
}

// target is what tail is asked to print: a URL, or a log of a run of a task.
type target struct {
	url    string
	taskID schema.TaskID
	runID  schema.RunID // -1: the latest
	log    string
	notice io.Writer // told once that there is no log yet
}

func parseTarget(arg string) (target, error) {
	if strings.Contains(arg, "://") {
		u, err := url.Parse(arg)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return target{}, errors.New("tail takes http and https URLs")
		}
		return target{url: arg}, nil
	}
	id, rest, _ := strings.Cut(arg, "/")
	t := target{taskID: schema.TaskID(id), runID: -1, log: agent.DefaultLog}
	if !t.taskID.Valid() {
		return t, fmt.Errorf("tail %q: a taskId is 22 characters of A-Z a-z 0-9 - _", arg)
	}
	if rest == "" {
		return t, nil
	}
	number, log, named := strings.Cut(rest, "/")
	run, err := strconv.ParseUint(number, 10, 10)
	if err != nil || run > 1000 {
		return t, fmt.Errorf("tail %q: run %q is not a number from 0 to 1000", arg, number)
	}
	t.runID = schema.RunID(run)
	if named {
		t.log = log
		if err := schema.ArtifactName(log); err != nil {
			return t, fmt.Errorf("tail %q: %w", arg, err)
		}
	}
	return t, nil
}

func (t target) tail(ctx context.Context, storage *queue.Storage, out io.Writer, o livelog.ReaderOptions) error {
	live := strings.HasSuffix(t.url, "/index.json")
	address := t.url
	if address == "" {
		var err error
		if address, live, err = t.await(ctx, storage); err != nil {
			return err
		}
	}
	var log io.ReadCloser
	if live {
		log = livelog.NewReader(ctx, address, o)
	} else {
		object, err := storage.Open(ctx, address)
		if err != nil {
			return err
		}
		log = object
	}
	defer log.Close()
	_, err := io.Copy(out, log)
	return err
}

// errNotYet says that a log may still be declared.
var errNotYet = errors.New("not yet")

// await finds the log, waiting for it while the task is not resolved.
func (t target) await(ctx context.Context, storage *queue.Storage) (address string, live bool, err error) {
	poll := time.NewTicker(time.Second)
	defer poll.Stop()
	for first := true; ; first = false {
		// In this order: what is not there after the task was resolved will never be.
		_, resolved := storage.Resolution(ctx, t.taskID)
		address, live, err = t.find(ctx, storage)
		if !errors.Is(err, errNotYet) || !errors.Is(resolved, queue.ErrNotFound) {
			return address, live, err
		}
		if first {
			fmt.Fprintf(t.notice, "upload-agent: waiting: %v\n", err)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return "", false, err
		}
	}
}

// find looks the log up in logs.json: its live form, if it is declared with one.
func (t target) find(ctx context.Context, storage *queue.Storage) (address string, live bool, err error) {
	run := t.runID
	if run < 0 {
		runs, err := storage.Runs(ctx, t.taskID)
		if err != nil {
			return "", false, err
		}
		if len(runs) == 0 {
			return "", false, t.notYet(ctx, storage, fmt.Errorf("no run of task %s has declared logs: %w", t.taskID, errNotYet))
		}
		run = runs[len(runs)-1]
	}
	logs, err := storage.Logs(ctx, t.taskID, run)
	if errors.Is(err, queue.ErrNotFound) {
		return "", false, t.notYet(ctx, storage, fmt.Errorf("run %d of task %s has declared no logs: %w", run, t.taskID, errNotYet))
	}
	if err != nil {
		return "", false, err
	}
	if address, ok := logs.Logs["live/"+t.log]; ok {
		return address, true, nil
	}
	if address, ok := logs.Logs[t.log]; ok {
		return address, false, nil
	}
	names := make([]string, 0, len(logs.Logs))
	for name := range logs.Logs {
		names = append(names, printable(name))
	}
	slices.Sort(names)
	return "", false, fmt.Errorf("run %d of task %s has no log %q; it has: %s", run, t.taskID, t.log, strings.Join(names, ", "))
}

// notYet is err, if there is such a task at all.
func (t target) notYet(ctx context.Context, storage *queue.Storage, err error) error {
	if _, taskErr := storage.Task(ctx, t.taskID); taskErr != nil {
		return taskErr
	}
	return err
}
