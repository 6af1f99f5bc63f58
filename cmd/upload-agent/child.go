package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
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
	// hasEnded is called when the command has ended, before its output and what it has left running.
	hasEnded func()
	// timeout is how long the command may run; 0 means that nobody minds.
	timeout time.Duration
	// grace is how long the command has to end after a signal before it is killed, and how
	// long its output is waited for after it has ended.
	grace time.Duration
}

// exit is how a command ended.
type exit struct {
	status   int
	signal   string // that ended it, if one did
	timedOut bool
}

// run runs the command to its end, and ends what it leaves running. Signals are passed on to it. When ctx ends, or its time, it is told to
// terminate, and killed after the grace; at once, if a signal has used that up. An error
// means that its output could not be kept, and that the log does not say so: a full disk alone is none.
func (c child) run(ctx context.Context, signals <-chan os.Signal) (exit, error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = c.env
	cmd.Stdin = c.io.in
	// With a terminal the command stays in our group, which is in the foreground: it reads the terminal, gets its signals by itself, and the shell
	// stops and continues us both.
	group := !isTerminal(c.io.in)
	prepare(cmd, group)
	out, err := c.openOutput()
	if err != nil {
		return exit{}, fmt.Errorf("make pipes for the output of %s: %w", c.argv[0], err)
	}
	cmd.Stdout, cmd.Stderr = out.stdout.write, out.stderr.write
	cmd.WaitDelay = c.grace // of a stdin that is no file
	runtime.LockOSThread()  // the command dies with the thread that starts it, see dieWithUs
	defer runtime.UnlockOSThread()
	s := &steering{child: c, cmd: cmd, group: group, left: newRemains(), out: out, ended: make(chan struct{})}
	defer s.listen()()
	err = cmd.Start()
	out.begin()
	if err != nil {
		out.end()
		return c.notStarted(err)
	}
	s.left.except(cmd.Process.Pid)
	steered := make(chan struct{})
	go func() {
		defer close(steered)
		s.steer(ctx, signals)
	}()
	err = cmd.Wait()
	close(s.ended)
	if c.hasEnded != nil {
		c.hasEnded()
	}
	<-steered
	out.end()
	ended := exit{status: cmd.ProcessState.ExitCode()}
	if status, name, ok := signalStatus(cmd.ProcessState); ok {
		ended = exit{status: status, signal: name}
	}
	if s.timedOut {
		ended.status, ended.timedOut = statusTimeout, true
	}
	var exitErr *exec.ExitError
	if err != nil && !errors.As(err, &exitErr) && !errors.Is(err, exec.ErrWaitDelay) {
		return ended, fmt.Errorf("wait for %s: %w", c.argv[0], err)
	}
	lost := cmp.Or(out.lost(), s.lost)
	if lost == nil && out.cut {
		lost = c.tell("%s has ended, but its output was still open %v later: what writes there now is not kept", c.argv[0], c.grace)
	}
	if lost = cmp.Or(lost, s.sweep(ctx)); lost != nil {
		return ended, fmt.Errorf("keep the output of %s: %w", c.argv[0], lost)
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

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
