package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/cmd/upload-agent/internal/config"
)

// configFlag names the configuration file. It goes before or behind the command.
func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", TakesFile: true, Usage: "take what is not given as an option or in the environment from `FILE` (YAML; see 'upload-agent schema config')", Sources: env("config")}
}

// settings are where the flags of an app get their values from, if not from the command line: from the environment, or else
// from the configuration file.
type settings struct {
	app     *cli.Command
	origins map[cli.Flag]string // where the value of a flag came from, unless it is the command line or the default

	read bool
	file *config.File // nil: there is none, or it is broken
	err  error        // what is wrong with it
}

// useSettings has all flags of an app look into the configuration file, too.
func useSettings(app *cli.Command) *settings {
	s := &settings{app: app, origins: map[cli.Flag]string{}}
	app.Flags = append(app.Flags, configFlag())
	app.Before = func(ctx context.Context, _ *cli.Command) (context.Context, error) {
		if s.err != nil {
			return ctx, usageError(fmt.Errorf("--config: %w", s.err))
		}
		return ctx, nil
	}
	eachCommand(app, func(path []string, cmd *cli.Command) {
		for _, flag := range cmd.Flags {
			parts := partsOf(flag)
			if parts.sources == nil {
				continue
			}
			var chain []cli.ValueSource
			for _, name := range parts.sources.EnvKeys() {
				chain = append(chain, &environmentSource{settings: s, flag: flag, name: name})
			}
			if len(path) > 0 {
				chain = append(chain, &fileSource{settings: s, flag: flag, command: path})
			}
			parts.sources.Chain = chain
		}
	})
	return s
}

// eachCommand visits the app, with the path of none, and its commands, with theirs.
func eachCommand(app *cli.Command, visit func(path []string, cmd *cli.Command)) {
	var walk func(path []string, cmd *cli.Command)
	walk = func(path []string, cmd *cli.Command) {
		visit(path, cmd)
		for _, sub := range cmd.Commands {
			walk(append(slices.Clip(path), sub.Name), sub)
		}
	}
	walk(nil, app)
}

// flagParts are what the flags of all types have.
type flagParts struct {
	sources  *cli.ValueSourceChain // nil: a type that we do not use
	required *bool
}

func partsOf(flag cli.Flag) flagParts {
	switch f := flag.(type) {
	case *cli.StringFlag:
		return flagParts{&f.Sources, &f.Required}
	case *cli.StringSliceFlag:
		return flagParts{&f.Sources, &f.Required}
	case *cli.BoolFlag:
		return flagParts{&f.Sources, &f.Required}
	case *cli.DurationFlag:
		return flagParts{&f.Sources, &f.Required}
	case *cli.IntFlag:
		return flagParts{&f.Sources, &f.Required}
	case *cli.Int64Flag:
		return flagParts{&f.Sources, &f.Required}
	case *cli.Uint64Flag:
		return flagParts{&f.Sources, &f.Required}
	case *cli.GenericFlag:
		return flagParts{&f.Sources, &f.Required}
	}
	return flagParts{}
}

// configuration is the file that --config names, read when it is first asked for; nil if there is none.
func (s *settings) configuration() *config.File {
	if s.read {
		return s.file
	}
	s.read = true
	if name := s.app.String("config"); name != "" {
		var data []byte
		if data, _, s.err = readInput(name, s.app.Reader); s.err == nil {
			s.file, s.err = config.Parse(name, data)
		}
	}
	return s.file
}

// origin says where the value of a flag came from: "flag", "environment NAME", "FILE:LINE" or "default".
func (s *settings) origin(flag cli.Flag) string {
	from, other := s.origins[flag]
	switch {
	case !flag.IsSet():
		return "default"
	case other:
		return from
	}
	return "flag"
}

// environmentSource is a variable.
type environmentSource struct {
	*settings
	flag cli.Flag
	name string
}

// Lookup is asked only where the command line says nothing.
func (e *environmentSource) Lookup() (string, bool) {
	value, ok := os.LookupEnv(e.name)
	if ok {
		e.origins[e.flag] = "environment " + e.name
	}
	return value, ok
}

func (e *environmentSource) IsFromEnv() bool  { return true } // so that the help names it
func (e *environmentSource) Key() string      { return e.name }
func (e *environmentSource) String() string   { return "the environment variable " + e.name }
func (e *environmentSource) GoString() string { return e.String() }

// fileSource is what the configuration file says of a flag of a command.
type fileSource struct {
	*settings
	flag    cli.Flag
	command []string
	line    int // that of the value; 0 before it was found
}

// Lookup is asked only where neither the command line nor the environment says anything.
func (f *fileSource) Lookup() (string, bool) {
	file := f.configuration()
	if file == nil {
		return "", false
	}
	value, ok := file.Lookup(f.command, f.flag.Names()[0])
	if !ok {
		return "", false
	}
	f.line = value.Line
	f.origins[f.flag] = f.String()
	if value.List != nil {
		return cli.NewStringSlice(value.List...).Serialize(), true
	}
	return value.Text, true
}

func (f *fileSource) String() string {
	if f.file == nil {
		return "the configuration file"
	}
	return fmt.Sprintf("%s:%d", f.file.Name(), f.line)
}

func (f *fileSource) GoString() string { return f.String() }
