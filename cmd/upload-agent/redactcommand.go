package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
	"github.com/taskcluster/upload-agent/livelog"
)

func redactCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "redact",
		Usage:     "keep values out of the logs of the run that this is called in",
		UsageText: "upload-agent redact add <FILE",
		Commands: nested(&cli.Command{
			Name:      "add",
			Usage:     "keep one more value out of the logs, from now on",
			UsageText: "printf %s \"$VALUE\" | upload-agent redact add",
			Description: fmt.Sprintf("For a command that \"upload-agent exec\" or \"simulate\" runs: reads a value of at least %d bytes from stdin (from a\n"+
				"terminal without showing it), and has it replaced by %s in all that is written to the logs once this\n"+
				"has returned. Of a value of several lines each of 8 bytes or more counts by itself, too. What was printed\n"+
				"before stays as it is, and so do artifacts.", livelog.MinSecret, livelog.Redacted),
			Flags:  socketFlags()[:1],
			Action: func(ctx context.Context, cmd *cli.Command) error { return addRedaction(ctx, cmd, io) },
		}),
		Action: onlyNested,
	}
}

func addRedaction(ctx context.Context, cmd *cli.Command, io *stdio) error {
	if cmd.Args().Present() { // it may be the value: it is not shown
		return usageError(errors.New("redact add takes no arguments, as anybody on the machine can read them: give the value on stdin"))
	}
	return withAgent(ctx, cmd, "interrupted", func(ctx context.Context, agent *socket.Client) error {
		value, err := readValue(io)
		if err != nil {
			return err
		}
		if err := agent.Redact(ctx, value); err != nil {
			return err
		}
		fmt.Fprintln(io.err, "upload-agent: from now on the value is kept out of the logs; what was printed before stays as it is")
		return nil
	})
}

// readValue reads a value from stdin, and shows it to nobody.
func readValue(s *stdio) (string, error) {
	var text []byte
	var err error
	if f, ok := s.in.(*os.File); ok && isTerminal(f) {
		fmt.Fprint(s.err, "value: ")
		text, err = term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(s.err)
	} else {
		text, err = io.ReadAll(io.LimitReader(s.in, socket.MaxRedaction+1))
	}
	value := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the value from stdin: %w", err)
	case value == "":
		return "", errors.New("no value on stdin: printf %s \"$VALUE\" | upload-agent redact add")
	case len(text) > socket.MaxRedaction:
		return "", fmt.Errorf("the value on stdin has more than %d bytes", socket.MaxRedaction)
	}
	return value, nil
}
