// Command upload-agent stands between a worker and its queue: it makes the logs of a run
// readable while it runs, stores its artifacts, and reports it completed only when
// its result can be read.
//
// See the README for the ways to use it, and "upload-agent help" for the commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/queue"
)

func main() {
	ignoreBrokenPipes()
	adoptOrphans()
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it; it returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := newApp(stdin, stdout, stderr)
	err := app.Run(context.Background(), args)
	if err == nil {
		return statusOK
	}
	var s *statusError
	if !errors.As(err, &s) {
		s = usageError(err) // whatever the command line package has to say is about usage
	}
	if s.err != nil {
		fmt.Fprintf(stderr, "upload-agent: %s\n", printableLines(s.err.Error()))
	}
	if s.hint != "" {
		fmt.Fprintf(stderr, "upload-agent: %s\n", s.hint)
	}
	return s.status
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *cli.Command {
	app, _ := newAppWithSettings(stdin, stdout, stderr)
	return app
}

// newAppWithSettings tells, too, where the flags get their values from.
func newAppWithSettings(stdin io.Reader, stdout, stderr io.Writer) (*cli.Command, *settings) {
	io := &stdio{in: stdin, out: stdout, err: stderr, side: &aside{to: stderr}}
	app := &cli.Command{
		Name:      "upload-agent",
		Usage:     "stores the logs, artifacts and results of task runs, and only then reports them completed",
		UsageText: "upload-agent COMMAND [OPTIONS] [ARGUMENTS]",
		Description: "Start with \"upload-agent simulate -- COMMAND\": it needs no queue and no cloud.\n" +
			"Every option can be given in the environment, as UPLOAD_AGENT_ and its name in capitals, or in the file\n" +
			"that --config names: 'upload-agent config show' tells what counts, and why.",
		Reader: stdin, Writer: stdout, ErrWriter: stderr,
		Version:               version(),
		EnableShellCompletion: completing(),
		ExitErrHandler:        func(context.Context, *cli.Command, error) {},
		Commands: []*cli.Command{
			simulateCommand(io), execCommand(io), sidecarCommand(io), resumeCommand(io), queueCommand(io),
			inspectCommand(io), tailCommand(io),
			artifactCommand(io), redactCommand(io), statusCommand(io),
			eventsCommand(io),
			schemaCommand(io), validateCommand(io), versionCommand(io),
			configCommand(io), completionCommand(io), manCommand(io),
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if name := cmd.Args().First(); name != "" {
				return usageError(fmt.Errorf("there is no command %q; see 'upload-agent help'", name))
			}
			return cli.ShowAppHelp(cmd)
		},
	}
	app.OnUsageError = onUsageError
	for _, command := range app.Commands {
		command.OnUsageError = onUsageError
		command.DisableSliceFlagSeparator = true // a comma in a name or a glob is part of it
		command.HideHelpCommand = true           // "exec -- help" runs a program of that name
	}
	return app, useSettings(app)
}

// onUsageError keeps the command line package from printing a page of help.
func onUsageError(_ context.Context, cmd *cli.Command, err error, _ bool) error {
	if cmd.Root() == cmd {
		return usageError(fmt.Errorf("%w; see 'upload-agent help'", err))
	}
	return usageError(fmt.Errorf("%w; see 'upload-agent help %s'", err, cmd.Name))
}

// stdio are the streams of the program.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	side     *aside // to err; nil if nothing is ever drawn there
}

// notices takes lines for err that are no part of a command's output.
func (s *stdio) notices() io.Writer {
	if s.side == nil {
		return s.err
	}
	return s.side
}

// results takes lines for out. Where both are the same terminal, bars may be in the way.
func (s *stdio) results() io.Writer {
	if isTerminal(s.out) && isTerminal(s.err) {
		return s.notices()
	}
	return s.out
}

// env names the environment variable of a flag.
func env(flag string) cli.ValueSourceChain {
	return cli.EnvVars("UPLOAD_AGENT_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")))
}

// logFlags choose what is logged, on stderr.
func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log-level", Value: "warn", Usage: "log `LEVEL`: debug, info, warn or error", Sources: env("log-level")},
		&cli.StringFlag{Name: "log-format", Value: "text", Usage: "log `FORMAT`: text or json", Sources: env("log-format")},
	}
}

func (s *stdio) logger(cmd *cli.Command) (*slog.Logger, error) {
	var o slog.HandlerOptions
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmd.String("log-level"))); err != nil {
		return nil, usageError(fmt.Errorf("--log-level %q: want debug, info, warn or error", cmd.String("log-level")))
	}
	o.Level = level
	switch cmd.String("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(s.notices(), &o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(s.notices(), &o)), nil
	}
	return nil, usageError(fmt.Errorf("--log-format %q: want text or json", cmd.String("log-format")))
}

// storage is the task storage that readers are pointed at, with what they log.
func (s *stdio) storage(cmd *cli.Command) (*queue.Storage, *slog.Logger, error) {
	logger, err := s.logger(cmd)
	if err != nil {
		return nil, nil, err
	}
	storage, err := queue.NewStorage(cmd.String("storage"), queue.Options{Logger: logger})
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("--storage: %w", err))
	}
	return storage, logger, nil
}

// noArguments refuses arguments where none are taken.
func noArguments(cmd *cli.Command) error {
	if cmd.Args().Present() {
		return usageError(fmt.Errorf("%s takes no argument %q", cmd.Name, cmd.Args().First()))
	}
	return nil
}

// interruptible ends with the first SIGINT or SIGTERM.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, endSignals...)
}
