package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// taskRun is one run of a task whose work is a command.
type taskRun struct {
	io        *stdio
	logger    *slog.Logger
	queue     *queue.Client
	storage   *queue.Storage
	uploads   *upload.Client
	claim     schema.Claim
	stateDir  string // "": a temporary one, so that there is nothing to resume
	artifacts artifactSpecs
	settle    time.Duration // how long a file has not changed that is uploaded while work goes on; 0: none is
	progress  *progress
	readBack  bool
	timeout   time.Duration // of the command; 0: none
	grace     time.Duration
	redact    []string // secrets, which no log may show
	logLimit  int64    // as agent.Options have it
	publish   livelog.PublishOptions
	stream    *streamServer // serves the log; nil: nobody does
	// work does what the task is for.
	work func(ctx context.Context, signals <-chan os.Signal, run *agent.Run) (exit, error)
	// tree is where the storage keeps its objects on this machine, if it does.
	tree string
	// stored is where it keeps them, for people: a folder or the URL of a bucket; "": nobody knows.
	stored string
	// environment takes out of the agent's what the command must not have, too; nil: nothing.
	environment func(environ []string) []string
}

// runFlags are those of exec and simulate alike.
func runFlags() []cli.Flag {
	return slices.Concat(artifactFlags(), []cli.Flag{
		&cli.DurationFlag{Name: "settle", Value: 2 * time.Second, Usage: "upload an artifact while the command still runs once nobody has written to it for so long, and again if it changes later; 0: all of them when it has ended", Sources: env("settle")},
		&cli.DurationFlag{Name: "timeout", Usage: "how long COMMAND may run: then it gets a SIGTERM, and a --grace later a SIGKILL; the exit status is 124", DefaultText: "for ever", Sources: env("timeout")},
		&cli.DurationFlag{Name: "grace", Value: 30 * time.Second, Usage: "how long the run has to end after the first SIGINT or SIGTERM (a second one ends it at once), and how long an output is waited for that COMMAND left open", Sources: env("grace")},
		logLimitFlag(), flushFlag(), bandwidthFlag(), progressFlag(), readBackFlag(),
	}, streamFlags(), redactFlags(), logFlags())
}

// apply reads the flags of runFlags.
func (t *taskRun) apply(cmd *cli.Command) (err error) {
	if err = t.artifacts.apply(cmd); err != nil {
		return err
	}
	t.settle = cmd.Duration("settle")
	if t.grace = cmd.Duration("grace"); t.grace <= 0 {
		return usageError(fmt.Errorf("--grace %v: want more than nothing, such as 30s", t.grace))
	}
	t.readBack = cmd.Bool("read-back")
	if t.progress, err = newProgress(cmd, t.io); err != nil {
		return err
	}
	if t.timeout = cmd.Duration("timeout"); t.timeout < 0 || t.timeout == 0 && cmd.IsSet("timeout") {
		return usageError(fmt.Errorf("--timeout %v: want more than nothing, such as 30m", t.timeout))
	}
	if t.logLimit, err = logLimit(cmd); err != nil {
		return err
	}
	if t.publish, err = flushes(cmd); err != nil {
		return err
	}
	if t.logger, err = t.io.logger(cmd); err != nil {
		return err
	}
	if t.uploads, err = newUploader(cmd, t.logger); err != nil {
		return err
	}
	t.redact, err = secrets(cmd, os.Environ(), t.logger)
	return err
}

// commandWork is the work that runs a command.
func (t *taskRun) commandWork(argv []string) {
	t.work = func(ctx context.Context, signals <-chan os.Signal, run *agent.Run) (exit, error) {
		path, stop := serveSocket(run, t.logger)
		defer stop()
		environ := os.Environ()
		if t.environment != nil {
			environ = t.environment(environ)
		}
		c := child{
			hasEnded: stop, // whoever watches would hold its output open
			argv:     argv, env: childEnvironment(environ, t.claim.Task(), t.claim.RunID, path),
			io: t.io, log: run.Log(agent.DefaultLog), redacted: run.Redacted, timeout: t.timeout, grace: t.grace,
		}
		return c.run(ctx, signals)
	}
}

// run takes the task through all its steps. The status is the command's own, unless the
// run could not be completed.
func (t *taskRun) run(ctx context.Context) error {
	ctx, signals, stop := endGracefully(ctx, t.grace, t.io.notices())
	defer stop()

	run, err := agent.Start(ctx, t.queue, t.claim, agent.Options{
		StateDir: t.stateDir, Storage: t.storage, Uploader: t.uploads, Redact: t.redact, LogLimit: t.logLimit, Publish: t.publish, Stream: t.stream.logs(), Logger: t.logger,
		ReadBack: t.readBack, Observer: t.progress.tally.observer(""),
	})
	if err != nil {
		return runFailure(err)
	}
	err = t.toTheEnd(ctx, signals, run)
	if closeErr := run.Close(); closeErr != nil {
		fmt.Fprintf(t.io.err, "upload-agent: %v\n", closeErr)
	}
	if s := (*statusError)(nil); errors.As(err, &s) && s.err != nil {
		s.hint = t.resumeHint()
	}
	return err
}

// toTheEnd works, and completes the run.
func (t *taskRun) toTheEnd(ctx context.Context, signals <-chan os.Signal, run *agent.Run) error {
	files := newArtifactFiles(run, t.artifacts, t.logger)
	if t.settle > 0 {
		files.follow(t.settle, t.tree, t.stateDir)
	}
	began := time.Now()
	ended, err := t.work(run.Context(), signals, run)
	worked := time.Since(began)
	files.stop()
	if err != nil {
		// Part of the log is lost: what the run would say of itself would not be true.
		return runFailure(errors.Join(fmt.Errorf("run not completed: %w", err), run.Abandon(ctx, abandoned)))
	}
	if cause := context.Cause(run.Context()); cause != nil {
		return runFailure(fmt.Errorf("run not completed: %w", cause))
	}
	if err := files.addRest(); err != nil {
		fmt.Fprintf(t.io.err, "upload-agent: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nupload-agent: "))
	}
	outcome := agent.Outcome{Success: ended.status == 0, Result: map[string]any{"exitCode": ended.status}}
	if ended.signal != "" {
		outcome.Result["signal"] = ended.signal
	}
	if ended.timedOut {
		outcome.Result["timedOut"] = true
	}
	hide := t.progress.show()
	summary, err := run.Complete(ctx, outcome)
	hide()
	if summary == nil {
		return runFailure(err)
	}
	report := runReport{Summary: summary, stored: t.stored, worked: worked, took: time.Since(summary.Started), moved: t.progress.tally.so()}
	report.print(t.io.err)
	if err != nil {
		fmt.Fprintf(t.io.err, "upload-agent: %v\n", err) // completed all the same
	}
	if ended.status != 0 {
		return &statusError{status: ended.status}
	}
	return nil
}

// abandoned is what the log of a run says that is given up because not all of its log could be kept.
const abandoned = "part of this log could not be kept; nothing is reported, and the queue gives the task to another worker"

var (
	errSecondSignal = errors.New("interrupted a second time")
	errGraceOver    = errors.New("not done within --grace after the first signal")
)

// endGracefully hands out the first signal, for the command, and says so; the context ends with
// the second one, or a grace after the first.
func endGracefully(ctx context.Context, grace time.Duration, notice io.Writer) (context.Context, <-chan os.Signal, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	arriving := make(chan os.Signal, 2)
	first := make(chan os.Signal, 1)
	signal.Notify(arriving, runSignals()...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var over <-chan time.Time
		for {
			select {
			case s := <-arriving:
				if over != nil {
					cancel(errSecondSignal)
					return
				}
				first <- s
				over = time.After(grace)
				fmt.Fprintf(notice, "upload-agent: %v: ending within %v; once more to end at once\n", s, grace)
			case <-over:
				cancel(errGraceOver)
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, first, func() {
		signal.Stop(arriving)
		cancel(nil)
		<-done
	}
}
