package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/schema"
)

func configCommand(io *stdio) *cli.Command {
	one := 1
	return &cli.Command{
		Name:            "config",
		Usage:           "say which settings count, and where they come from",
		UsageText:       "upload-agent config show [--json] [COMMAND [OPTIONS]]",
		HideHelpCommand: true,
		Action: func(_ context.Context, cmd *cli.Command) error {
			return usageError(errors.New("config needs 'show'; see 'upload-agent help config'"))
		},
		Commands: []*cli.Command{{
			Name:      "show",
			Usage:     "print the value of every option of COMMAND, or of all commands, and where it comes from",
			UsageText: "upload-agent config show [--json] [COMMAND [OPTIONS]]",
			Description: "An option counts more than the environment, the environment more than the configuration file, and there\n" +
				"what is said of the command more than what is said of all. What may hold a secret is not shown.",
			Flags:           []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print a JSON object a line", Sources: env("json")}},
			HideHelpCommand: true,
			StopOnNthArg:    &one,
			OnUsageError:    onUsageError,
			Action:          func(ctx context.Context, cmd *cli.Command) error { return showConfig(ctx, cmd, io) },
		}},
	}
}

// setting is the value of one option.
type setting struct {
	Command string `json:"command"`
	Flag    string `json:"flag"`
	Value   any    `json:"value"`  // what may hold a secret is masked
	Origin  string `json:"origin"` // "default", "flag", "environment NAME" or "FILE:LINE"
	Missing bool   `json:"missing,omitempty"`
	note    string // what an empty value stands for
}

func showConfig(ctx context.Context, cmd *cli.Command, io *stdio) error {
	found, err := settingsOf(ctx, cmd, io)
	if err != nil {
		return err
	}
	if cmd.Bool("json") {
		enc := json.NewEncoder(io.out)
		enc.SetEscapeHTML(false)
		for _, one := range found {
			if err := enc.Encode(one); err != nil {
				return failure(fmt.Errorf("print settings: %w", err))
			}
		}
		return nil
	}
	return printSettings(io.out, found)
}

// settingsOf are the settings of the command that is named, or of all.
func settingsOf(ctx context.Context, cmd *cli.Command, io *stdio) ([]setting, error) {
	var given []string
	if file := cmd.String("config"); file != "" {
		given = []string{"--config", file}
	}
	if cmd.Args().Present() {
		args := cmd.Args().Slice()
		if app := newApp(io.in, io.out, io.err); app.Command(args[0]) == nil {
			return nil, usageError(fmt.Errorf("there is no command %q; see 'upload-agent help'", args[0]))
		}
		return runForSettings(ctx, slices.Concat(given, args), io)
	}
	var all []setting
	var broken error
	eachCommand(newApp(io.in, io.out, io.err), func(path []string, c *cli.Command) {
		if len(path) == 0 || len(c.Flags) == 0 || broken != nil {
			return
		}
		some, err := runForSettings(ctx, slices.Concat(given, path), io)
		all, broken = append(all, some...), err
	})
	return all, broken
}

// runForSettings runs a command line of which nothing is done but to look at its settings.
func runForSettings(ctx context.Context, args []string, io *stdio) ([]setting, error) {
	app, settings := newAppWithSettings(io.in, io.out, io.err)
	var found []setting
	eachCommand(app, func(path []string, cmd *cli.Command) {
		missing := map[cli.Flag]bool{}
		for _, flag := range cmd.Flags {
			if required := partsOf(flag).required; required != nil {
				missing[flag], *required = *required, false
			}
		}
		cmd.Action = func(_ context.Context, cmd *cli.Command) error {
			for _, flag := range cmd.Flags {
				one := setting{Command: strings.Join(path, " "), Flag: flag.Names()[0], Origin: settings.origin(flag)}
				if one.Flag == "help" || one.Flag == "version" {
					continue
				}
				one.Missing = missing[flag] && !flag.IsSet()
				one.Value = shownValue(flag)
				if doc, ok := flag.(cli.DocGenerationFlag); ok {
					one.note = doc.GetDefaultText()
				}
				found = append(found, one)
			}
			return nil
		}
	})
	if err := app.Run(ctx, append([]string{"upload-agent"}, args...)); err != nil {
		return nil, err
	}
	return found, nil
}

// masked stands for what may hold a secret, or says where one is.
const masked = "[masked]"

// maskedFlags hold secrets, or say where they are.
var maskedFlags = []string{"claim", "redact-env", "redact-file"}

// shownValue is the value of a flag as one may show it.
func shownValue(flag cli.Flag) any {
	if slices.Contains(maskedFlags, flag.Names()[0]) && flag.IsSet() {
		return masked
	}
	switch value := flag.Get().(type) {
	case string:
		return withoutPassword(value)
	case []string:
		shown := []string{}
		for _, one := range value {
			shown = append(shown, withoutPassword(one))
		}
		return shown
	case int, int64, uint64, bool:
		return value
	default:
		return withoutPassword(fmt.Sprint(value))
	}
}

// withoutPassword redacts the user and the query of a URL.
func withoutPassword(text string) string {
	if strings.Contains(text, "://") {
		return schema.Redact(text)
	}
	return text
}

func printSettings(out io.Writer, all []setting) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	last := ""
	for _, one := range all {
		if one.Command != last {
			fmt.Fprintf(w, "%s\n", one.Command)
			last = one.Command
		}
		value := fmt.Sprint(one.Value)
		if list, ok := one.Value.([]string); ok {
			value = strings.Join(list, " ")
		}
		origin := one.Origin
		switch {
		case one.Missing:
			value, origin = "-", "missing: this command needs it"
		case value == "" && one.note != "":
			value = "(" + one.note + ")"
		case value == "":
			value = "-"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", one.Flag, printable(value), printable(origin))
	}
	if err := w.Flush(); err != nil {
		return failure(fmt.Errorf("print settings: %w", err))
	}
	return nil
}
