//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}

// runSignals are those with which a run ends, the first time it meets one. Who started us with nohup does not want to hear of a hangup.
func runSignals() []os.Signal {
	all := append([]os.Signal{syscall.SIGQUIT}, endSignals...)
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// ignoreBrokenPipes makes a closed stdout an error of the write that meets it, as for any
// other file: the run goes on although nobody reads the terminal any more. The signal is
// caught rather than ignored, as a command would inherit that it is ignored.
func ignoreBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// prepare has a command die with us, and puts it in a process group of its own, if it is to have one: then signals reach all of it.
func prepare(cmd *exec.Cmd, group bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: group}
	dieWithUs(cmd.SysProcAttr)
}

// alsoPassed are the signals that are the command's business alone. A command with its own group does not hear of Ctrl-Z by itself.
func alsoPassed(group bool) (<-chan os.Signal, func()) {
	passed := make(chan os.Signal, 4)
	signal.Notify(passed, syscall.SIGUSR1, syscall.SIGUSR2)
	if group && !signal.Ignored(syscall.SIGTSTP) {
		signal.Notify(passed, syscall.SIGTSTP)
	}
	return passed, func() { signal.Stop(passed) }
}

// suspend stops the command, and then us, as a shell expects it on Ctrl-Z; and has both go on when the shell says so. It does so for
// that signal alone.
func suspend(s os.Signal, send func(os.Signal), ended <-chan struct{}) bool {
	if s != syscall.SIGTSTP {
		return false
	}
	if !hasShell() {
		return true // nobody could have us go on: the system would ignore it, too
	}
	send(s)
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // the runtime does not give SIGTSTP back its meaning
	select {
	case <-resumed:
	case <-ended:
	}
	send(syscall.SIGCONT)
	return true
}

// hasShell reports whether whoever started us does so with jobs: it is in our session, and we are in a group of our own.
func hasShell() bool {
	parent, err := unix.Getsid(os.Getppid())
	own, err2 := unix.Getsid(0)
	group, err3 := syscall.Getpgid(os.Getppid())
	return errors.Join(err, err2, err3) == nil && parent == own && group != syscall.Getpgrp()
}

// fromTerminal reports whether a signal has come from the keyboard of our terminal, as far as one can tell: then the whole foreground group has got it.
func fromTerminal(stdin any, s os.Signal) bool {
	f, ok := stdin.(*os.File)
	if !ok || s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	foreground, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == syscall.Getpgrp()
}

// groupLives reports whether anything is left of a command's own group.
func groupLives(cmd *exec.Cmd) bool {
	err := syscall.Kill(-cmd.Process.Pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
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
