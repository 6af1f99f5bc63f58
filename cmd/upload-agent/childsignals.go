package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// steering hands signals on to a command, and ends it when it has to end.
type steering struct {
	child
	cmd   *exec.Cmd
	group bool // it has a process group of its own
	left  remains
	out   *outputs
	ended chan struct{} // closed when the command has ended; what it has started may go on

	also     <-chan os.Signal // what is passed on and ends nothing
	orphaned <-chan os.Signal // something that the command has left has ended

	timedOut bool
	lost     error // why the log could not be told

	told    bool             // that it is to end
	kill    <-chan time.Time // when it is killed
	killing <-chan time.Time // when what is left is killed, again
	cutOff  <-chan time.Time // when its output is not waited for any more
}

// listen has to come before the command: from there on signals may be meant for it.
func (s *steering) listen() (forget func()) {
	var forgetPassed, forgetOrphans func()
	s.also, forgetPassed = alsoPassed(s.group)
	s.orphaned, forgetOrphans = orphanedProcesses()
	return func() { forgetPassed(); forgetOrphans() }
}

// steer works until the command has ended and nobody holds its output open. When its time is over, or ctx, it is told to terminate, and killed
// after the grace with all that it has started; at once, if a signal has used up the grace.
func (s *steering) steer(ctx context.Context, signals <-chan os.Signal) {
	tick := time.NewTicker(sweepRhythm)
	defer tick.Stop()
	done, ended, copied := ctx.Done(), (<-chan struct{})(s.ended), (<-chan struct{})(nil)
	var timeout <-chan time.Time
	if s.timeout > 0 {
		timeout = time.After(s.timeout)
	}
	for {
		select {
		case <-ended:
			ended, timeout, copied = nil, nil, s.out.copied
			s.cutOff = time.After(s.grace)
			s.endRest()
		case <-copied:
			return
		case <-s.cutOff:
			s.out.cutOff()
		case signal := <-signals:
			s.told = true
			if s.group || !fromTerminal(s.io.in, signal) { // else it has got it already
				s.send(signal)
			}
			s.endRest()
		case signal := <-s.also:
			if !suspend(signal, s.send, s.ended) {
				s.send(signal)
			}
		case <-s.orphaned:
			s.left.living() // and no zombies
		case <-timeout:
			s.timedOut = true
			s.lost = s.tell("%s has run for %v, which is its --timeout: it is told to terminate, and killed %v later", s.argv[0], s.timeout, s.grace)
			s.terminate()
		case <-done:
			done = nil
			if cause := context.Cause(ctx); errors.Is(cause, errSecondSignal) || errors.Is(cause, errGraceOver) {
				s.kill = time.After(0)
			} else { // it has not been told yet
				s.terminate()
			}
		case <-s.kill:
			s.send(os.Kill)
			s.kill, s.killing = nil, tick.C
		case <-s.killing:
			s.left.signal(os.Kill) // what has left the group may hold its output open
		}
	}
}

// terminate tells the command to end, and has it killed if it does not.
func (s *steering) terminate() {
	s.told = true
	s.send(terminate)
	s.kill = time.After(s.grace)
	s.endRest()
}

// endRest ends what is left of a command that was told to end, and has: only that is left which has not heard it, or did not want to.
func (s *steering) endRest() {
	if s.told && s.isOver() {
		s.send(terminate)
		s.left.signal(terminate)
		s.kill = time.After(min(s.grace, sweepGrace))
	}
}

func (s *steering) isOver() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// send sends a signal to the command, or to all its group if it has its own.
func (s *steering) send(signal os.Signal) {
	if s.isOver() && s.left.all() {
		return // its number may be somebody else's soon
	}
	if err := signalCommand(s.cmd, signal, s.group); err != nil && !errors.Is(err, os.ErrProcessDone) {
		fmt.Fprintf(s.io.err, "upload-agent: send %v to %s: %v\n", signal, s.argv[0], err)
	}
}

// The rhythm in which what a command has left running is ended.
const (
	sweepRhythm = 20 * time.Millisecond
	sweepAfter  = 100 * time.Millisecond // what is about to end by itself does
	sweepGrace  = 2 * time.Second        // from being told to terminate until being killed
	sweepTime   = 10 * time.Second       // for all of it: a process may be stuck in the kernel
)

// sweep ends what the command has left running, and says so. It has ended itself, and its output too.
func (s *steering) sweep(ctx context.Context) error {
	began, told := time.Now(), map[int]bool{}
	var lost error
	tick := time.NewTicker(sweepRhythm)
	defer tick.Stop()
	for ; ; <-tick.C {
		left := s.left.living()
		group := s.group && !s.left.all() && groupLives(s.cmd)
		since := time.Since(began)
		switch {
		case len(left) == 0 && !group:
			return lost
		case since > sweepTime:
			return errors.Join(lost, s.tell("%s has left processes running that cannot be ended", s.argv[0]))
		case since < sweepAfter && ctx.Err() == nil:
			continue
		case len(told) == 0:
			lost = s.tell("%s has left processes running%s: they are ended", s.argv[0], s.left.names(left))
			told[0] = true
			if group {
				s.send(terminate)
			}
		}
		if since > sweepAfter+sweepGrace || ctx.Err() != nil {
			if group {
				s.send(os.Kill)
			}
			s.left.signal(os.Kill)
			continue
		}
		for _, pid := range left {
			if !told[pid] {
				told[pid] = true
				s.left.signalOne(pid, terminate)
			}
		}
	}
}
