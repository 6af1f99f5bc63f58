package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

func simulateCommand(io *stdio) *cli.Command {
	one := 1
	return &cli.Command{
		Name:      "simulate",
		Usage:     "run a command as a task, with a queue and a storage of its own on this machine",
		UsageText: "upload-agent simulate [OPTIONS] [-- COMMAND ARGUMENTS...]",
		Description: "Posts a task to an embedded queue, claims it, runs COMMAND (or a small built-in job) through the\n" +
			"same agent that real workers use, and leaves what was stored in DIR/<taskId>/.\n" +
			"With --s3 they are stored in a bucket instead. With --amqp the queue's messages go to a RabbitMQ.\n" +
			"With --serve it prints the URL of a page on which to watch the run, and stays until Ctrl-C for you to look around.",
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "keep the storage in `DIR` (default: a new temporary folder)", Sources: env("dir")},
			serveFlag(), amqpFlag(),
		}, embeddedFlags()...), runFlags()...),
		StopOnNthArg: &one,
		Action:       func(ctx context.Context, cmd *cli.Command) error { return simulate(ctx, cmd, io) },
	}
}

func simulate(ctx context.Context, cmd *cli.Command, io *stdio) (err error) {
	t := taskRun{io: io}
	if err := t.apply(cmd); err != nil {
		return err
	}
	defer t.uploads.CloseIdleConnections()
	embedded, err := embeddedOptions(cmd, t.logger)
	if err != nil {
		return err
	}
	broker, err := brokerURL(cmd)
	if err != nil {
		return err
	}
	t.redact = append(t.redact, brokerSecrets(broker)...)
	if t.stream, err = newStreamServer(cmd, t.logger); err != nil {
		return err
	}
	defer t.stream.close()
	if err := t.place(cmd.String("dir"), embedded.Bucket); err != nil {
		return runFailure(err)
	}
	embedded.AMQP = publicBroker(broker)
	server, err := agenttest.New(t.tree, embedded)
	if err != nil {
		return whyNoServer(err, runFailure)
	}
	defer func() {
		if closeErr := server.Close(); closeErr != nil && err == nil {
			err = runFailure(closeErr)
		}
	}()
	publisher, err := startPublisher(ctx, server, broker, t.logger)
	if err != nil {
		return runFailure(err)
	}
	defer func() {
		switch closeErr := publisher.close(); {
		case closeErr == nil:
		case err == nil:
			err = runFailure(closeErr)
		default: // the command's status goes before
			fmt.Fprintf(io.err, "upload-agent: %v\n", closeErr)
		}
	}()

	argv := cmd.Args().Slice()
	if err := t.claimFrom(ctx, server, argv); err != nil {
		return runFailure(err)
	}
	if len(argv) > 0 {
		t.commandWork(argv)
	} else {
		t.work = builtinJob(io.out)
	}
	inspector, err := startInspector(ctx, cmd, inspectorOf(server, t.storage), t.logger)
	if err != nil {
		return runFailure(err)
	}
	defer inspector.close()
	inspector.announce(io, "/tasks/"+string(t.claim.Task()))
	err = t.run(ctx)
	if failed := (*statusError)(nil); inspector != nil && errors.As(err, &failed) && failed.err != nil {
		fmt.Fprintf(io.err, "upload-agent: %v\n", failed.err) // now, rather than after a long look at the page
		failed.err = nil
	}
	inspector.wait(io)
	if broken := server.Violations(); len(broken) > 0 {
		violated := fmt.Errorf("the order of reports was violated; please report this: %s", strings.Join(broken, "; "))
		if s := (*statusError)(nil); errors.As(err, &s) {
			violated = errors.Join(violated, s.err)
		}
		return &statusError{status: statusAgentFailed, err: violated}
	}
	return err
}

// place settles where the storage keeps its objects.
func (t *taskRun) place(dir string, bucket *agenttest.Bucket) (err error) {
	if bucket != nil {
		t.stored = bucket.URL()
		t.redact = append(t.redact, bucketSecrets(bucket)...)
		t.environment = withoutBucket
		return nil
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "upload-agent-simulate-"); err != nil {
			return fmt.Errorf("make a folder for the storage: %w", err)
		}
	}
	t.tree, t.stored = dir, filepath.Clean(dir)
	return nil
}

// claimFrom posts a task to the embedded queue and claims it over HTTP, as a worker would.
func (t *taskRun) claimFrom(ctx context.Context, server *agenttest.Server, argv []string) (err error) {
	if t.queue, err = queue.New(server.QueueURL(), queue.Options{Logger: t.logger}); err != nil {
		return err
	}
	if t.storage, err = queue.NewStorage(server.StorageURL(), queue.Options{Logger: t.logger}); err != nil {
		return err
	}
	if argv == nil {
		argv = []string{}
	}
	status, err := server.PostTask(schema.Task{
		Timeout: 60, Payload: map[string]any{"command": argv}, Metadata: schema.TaskMetadata{Name: taskName(argv)},
	})
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	t.claim, err = t.queue.Claim(ctx, status.TaskID, schema.Worker{WorkerGroup: "simulate", WorkerID: "simulate"})
	return err
}

// taskName names a task after its command, or leaves the name to the queue.
func taskName(argv []string) string {
	const most = 80 // characters that say enough; a task may have 255
	name := []rune(strings.ToValidUTF8(strings.Join(strings.Fields(strings.Join(argv, " ")), " "), "\uFFFD"))
	if len(name) > most {
		name = append(name[:most-1], '…')
	}
	return string(name)
}

// builtinJob is what simulate runs if it is given no command: a few lines of log and one artifact.
func builtinJob(out io.Writer) func(context.Context, <-chan os.Signal, *agent.Run) (exit, error) {
	return func(ctx context.Context, signals <-chan os.Signal, run *agent.Run) (exit, error) {
		w := newTee(run.Log(agent.DefaultLog), out, run.Redacted)
		defer w.close()
		fmt.Fprintf(w, "This is the built-in job. Give a command of your own: upload-agent simulate -- make test\n")
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for step := 1; step <= 5; step++ {
			if _, err := fmt.Fprintf(w, "step %d of 5: a reader of the log sees this line a moment later\n", step); err != nil {
				return exit{}, err
			}
			select {
			case <-tick.C:
			case s := <-signals:
				number, _ := s.(syscall.Signal)
				return exit{status: statusSignal + int(number), signal: s.String()}, nil
			case <-ctx.Done():
				return exit{status: statusFailed}, nil
			}
		}
		err := run.AddArtifact("public/hello.txt", upload.Bytes([]byte("Hello from a simulated task.\n")), agent.ArtifactOptions{})
		return exit{}, err
	}
}
