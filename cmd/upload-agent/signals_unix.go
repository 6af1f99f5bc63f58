//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}

// ignoreBrokenPipes makes a closed stdout an error of the write that meets it, as for any
// other file: the run goes on although nobody reads the terminal any more. The signal is
// caught rather than ignored, as a command would inherit that it is ignored.
func ignoreBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// ownGroup puts a command in a process group of its own, so that signals reach all of it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// signalCommand sends a signal to the command, or to all its group if it has its own.
func signalCommand(cmd *exec.Cmd, s os.Signal, group bool) error {
	number, ok := s.(syscall.Signal)
	if !ok || !group {
		return cmd.Process.Signal(s)
	}
	err := syscall.Kill(-cmd.Process.Pid, number)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// signalStatus is the exit status for a command that a signal ended.
func signalStatus(state *os.ProcessState) (status int, name string, ok bool) {
	wait, isWait := state.Sys().(syscall.WaitStatus)
	if !isWait || !wait.Signaled() {
		return 0, "", false
	}
	return statusSignal + int(wait.Signal()), wait.Signal().String(), true
}

var terminate os.Signal = syscall.SIGTERM
