package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/upload"
)

func resumeCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "resume",
		Usage:     "go on with the runs that an agent has left unfinished",
		UsageText: "upload-agent resume [--queue URL] [--state DIR] [--storage URL] [--grace DURATION] [--bwlimit RATE] [--json]",
		Description: "Takes up every run that was left behind below DIR because its agent was killed, the machine went\n" +
			"down, or the grace after a signal was too short: all at once, from where each of them stood. What is\n" +
			"stored already is not uploaded again. A run whose command had ended is completed; one whose command\n" +
			"died with the agent is closed without a result, and the queue gives it to another worker.\n" +
			"Prints a line for each. The exit status is 0 if all of them were completed, closed, or are in use by\n" +
			"another process; 7 if a claim was lost; 1 if a run could not be resumed and is kept. The queue is\n" +
			"tried for two minutes before that.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "queue", Usage: "the queue's API: `URL`, ending in /v1; runs of another queue are left alone", DefaultText: "the queue that each run was claimed from", Sources: env("queue")},
			stateFlag("look for runs below `DIR`"),
			storageFlag(),
			&cli.DurationFlag{Name: "grace", Value: 30 * time.Second, Usage: "how long the runs have to end after the first SIGINT or SIGTERM; a second one ends them at once", Sources: env("grace")},
			bandwidthFlag(), progressFlag(), readBackFlag(),
			&cli.BoolFlag{Name: "json", Usage: "print a JSON object a line", Sources: env("json")},
		}, logFlags()...),
		Action: func(ctx context.Context, cmd *cli.Command) error { return resumeAll(ctx, cmd, io) },
	}
}

// resumer goes on with runs.
type resumer struct {
	io       *stdio
	json     bool
	logger   *slog.Logger
	storage  *queue.Storage
	uploads  *upload.Client
	queueURL string        // "" for that of each run
	wait     time.Duration // for the queue to answer
	readBack bool
	progress *progress

	mu     sync.Mutex
	queues map[string]*queue.Client // by URL: runs of one queue share its connections
}

func resumeAll(ctx context.Context, cmd *cli.Command, io *stdio) (err error) {
	if err := noArguments(cmd); err != nil {
		return err
	}
	grace := cmd.Duration("grace")
	if grace <= 0 {
		return usageError(fmt.Errorf("--grace %v: want more than nothing, such as 30s", grace))
	}
	r := resumer{io: io, json: cmd.Bool("json"), queueURL: cmd.String("queue"), wait: claimTime, queues: map[string]*queue.Client{}}
	if r.storage, r.logger, err = io.storage(cmd); err != nil {
		return err
	}
	if r.uploads, err = newUploader(cmd, r.logger); err != nil {
		return err
	}
	r.readBack = cmd.Bool("read-back")
	if r.progress, err = newProgress(cmd, io); err != nil {
		return err
	}
	if r.queueURL != "" {
		if _, err := r.queue(r.queueURL); err != nil {
			return usageError(fmt.Errorf("--queue: %w", err))
		}
	}
	dir, err := stateDir(cmd)
	if err != nil {
		return err
	}
	folders, err := agent.Unfinished(dir)
	if err != nil {
		return failure(err)
	}
	if len(folders) == 0 && !r.json {
		fmt.Fprintf(io.out, "nothing to resume in %s\n", dir)
	}
	ctx, _, stop := endGracefully(ctx, grace, io.notices())
	defer stop()
	if status := r.resumeEach(ctx, folders); status != statusOK {
		return &statusError{status: status} // the lines say why
	}
	return nil
}

// resumeEach takes all runs to their ends at once: each has a claim to keep.
func (r *resumer) resumeEach(ctx context.Context, folders []string) (status int) {
	defer r.uploads.CloseIdleConnections()
	defer r.progress.show()()
	ended := make(chan resumption)
	for _, folder := range folders {
		go func() { ended <- r.resume(ctx, folder) }()
	}
	for range folders {
		one := <-ended
		r.print(one)
		status = worse(status, one.status())
	}
	return status
}

func (r *resumer) print(one resumption) {
	if r.json {
		json.NewEncoder(r.io.results()).Encode(one)
	} else {
		fmt.Fprintln(r.io.results(), one)
	}
	if one.closing != nil {
		fmt.Fprintf(r.io.notices(), "upload-agent: %v\n", one.closing)
	}
}

// worse is the exit status that counts of two.
func worse(a, b int) int {
	for _, status := range []int{statusFailed, statusClaimLost} {
		if a == status || b == status {
			return status
		}
	}
	return statusOK
}

// notAsked stands for the queue of a run whose journal never named one.
const notAsked = "http://queue.invalid/v1"

// resume takes one run to its end.
func (r *resumer) resume(ctx context.Context, folder string) resumption {
	url := r.queueURL
	if url == "" {
		var err error
		if url, err = agent.QueueOf(folder); errors.Is(err, agent.ErrNotBegun) {
			url, err = notAsked, nil // Resume removes the folder
		}
		if err != nil {
			return notResumed(folder, err)
		}
	}
	q, err := r.queue(url)
	if err != nil {
		return notResumed(folder, err)
	}
	// The context is the run's life too, so that it has to go on when the queue has answered.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(r.wait, func() { cancel(fmt.Errorf("the queue %s has not answered within %v", url, r.wait)) })
	run, err := agent.Resume(ctx, q, folder, agent.Options{
		Storage: r.storage, Uploader: r.uploads, Logger: r.logger, ReadBack: r.readBack, Observer: r.progress.tally.observer(runPrefix(folder)),
	})
	late.Stop()
	if err != nil {
		return notResumed(folder, err)
	}
	summary, err := run.Conclude(ctx)
	one := concluded(folder, summary, err)
	one.closing = run.Close()
	return one
}

// runPrefix tells the artifacts of a run from those of others.
func runPrefix(folder string) string {
	if id, run, ok := parseStateFolder(folder); ok {
		return fmt.Sprintf("%s/%d/", id, run)
	}
	return folder + "/"
}

func (r *resumer) queue(url string) (*queue.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q, ok := r.queues[url]; ok {
		return q, nil
	}
	q, err := queue.New(url, queue.Options{Logger: r.logger})
	if err == nil {
		r.queues[url] = q
	}
	return q, err
}

func isGone(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}
