package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/schema"
)

func stateFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "state", Usage: usage, DefaultText: "in the home folder, " + userStateDir, Sources: env("state")}
}

// userStateDir is where programs keep their state below the home folder.
var userStateDir = map[bool]string{false: ".local/state/upload-agent", true: "Library/Application Support/upload-agent"}[runtime.GOOS == "darwin"]

// stateDir is the folder that --state names, or else the one where exec and resume of the same user meet.
func stateDir(cmd *cli.Command) (string, error) {
	if dir := cmd.String("state"); dir != "" {
		return dir, nil
	}
	dir, err := defaultStateDir()
	if err != nil {
		return "", usageError(fmt.Errorf("no folder for the state of runs: %w; give one with --state", err))
	}
	return dir, nil
}

func defaultStateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "upload-agent"), nil
	}
	// A service may have no home folder, or one that it cannot write to.
	if home, err := os.UserHomeDir(); err == nil {
		dir := filepath.Join(home, filepath.FromSlash(userStateDir))
		if os.MkdirAll(dir, 0o700) == nil {
			return dir, nil
		}
	}
	// Anybody can make a folder of this name. What it holds says which files are uploaded, and where to.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("upload-agent-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", err
	}
	return dir, checkPrivate(dir)
}

// parseStateFolder tells whose run a state folder keeps, by its name.
func parseStateFolder(path string) (id schema.TaskID, run schema.RunID, ok bool) {
	name := filepath.Base(path)
	cut := strings.LastIndexByte(name, '-')
	if cut < 0 {
		return "", 0, false
	}
	number, err := strconv.Atoi(name[cut+1:])
	id = schema.TaskID(name[:cut])
	return id, schema.RunID(number), err == nil && id.Valid()
}

// resumeHint says how to go on with a run if its state folder is still there; "" if it is not.
func (t *taskRun) resumeHint() string {
	if t.stateDir == "" {
		return ""
	}
	kept, err := agent.Unfinished(t.stateDir)
	if err != nil {
		return ""
	}
	for _, path := range kept {
		if id, run, ok := parseStateFolder(path); ok && id == t.claim.Task() && run == t.claim.RunID {
			return fmt.Sprintf("the run is kept in %s; 'upload-agent resume --state %s' goes on with it", path, shellQuoted(t.stateDir))
		}
	}
	return ""
}

// shellQuoted is a word as a shell has to be given it.
func shellQuoted(word string) string {
	if !strings.ContainsFunc(word, func(r rune) bool { return strings.ContainsRune(" \t\n'\"\\$`!*?[](){}<>|&;#~", r) }) {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(word) + `"`
}
