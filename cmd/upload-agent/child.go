package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/term"

	"github.com/taskcluster/upload-agent/livelog"
)

// child is the command of a task.
type child struct {
	argv []string
	env  []string
	io   *stdio
	log  io.Writer // takes its stdout and stderr
	// redacted takes the secrets out of a stream.
	redacted func(io.Writer) *livelog.RedactingWriter
	// grace is how long the command has to end after a signal before it is killed, and how
	// long its output is waited for after it has ended.
	grace time.Duration
}

// exit is how a command ended.
type exit struct {
	status int
	signal string // that ended it, if one did
}

// run runs the command to its end. Signals are passed on to it. When ctx ends it is told to
// terminate, and killed after the grace; at once, if a signal has used that up. An error
// means that its output could not be kept, and that the log does not say so: a full disk alone is none.
func (c child) run(ctx context.Context, signals <-chan os.Signal) (exit, error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = c.env
	cmd.Stdin = c.io.in
	stdout, stderr := c.outputs()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = c.grace
	// With a terminal the command stays in the foreground group, which gets the terminal's signals by itself.
	group := !isTerminal(c.io.in)
	if group {
		ownGroup(cmd)
	}
	if err := cmd.Start(); err != nil {
		return c.notStarted(err)
	}
	waited := make(chan struct{})
	passing := make(chan struct{})
	go func() {
		defer close(passing)
		c.passSignals(ctx, cmd, group, signals, waited)
	}()
	err := cmd.Wait()
	close(waited)
	<-passing
	stdout.close()
	stderr.close()
	ended := exit{status: cmd.ProcessState.ExitCode()}
	if status, name, ok := signalStatus(cmd.ProcessState); ok {
		ended = exit{status, name}
	}
	var exitErr *exec.ExitError
	if err != nil && !errors.As(err, &exitErr) && !errors.Is(err, exec.ErrWaitDelay) {
		return ended, fmt.Errorf("keep the output of %s: %w", c.argv[0], err)
	}
	// Wait tells of a lost log, or of an output cut off, only if the command succeeded.
	if err := cmp.Or(stdout.lost, stderr.lost); err != nil {
		return ended, fmt.Errorf("keep the output of %s: %w", c.argv[0], err)
	}
	if stdout.cut || stderr.cut {
		return ended, c.tell("%s has ended, but its output was still open %v later: what writes there now is not kept", c.argv[0], c.grace)
	}
	return ended, nil
}

// tell says something on stderr and in the log.
func (c child) tell(format string, args ...any) error {
	line := fmt.Sprintf("upload-agent: "+format+"\n", args...)
	fmt.Fprint(c.io.err, line)
	_, err := io.WriteString(c.log, line)
	return err
}

// notStarted tells, in the log too, why there is no command to run.
func (c child) notStarted(err error) (exit, error) {
	status := statusNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		status = statusNotFound
	}
	return exit{status: status}, c.tell("%v", err)
}

// outputs are where the command writes: to the log and through to our own streams. Where
// these are one and the same, so is what the command writes to, and its lines keep their order.
func (c child) outputs() (stdout, stderr *tee) {
	stdout = newTee(c.log, c.io.out, c.redacted)
	if sameFile(c.io.out, c.io.err) {
		return stdout, stdout
	}
	return stdout, newTee(c.log, c.io.err, c.redacted)
}

// passSignals hands signals on until the command has ended.
func (c child) passSignals(ctx context.Context, cmd *exec.Cmd, group bool, signals <-chan os.Signal, ended <-chan struct{}) {
	done, kill := ctx.Done(), (<-chan time.Time)(nil)
	for {
		var s os.Signal
		select {
		case <-ended:
			return
		case s = <-signals:
		case <-done:
			s, done = os.Kill, nil
			if cause := context.Cause(ctx); !errors.Is(cause, errSecondSignal) && !errors.Is(cause, errGraceOver) {
				s, kill = terminate, time.After(c.grace) // it has not been told yet
			}
		case <-kill:
			s, kill = os.Kill, nil
		}
		if err := signalCommand(cmd, s, group); err != nil && !errors.Is(err, os.ErrProcessDone) {
			fmt.Fprintf(c.io.err, "upload-agent: send %v to %s: %v\n", s, c.argv[0], err)
		}
	}
}

// tee writes to the log, and through to a stream for as long as somebody reads it; neither gets to see a secret. What we
// pass through is as public as the log: it is what a CI system keeps of us. The log takes secrets out by itself, too,
// but once stdout and stderr have come together there, a secret may be in two pieces.
type tee struct {
	redacted *livelog.RedactingWriter // before both
	log      io.Writer
	through  io.Writer
	broken   bool
	lost     error // why the log could not be written
	cut      bool  // copying was ended before its source
}

func newTee(log, through io.Writer, redacted func(io.Writer) *livelog.RedactingWriter) *tee {
	t := &tee{log: log, through: through}
	t.redacted = redacted(writerFunc(t.pass))
	return t
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// ReadFrom copies all that a command writes, and notes how that ended.
func (t *tee) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(struct{ io.Writer }{t}, r)
	t.cut = errors.Is(err, os.ErrClosed)
	return n, err
}

func (t *tee) Write(p []byte) (int, error) { return t.redacted.Write(p) }

// close passes on what is held back. What is lost then, too, is in t.lost.
func (t *tee) close() { _ = t.redacted.Close() }

// pass takes what is no secret.
func (t *tee) pass(p []byte) (int, error) {
	n, err := t.log.Write(p)
	t.lost = cmp.Or(t.lost, err)
	if !t.broken {
		_, throughErr := t.through.Write(p[:n])
		t.broken = throughErr != nil
	}
	return n, err
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func sameFile(a, b io.Writer) bool {
	if a == b {
		return true
	}
	fa, ok := a.(*os.File)
	fb, ok2 := b.(*os.File)
	if !ok || !ok2 {
		return false
	}
	ia, err := fa.Stat()
	ib, err2 := fb.Stat()
	return err == nil && err2 == nil && os.SameFile(ia, ib)
}
