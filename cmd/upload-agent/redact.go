package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/livelog"
)

// secretNames are the environment variables that hold secrets, as a rule: the names that cloud vendors, package registries
// and CI systems use. A pattern too many blanks a harmless word, one too few shows a password.
var secretNames = []string{"*TOKEN", "*SECRET", "*PASSWORD", "*PASSWD", "*PASSPHRASE", "*_KEY", "*_CONNECTION_STRING"}

// redactFlags say what the log must not show. There is no flag for a secret itself: anybody on the machine can read our arguments.
func redactFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "redact-env", Value: secretNames, Usage: fmt.Sprintf("keep the values of environment variables out of the log and of what is passed through, if their names match `PATTERN` in any case and they have %d bytes or more; may be repeated (in the environment: one), '' for none", livelog.MinSecret), Sources: env("redact-env")},
		&cli.StringFlag{Name: "redact-file", Usage: "keep every line of `FILE` out of them too", Sources: env("redact-file")},
	}
}

// secrets are what redactFlags name.
func secrets(cmd *cli.Command, environ []string, logger *slog.Logger) ([]string, error) {
	found, err := secretsInEnvironment(cmd.StringSlice("redact-env"), environ, logger)
	if err != nil {
		return nil, usageError(fmt.Errorf("--redact-env: %w", err))
	}
	if file := cmd.String("redact-file"); file != "" {
		listed, err := secretsInFile(file)
		if err != nil {
			return nil, usageError(fmt.Errorf("--redact-file: %w", err))
		}
		found = append(found, listed...)
	}
	return found, nil
}

// secretsInEnvironment are the values of the variables whose names match a pattern. One that is too short is no
// secret but something like "none" or "true".
func secretsInEnvironment(patterns, environ []string, logger *slog.Logger) (found []string, err error) {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		for _, pattern := range patterns {
			if matches, _ := path.Match(strings.ToUpper(pattern), strings.ToUpper(name)); !matches {
				continue
			}
			if len(strings.TrimSpace(value)) < livelog.MinSecret {
				logger.Info("too short to be redacted", "variable", name)
			} else {
				found = append(found, value)
			}
			break
		}
	}
	return found, nil
}

// secretsInFile are its lines. Errors name the line, and do not show it.
func secretsInFile(file string) (found []string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		switch line = bytes.TrimSpace(line); {
		case len(line) == 0:
		case len(line) < livelog.MinSecret:
			return nil, fmt.Errorf("%s, line %d: %d bytes are too few: it would blank the log; want at least %d", file, number, len(line), livelog.MinSecret)
		default:
			found = append(found, string(line))
		}
	}
	if len(found) == 0 {
		return nil, errors.New(file + " names no secrets")
	}
	return found, nil
}
