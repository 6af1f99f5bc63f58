package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/files"
	"github.com/taskcluster/upload-agent/upload"
)

// artifactFlags say what is stored besides logs, and how.
func artifactFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "artifact", Usage: "store `NAME=PATH`, or the files of a FOLDER or a GLOB (** too), see --settle for when; NAME/=FOLDER stores them as NAME/...; may be repeated (in the environment: one)", Sources: env("artifact")},
		&cli.StringSliceFlag{Name: "exclude", Usage: "leave out of folders and globs what `GLOB` matches: a name at any depth, or, with a slash in it, a path below the folder; may be repeated (in the environment: one)", Sources: env("exclude")},
		&cli.StringFlag{Name: "symlinks", Value: "inside", Usage: "symbolic links among the artifacts: `WHICH` are followed: inside (those that stay in the folder), follow (all) or skip (none)", Sources: env("symlinks")},
		&cli.StringFlag{Name: "gzip", Value: "off", Usage: "`WHEN` artifacts are stored gzipped: auto (where that saves a tenth; a plain client gets the gzipped bytes) or off", Sources: env("gzip")},
	}
}

// artifactSpecs are what artifactFlags ask for.
type artifactSpecs struct {
	specs   []files.Spec
	where   files.Options
	options agent.ArtifactOptions
}

func (a *artifactSpecs) apply(cmd *cli.Command) (err error) {
	if a.specs, err = parseArtifacts(cmd.StringSlice("artifact")); err != nil {
		return usageError(err)
	}
	for _, text := range cmd.StringSlice("exclude") {
		exclude, err := files.ParseExclude(text)
		if err != nil {
			return usageError(fmt.Errorf("--exclude %q: %w", text, err))
		}
		a.where.Exclude = append(a.where.Exclude, exclude)
	}
	switch which := cmd.String("symlinks"); which {
	case "inside":
	case "follow", "skip":
		a.where.Symlinks = upload.Symlinks(which)
	default:
		return usageError(fmt.Errorf("--symlinks %q: want inside, follow or skip", which))
	}
	switch when := cmd.String("gzip"); when {
	case "off":
	case "auto":
		a.options.Gzip = true
	default:
		return usageError(fmt.Errorf("--gzip %q: want auto or off", when))
	}
	a.where.HardLinks = true // the command may do what we may, so they give it nothing
	return nil
}

// parseArtifacts reads the values of --artifact. What can be seen to be wrong before the
// command has run is an error now.
func parseArtifacts(values []string) ([]files.Spec, error) {
	var specs []files.Spec
	single := map[string]bool{}
	for _, value := range values {
		spec, err := files.Parse(value)
		switch {
		case err != nil:
		case spec.Name == agent.DefaultLog:
			err = errors.New("the name is that of the command's log")
		case spec.Name != "" && spec.Glob != "":
			err = agent.CheckName(spec.Name + "/*")
		case spec.Name != "":
			err = agent.CheckName(spec.Name)
		}
		if err == nil && spec.Glob == "" {
			if single[spec.Name] {
				err = errors.New("the name is given twice")
			}
			single[spec.Name] = true
		}
		if err != nil {
			return nil, fmt.Errorf("--artifact %q: %w", value, err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}
