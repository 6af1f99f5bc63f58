package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/cmd/upload-agent/internal/config"
	"github.com/taskcluster/upload-agent/schema"
)

func schemaCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:          "schema",
		Usage:         "print the JSON Schema of a document, or the names of all of them",
		UsageText:     "upload-agent schema [NAME]",
		ShellComplete: suggestDocuments,
		Action: func(_ context.Context, cmd *cli.Command) error {
			switch cmd.Args().Len() {
			case 0:
				fmt.Fprintln(io.out, strings.Join(schema.Names(), "\n"))
				return nil
			case 1:
				text, err := schema.JSONSchema(cmd.Args().First())
				if err != nil {
					return usageError(err)
				}
				fmt.Fprintf(io.out, "%s\n", text)
				return nil
			}
			return usageError(errors.New("schema takes one NAME"))
		},
	}
}

func validateCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:          "validate",
		Usage:         "check a document against its schema",
		UsageText:     "upload-agent validate NAME FILE   (FILE may be - for stdin)",
		ShellComplete: suggestDocuments,
		Action: func(_ context.Context, cmd *cli.Command) error {
			if cmd.Args().Len() != 2 {
				return usageError(errors.New("validate needs NAME and FILE, such as: upload-agent validate result result.json"))
			}
			name := cmd.Args().Get(0)
			if _, err := schema.JSONSchema(name); err != nil {
				return usageError(err)
			}
			data, file, err := readInput(cmd.Args().Get(1), io.in)
			if err != nil {
				return failure(err)
			}
			if name == (schema.Config{}).SchemaName() { // which is YAML
				_, err = config.Parse(file, data)
			} else {
				err = schema.Validate(name, file, data)
			}
			if err != nil {
				return failure(err)
			}
			fmt.Fprintf(io.out, "%s is a valid %s\n", file, name)
			return nil
		},
	}
}
