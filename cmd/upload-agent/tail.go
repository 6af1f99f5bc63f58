package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/cmd/upload-agent/internal/viewer"
	"github.com/taskcluster/upload-agent/livelog"
)

func tailCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "tail",
		Usage:     "print a log, and follow it until it ends",
		UsageText: "upload-agent tail [-f] [-n LINES | --offset BYTE] [--storage URL] TASKID[/RUNID[/LOG]] | URL",
		Description: "Prints what there is of a log; with -f it waits for it, and goes on until it ends. Without RUNID it takes\n" +
			"the latest run; without LOG it takes " + agent.DefaultLog + ". A URL is that of a live log's index, of a stored log,\n" +
			"or a link to a worker. The status is 1 if a log that is followed stays unfinished: its worker has died.\n" +
			"On a terminal, colours pass, of a progress bar its newest state is seen, and what could steer the terminal\n" +
			"is dropped or made visible; everywhere else the bytes are those of the log.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the log is complete", Sources: env("follow")},
			&cli.IntFlag{Name: "lines", HideDefault: true, Aliases: []string{"n"}, Usage: "begin with the last `LINES` (0: only what is new; default: all)", Sources: env("lines")},
			&cli.Int64Flag{Name: "offset", HideDefault: true, Usage: "begin at `BYTE`, counted from 0", Sources: env("offset")},
			&cli.BoolFlag{Name: "raw", Usage: "on a terminal, too, print the bytes as they are", Sources: env("raw")},
			storageFlag(),
			&cli.StringFlag{Name: "queue", Usage: "ask the queue, too, whether a run has ended: `URL` of its API, ending in /v1", Sources: env("queue")},
			&cli.DurationFlag{Name: "give-up-after", Value: time.Minute, Usage: "how long the log of a run that has ended must stay as it is to count as unfinished", Sources: env("give-up-after")},
		}, logFlags()...),
		Action: func(ctx context.Context, cmd *cli.Command) error { return tail(ctx, cmd, io) },
	}
}

func tail(ctx context.Context, cmd *cli.Command, io *stdio) error {
	target, o, err := tailOptions(cmd, io)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	switch err := target.print(ctx, io.viewer(cmd.Bool("raw")), o); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &statusError{status: statusSignal + 2} // Ctrl-C is how one stops reading
	case errors.Is(err, syscall.EPIPE):
		return &statusError{status: statusSignal + 13} // so is a pipe into head
	default:
		return failure(err)
	}
}

// tailOptions are what the command line says.
func tailOptions(cmd *cli.Command, io *stdio) (target, livelog.ReaderOptions, error) {
	var o livelog.ReaderOptions
	if cmd.Args().Len() != 1 {
		return target{}, o, usageError(errors.New("tail needs one TASKID[/RUNID[/LOG]] or URL"))
	}
	storage, logger, err := io.storage(cmd)
	if err != nil {
		return target{}, o, err
	}
	t, err := parseTarget(cmd.Args().First())
	if err != nil {
		return t, o, usageError(err)
	}
	t.storage, t.notice = storage, io.err
	if url := cmd.String("queue"); url != "" {
		if t.queue, err = queue.New(url, queue.Options{Logger: logger}); err != nil {
			return t, o, usageError(fmt.Errorf("--queue: %w", err))
		}
	}
	lines, offset, patience := cmd.Int("lines"), cmd.Int64("offset"), cmd.Duration("give-up-after")
	switch {
	case cmd.IsSet("lines") && cmd.IsSet("offset"):
		return t, o, usageError(errors.New("--lines and --offset exclude each other"))
	case lines < 0 || lines > math.MaxInt32:
		return t, o, usageError(fmt.Errorf("--lines %d: want a number from 0 to %d", lines, math.MaxInt32))
	case offset < 0:
		return t, o, usageError(fmt.Errorf("--offset %d: want a number of 0 or more", offset))
	case patience <= 0:
		return t, o, usageError(fmt.Errorf("--give-up-after %v: want a time above 0", patience))
	}
	o = livelog.ReaderOptions{Logger: logger, Once: !cmd.Bool("follow"), Offset: offset, LastLines: lines, Patience: patience / 2}
	if cmd.IsSet("lines") && lines == 0 {
		o.LastLines = -1
	}
	return t, o, nil
}

// viewer is where a log is printed, to be closed at its end.
func (s *stdio) viewer(raw bool) io.WriteCloser {
	if raw || !isTerminal(s.out) {
		return exact{s.out}
	}
	return viewer.New(s.out, viewer.Options{NoColor: os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"})
}

// exact is a stream that is left open.
type exact struct{ io.Writer }

func (exact) Close() error { return nil }

// print prints the log to out, which it closes.
func (t target) print(ctx context.Context, out io.WriteCloser, o livelog.ReaderOptions) (err error) {
	defer func() { err = errors.Join(err, out.Close()) }()
	at, err := t.place(ctx, !o.Once)
	if err != nil {
		return err
	}
	fromStorage := func(o livelog.ReaderOptions) io.ReadCloser {
		if !at.index {
			return livelog.NewTextReader(ctx, at.url, o)
		}
		if t.url == "" {
			o.Abandoned = func(ctx context.Context) error { return t.over(ctx, at.runID) }
		}
		return livelog.NewReader(ctx, at.url, o)
	}
	log := io.ReadCloser(nil)
	if at.link == "" {
		log = fromStorage(o)
	} else {
		log = preferWorker(ctx, at.link, o, fromStorage)
	}
	defer log.Close()
	_, err = io.Copy(out, log)
	err = t.gone(ctx, at, err)
	if errors.Is(err, livelog.ErrNotYet) {
		fmt.Fprintln(t.notice, "upload-agent: there is nothing in the log yet")
		return nil
	}
	return err
}
