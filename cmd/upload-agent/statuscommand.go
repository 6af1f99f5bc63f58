package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
)

func statusCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "print how far the run has come that this is called in",
		UsageText: "upload-agent status [--watch] [--json] [--socket PATH]",
		Description: "For a command that \"upload-agent exec\" or \"simulate\" runs: prints the logs and the artifacts of that run, and what\n" +
			"has become of them. With --watch it goes on with what changes, until the command has ended.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "watch", Usage: "print what changes, until the command has ended", Sources: env("watch")},
		}, socketFlags()...),
		Action: func(ctx context.Context, cmd *cli.Command) error { return printStatus(ctx, cmd, io) },
	}
}

// statusTime bounds how long an agent may take to say how far it is.
const statusTime = 30 * time.Second

func printStatus(ctx context.Context, cmd *cli.Command, io *stdio) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	p := statusPrinter{stdio: io, json: cmd.Bool("json")}
	return withAgent(ctx, cmd, "interrupted", func(ctx context.Context, agent *socket.Client) error {
		if cmd.Bool("watch") {
			return agent.Watch(ctx, p.print)
		}
		ctx, cancel := context.WithTimeout(ctx, statusTime)
		defer cancel()
		status, err := agent.Status(ctx)
		if err != nil {
			return err
		}
		return p.print(status)
	})
}

// statusPrinter prints a status, and of later ones what is new.
type statusPrinter struct {
	*stdio
	json bool
	said map[string]bool // lines
}

func (p *statusPrinter) print(s socket.Status) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(s)
	}
	var lines []string
	lines = append(lines, fmt.Sprintf("task %s run %d: running since %s, claimed until %s", s.TaskID, s.RunID, clock(s.Started), clock(s.TakenUntil)))
	for _, l := range s.Logs {
		lines = append(lines, fmt.Sprintf("  log      %s  %s", printable(l.Name), formatSize(l.Size)))
	}
	for _, f := range s.Artifacts {
		lines = append(lines, "  "+fileLine(f))
	}
	if s.Ended != "" {
		lines = append(lines, "  ended: "+printable(s.Ended))
	}
	now := map[string]bool{}
	for _, line := range lines {
		now[line] = true
		if p.said[line] {
			continue
		}
		if _, err := fmt.Fprintln(p.out, line); err != nil {
			return err
		}
	}
	p.said = now
	return nil
}

// clock is a time as people read it.
func clock(t time.Time) string { return t.Local().Format(time.TimeOnly) }
