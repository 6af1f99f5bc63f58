//go:build unix

package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// killCase is one task whose agent is killed. Its command prints the files log.0, log.1, ... and leaves the files of artifacts.
type killCase struct {
	*killRig
	id        schema.TaskID
	dir       string // where the command runs
	state     string
	artifacts []string // files in dir, stored under the same names
	limited   bool     // the log exceeds its limit
	early     string   // the artifact that is stored while the command runs, and replaced at its end; "": none is
	first     *agentProcess
	begun     bool // there was a journal when the first agent had been killed
	logged    bool // and a log in it
	said      []resumeLine
	history   []string // what was done, for those who look into a failure
}

// resumeLine is what upload-agent resume says of a run.
type resumeLine struct {
	TaskID        schema.TaskID    `json:"taskId"`
	State         string           `json:"state"`
	Error         string           `json:"error"`
	AlreadyStored []string         `json:"alreadyStored"`
	Continued     map[string]int64 `json:"continued"`
}

// lost is an artifact that was asked for and that there never is.
const lost = "public/gone.txt"

// newKillCase posts a task. The log comes in parts, with pauses in between.
func (r *killRig) newKillCase(ctx context.Context, log [][]byte, artifacts map[string][]byte) (*killCase, error) {
	dir, err := os.MkdirTemp(r.dir, "case-")
	if err != nil {
		return nil, err
	}
	c := &killCase{killRig: r, dir: dir, state: filepath.Join(dir, "state")}
	// What is early is there until it is stored, or the agent is dead.
	script := "set -e\nif [ -e early ]; then\n\tcp early $(cat early)\n" +
		"\tuntil [ -e " + filepath.Join(r.dir, "storage") + "/$TASK_ID/runs/0/artifacts/$(cat early) ]; do kill -0 $PPID; sleep 0.01; done\nfi\n"
	for i, part := range log {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, fmt.Sprintf("log.%d", i)), part, 0o600))
		script += fmt.Sprintf("cat log.%d; sleep 0.01\n", i)
	}
	for name, body := range artifacts {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name+".made"), body, 0o600))
		script += fmt.Sprintf("cp %s.made %s\n", name, name)
		c.artifacts = append(c.artifacts, name)
	}
	if err = errors.Join(err, os.WriteFile(filepath.Join(dir, "work.sh"), []byte(script), 0o600)); err != nil {
		return nil, err
	}
	now := time.Now()
	status, err := r.queue.CreateTask(ctx, schema.Task{
		Version: schema.Version, ProvisionerID: "p", WorkerType: "w", Retries: 1, Timeout: 1200,
		Created: schema.Timestamp(now), Deadline: schema.Timestamp(now.Add(time.Hour)), Payload: map[string]any{},
		Metadata: schema.TaskMetadata{Name: "to be killed", Owner: "owner@example.com", Source: "https://example.com/"}, Tags: map[string]string{},
	})
	c.id = status.TaskID
	return c, err
}

// exec begins the run. The agent is killed at a crash point, if at names one, or when the moment has come.
func (c *killCase) exec(at string, moment func(*agentProcess) <-chan time.Time) (killed bool, err error) {
	args := []string{"exec", "--queue", c.queueURL, "--task-id", string(c.id), "--state", c.state, "--grace", "10s", "--artifact", lost + "=gone.txt"}
	if c.limited {
		args = append(args, "--log-limit", "64KiB")
	}
	args = append(args, "--settle", "0")
	if c.early != "" {
		args[len(args)-1] = "10ms"
		if err := os.WriteFile(filepath.Join(c.dir, "early"), []byte(c.early), 0o600); err != nil {
			return false, err
		}
	}
	for _, name := range c.artifacts {
		args = append(args, "--artifact", name+"="+name)
	}
	if c.first, err = c.agent(c.dir, at, append(args, "--", "sh", "work.sh")...); err != nil {
		return false, err
	}
	if killed, err = c.first.end(moment); err != nil {
		return killed, err
	}
	status := c.first.cmd.ProcessState
	c.history = append(c.history, fmt.Sprintf("exec: %v\n%s", status, c.first.stderr.String()))
	if !killed && status.ExitCode() != 0 {
		return killed, fmt.Errorf("exec ended with %v", status)
	}
	return killed, c.noSecrets()
}

// resume goes on with the run. Nothing but a kill, as for exec, keeps it from ending it.
func (c *killCase) resume(at string, moment func(*agentProcess) <-chan time.Time) (killed bool, err error) {
	p, err := c.agent(c.dir, at, "resume", "--state", c.state, "--json")
	if err != nil {
		return false, err
	}
	killed, err = p.end(moment)
	text := p.stdout.String()
	c.history = append(c.history, fmt.Sprintf("resume: %v\n%s%s", p.cmd.ProcessState, text, p.stderr.String()))
	if err = errors.Join(err, p.alone()); err != nil {
		return killed, err
	}
	for line := range strings.Lines(text) {
		var said resumeLine
		if json.Unmarshal([]byte(line), &said) == nil && said.TaskID == c.id {
			c.said = append(c.said, said)
		}
	}
	if status := p.cmd.ProcessState; !killed && status.ExitCode() != 0 {
		return killed, fmt.Errorf("resume ended with %v", status)
	}
	return killed, c.noSecrets()
}

// journal is what the run's journal says. The error is fs.ErrNotExist if there is none.
func (c *killCase) journal() (journal.State, error) {
	return journal.Read(disk.OS(), filepath.Join(c.state, string(c.id)+"-0"))
}

// known says whether the run's outcome is in its journal. Without a journal it is not, unless exec itself has come to the end.
func (c *killCase) known(killed bool) (bool, error) {
	state, err := c.journal()
	if errors.Is(err, fs.ErrNotExist) {
		return !killed, nil
	}
	c.begun, c.logged = err == nil, len(state.Logs) > 0
	return state.Outcome != nil, err
}

// noSecrets looks for signed URLs in everything that lies in the state folder.
func (c *killCase) noSecrets() error {
	err := filepath.WalkDir(c.state, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "0" { // a log, which is the command's own
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("Signature")) || bytes.Contains(text, []byte("X-Amz-")) {
			err = errors.Join(err, fmt.Errorf("%s holds a signed URL:\n%s", path, text))
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// check looks at the run from outside, when all agents are gone. known says that the command's outcome was in the
// journal, or the run beyond it, when the first agent ended.
func (c *killCase) check(known bool) error {
	if err := c.first.alone(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience())
	defer cancel()
	status, err := c.killRig.queue.Status(ctx, c.id)
	if err != nil {
		return err
	}
	left, err := os.ReadDir(c.state)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case len(left) > 0:
		return fmt.Errorf("%v is left in the state folder", left)
	case status.State == schema.Completed:
		return c.checkCompleted(ctx)
	case known:
		return fmt.Errorf("the outcome was known, but the task is %s", status.State)
	case status.State == schema.Running || status.State == schema.Pending:
		return c.checkClosed(ctx)
	default:
		return fmt.Errorf("the task is %s", status.State)
	}
}

// checkCompleted reads all that a completed run has to leave.
func (c *killCase) checkCompleted(ctx context.Context) error {
	result, err := c.storage.Result(ctx, c.id, 0)
	if err != nil {
		return err
	}
	logs, err := c.storage.Logs(ctx, c.id, 0)
	if err != nil {
		return err
	}
	if !result.Metadata.Success || fmt.Sprint(result.Result["exitCode"]) != "0" || len(result.Artifacts) != len(c.artifacts)+1 {
		return fmt.Errorf("the result is %+v", result)
	}
	if missing, _ := result.Result["missingArtifacts"].(map[string]any); missing[lost] == nil || len(missing) != 1 {
		return fmt.Errorf("missing are %v, want %s alone", missing, lost)
	}
	var errs []error
	for _, name := range c.artifacts {
		errs = append(errs, c.same(ctx, result.Artifacts[name], filepath.Join(c.dir, name+".made")))
	}
	whole, err := filepath.Glob(filepath.Join(c.dir, "log.?"))
	if err != nil {
		return err
	}
	if c.limited {
		return errors.Join(append(errs, c.checkLimited(ctx, result, logs.Logs["live/terminal.log"]))...)
	}
	errs = append(errs, c.same(ctx, result.Artifacts["terminal.log"], whole...), c.same(ctx, logs.Logs["terminal.log"], whole...))
	live := livelog.NewReader(ctx, logs.Logs["live/terminal.log"], livelog.ReaderOptions{})
	errs = append(errs, sameBytes("the live log", live, whole...), live.Close())
	if !eventuallyTrue(func() bool { return c.heard(c.id) }) {
		errs = append(errs, errors.New("the queue has told nobody that the task is completed"))
	}
	return errors.Join(errs...)
}

// checkLimited reads a log that has exceeded its limit.
func (c *killCase) checkLimited(ctx context.Context, result schema.Result, live string) error {
	text, err := c.read(ctx, result.Artifacts["terminal.log"])
	if err != nil {
		return err
	}
	whole, err := c.written()
	if err != nil {
		return err
	}
	missing, _ := markedBytes(text)
	reported := members(result, "incompleteLogs")["terminal.log"]
	if !whole.accounts(text, true) || len(text) > livelog.MinLimit || missing == 0 || !strings.Contains(reported, fmt.Sprint(" ", missing, " bytes ")) {
		return fmt.Errorf("a log of %d bytes is not what the command wrote, but for %d bytes; reported: %q", len(text), missing, reported)
	}
	reader := livelog.NewReader(ctx, live, livelog.ReaderOptions{})
	followed, err := io.ReadAll(reader)
	if !bytes.Equal(followed, text) {
		err = errors.Join(err, fmt.Errorf("the live log has %d bytes, the text %d", len(followed), len(text)))
	}
	return errors.Join(err, reader.Close())
}

// written is what the command writes to its log.
func (c *killCase) written() (*simLog, error) {
	parts, err := filepath.Glob(filepath.Join(c.dir, "log.?"))
	if err != nil {
		return nil, err
	}
	var whole []byte
	for _, part := range parts {
		data, err := os.ReadFile(part)
		if err != nil {
			return nil, err
		}
		whole = append(whole, data...)
	}
	return &simLog{pieces: []written{{text: whole, sure: len(whole), most: len(whole)}}}, nil
}

func (c *killCase) read(ctx context.Context, url string) ([]byte, error) {
	object, err := c.storage.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(object)
	return text, errors.Join(err, object.Close())
}

// checkClosed reads what a run leaves whose outcome nobody knows: its log so far, which says so, and no result.
func (c *killCase) checkClosed(ctx context.Context) error {
	if _, err := c.storage.Result(ctx, c.id, 0); !errors.Is(err, queue.ErrNotFound) {
		return fmt.Errorf("there is a result of a run that is not completed: %w", err)
	}
	if c.heard(c.id) {
		return errors.New("the queue has told of a completed run")
	}
	logs, err := c.storage.Logs(ctx, c.id, 0)
	switch {
	case !c.begun && (err == nil || errors.Is(err, queue.ErrNotFound)):
		return nil // logs.json does not wait for the journal; it names logs in which nothing was ever written
	case err != nil || !c.logged:
		return err
	}
	text, err := c.read(ctx, logs.Logs["terminal.log"])
	if err != nil {
		return err
	}
	begun, mark, found := bytes.Cut(text, []byte("upload-agent: the agent ended unexpectedly"))
	if !found || bytes.Contains(mark, []byte("upload-agent: ")) || !bytes.HasSuffix(mark, []byte("\n")) {
		return fmt.Errorf("the log does not end with one mark: %q", text[max(0, len(text)-300):])
	}
	whole, err := c.written()
	if err != nil {
		return err
	}
	if whole.beginning(begun) >= 0 && whole.beginning(bytes.TrimSuffix(begun, []byte("\n"))) >= 0 {
		return errors.New("the log is not the beginning of what the command wrote")
	}
	return nil
}

// same says whether the object at a URL is what the files hold, one after the other.
func (c *killCase) same(ctx context.Context, url string, files ...string) error {
	object, err := c.storage.Open(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(sameBytes(url, object, files...), object.Close())
}

func sameBytes(what string, got io.Reader, files ...string) error {
	gotSum, gotSize, err := sum(got)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var all []io.Reader
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		all = append(all, file)
	}
	wantSum, wantSize, err := sum(io.MultiReader(all...))
	if err == nil && (gotSize != wantSize || !bytes.Equal(gotSum, wantSum)) {
		err = fmt.Errorf("%s: %d bytes that are not the %d of %v", what, gotSize, wantSize, files)
	}
	return err
}

func sum(r io.Reader) ([]byte, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return h.Sum(nil), n, err
}

// eventuallyTrue polls until ok holds.
func eventuallyTrue(ok func() bool) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}
