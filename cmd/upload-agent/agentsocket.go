package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
)

// serveSocket lets the command of a run speak with us, if that can be: the run does not depend on it. The path is "" if it cannot.
func serveSocket(run *agent.Run, logger *slog.Logger) (path string, stop func()) {
	server, err := socket.Listen("", socket.Only(run), socket.Options{Logger: logger})
	if err != nil {
		logger.Warn("no socket for the command", "error", err)
		return "", func() {}
	}
	return server.Path(), sync.OnceFunc(func() {
		if err := server.Close(); err != nil {
			logger.Warn("socket was left behind", "error", err)
		}
	})
}

// socketFlags are those of the commands that speak with an agent.
func socketFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "socket", Usage: "the agent's socket: `PATH`", DefaultText: "that of the run that this is called in", Sources: env("socket")},
		&cli.BoolFlag{Name: "json", Usage: "print a JSON object a line", Sources: env("json")},
	}
}

// nested are the commands of a command.
func nested(commands ...*cli.Command) []*cli.Command {
	for _, command := range commands {
		command.OnUsageError = onUsageError
		command.DisableSliceFlagSeparator = true
		command.HideHelpCommand = true
	}
	return commands
}

// onlyNested is the action of a command that has no other but those of its commands.
func onlyNested(_ context.Context, cmd *cli.Command) error {
	return usageError(fmt.Errorf("there is no command %q; see 'upload-agent %s --help'", strings.TrimSpace(cmd.Name+" "+cmd.Args().First()), cmd.Name))
}

// withAgent does something with the agent of this run, until a signal comes.
func withAgent(ctx context.Context, cmd *cli.Command, interrupted string, do func(context.Context, *socket.Client) error) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	_, who := socket.Environ()
	path := cmd.String("socket")
	if path == "" {
		return failure(fmt.Errorf("%w: %s is not set. It is set for a command that 'upload-agent exec' or 'simulate' runs; elsewhere, give --socket", socket.ErrNoAgent, socket.Variable))
	}
	client, err := socket.Connect(path, who)
	if err != nil {
		return failure(err)
	}
	defer client.Close()
	err = do(ctx, client)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return failure(errors.New(interrupted))
	case errors.Is(err, agent.ErrClaimLost):
		return &statusError{status: statusClaimLost, err: err}
	case errors.Is(err, socket.ErrNoRun) && os.Getenv("TASK_ID") == "":
		return failure(fmt.Errorf("%w; TASK_ID and RUN_ID say which", err))
	}
	return failure(err)
}
