package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/schema"
)

// The command line package brings scripts of its own; that for bash needs a package that is often not there, and evaluates what one has
// typed so far, command substitutions included.
//
//go:embed completion
var completionScripts embed.FS

// completing says whether one of our scripts asks what might come next. Without this nobody can: a command of a task
// may have any arguments.
func completing() bool { return os.Getenv("UPLOAD_AGENT_COMPLETE") == "1" }

var completionShells = []string{"bash", "fish", "zsh"}

func completionCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the script that completes command lines in a shell",
		UsageText: "upload-agent completion bash|fish|zsh",
		Description: "In bash and zsh: source <(upload-agent completion bash), or zsh. In fish: upload-agent completion fish | source.\n" +
			"Put that where the shell reads it when it starts.",
		ShellComplete: func(_ context.Context, cmd *cli.Command) { suggest(cmd, completionShells) },
		Action: func(_ context.Context, cmd *cli.Command) error {
			script, err := completionScripts.ReadFile("completion/upload-agent." + cmd.Args().First())
			if err != nil || cmd.Args().Len() != 1 {
				return usageError(errors.New("completion needs a SHELL: " + strings.Join(completionShells, ", ")))
			}
			if _, err := io.out.Write(script); err != nil {
				return failure(fmt.Errorf("print script: %w", err))
			}
			return nil
		},
	}
}

// suggest completes the one argument of a command; options, too.
func suggest(cmd *cli.Command, values []string) {
	args := cmd.Args().Slice()
	if len(args) > 0 && strings.HasPrefix(args[len(args)-1], "-") {
		cli.DefaultCompleteWithFlags(context.Background(), cmd)
		return
	}
	if len(args) > 0 {
		return
	}
	for _, value := range values {
		fmt.Fprintln(cmd.Root().Writer, value)
	}
}

func suggestDocuments(_ context.Context, cmd *cli.Command) { suggest(cmd, schema.Names()) }
