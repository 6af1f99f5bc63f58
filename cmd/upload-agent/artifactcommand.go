package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
)

func artifactCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "artifact",
		Usage:     "store artifacts of the run that this is called in",
		UsageText: "upload-agent artifact upload [OPTIONS] GLOB...",
		Commands:  nested(artifactUploadCommand(io)),
		Action:    onlyNested,
	}
}

func artifactUploadCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "upload",
		Usage:     "have the agent store files now, while the command goes on",
		UsageText: "upload-agent artifact upload [--no-wait] [OPTIONS] GLOB|FOLDER|NAME=PATH...",
		Description: "For a command that \"upload-agent exec\" or \"simulate\" runs: hands files to the agent of that run, and waits\n" +
			"until they are stored. Prints a line for each: stored, missing (it could not be stored, and the result\n" +
			"will say so) or refused (it was not taken, for instance as the name is taken, and may be tried again).\n" +
			"The exit status is 0 if all are stored. Paths are those of this folder. The agent reads the files itself: it\n" +
			"has to see the same folders, and it serves processes of its own user and root only.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "no-wait", Usage: "do not wait until they are stored; leave the files as they are until the run ends", Sources: env("no-wait")},
			&cli.BoolFlag{Name: "replace", Usage: "take the place of artifacts that have these names already", Sources: env("replace")},
			&cli.StringSliceFlag{Name: "exclude", Usage: "leave out of folders and globs what `GLOB` matches, as exec does; may be repeated (in the environment: one)", Sources: env("exclude")},
			&cli.StringFlag{Name: "symlinks", Value: "inside", Usage: "symbolic links: `WHICH` are followed: inside (those that stay in the folder), follow (all) or skip (none)", Sources: env("symlinks")},
			&cli.StringFlag{Name: "gzip", Value: "off", Usage: "`WHEN` they are stored gzipped: auto (where that saves a tenth) or off", Sources: env("gzip")},
		}, socketFlags()...),
		Action: func(ctx context.Context, cmd *cli.Command) error { return uploadArtifacts(ctx, cmd, io) },
	}
}

func uploadArtifacts(ctx context.Context, cmd *cli.Command, io *stdio) error {
	u := socket.Upload{
		Specs: cmd.Args().Slice(), Exclude: cmd.StringSlice("exclude"), Symlinks: cmd.String("symlinks"), NoWait: cmd.Bool("no-wait"), Replace: cmd.Bool("replace"),
	}
	if _, err := parseArtifacts(u.Specs); err != nil {
		return usageError(err)
	}
	if len(u.Specs) == 0 {
		return usageError(errors.New("upload needs files: upload-agent artifact upload GLOB"))
	}
	var rest artifactSpecs // what else there is to check
	if err := rest.apply(cmd); err != nil {
		return err
	}
	u.Gzip = rest.options.Gzip
	var err error
	if u.Dir, err = os.Getwd(); err != nil {
		return failure(fmt.Errorf("find the working folder: %w", err))
	}
	files, lost := 0, 0
	err = withAgent(ctx, cmd, "interrupted: what was added goes on being uploaded", func(ctx context.Context, agent *socket.Client) error {
		return agent.Upload(ctx, u, func(f socket.File) error {
			files++
			if f.State != socket.Stored && f.State != socket.Waiting {
				lost++
			}
			if cmd.Bool("json") {
				return json.NewEncoder(io.out).Encode(f)
			}
			_, err := fmt.Fprintln(io.out, fileLine(f))
			return err
		})
	})
	if err == nil && lost > 0 {
		err = failure(fmt.Errorf("%d of %s: not stored", lost, count(files, "file")))
	}
	return err
}

// fileLine is what people read of a file.
func fileLine(f socket.File) string {
	line := fmt.Sprintf("%-7s  %s", f.State, printable(f.Name))
	switch {
	case f.Reason != "":
		return line + ": " + printable(f.Reason)
	case f.State == socket.Stored:
		return line + "  " + formatSize(f.Size)
	}
	return line
}
