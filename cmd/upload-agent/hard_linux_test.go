package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A command does not outlive its agent.
func TestCommandDiesWithTheAgent(t *testing.T) {
	r := newHardRig(t)
	cmd := r.exec("", "touch ready; exec sleep 600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.there("ready")
	cmd.Process.Kill()
	if status := r.status(cmd); status != -1 {
		t.Errorf("status %d", status)
	}
	r.await("the command has ended", func() bool { return len(r.running()) == 0 })
}

// terminal is a pseudo terminal, and what was shown on it.
type terminal struct {
	keyboard *os.File
	screen   sharedBuffer
	read     chan struct{} // closed when nobody has it open any more
}

// on starts a program as the leader of a session on a new terminal.
func (r *hardRig) on(cmd *exec.Cmd) *terminal {
	r.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		r.t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		r.t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := errors.Join(cmd.Start(), slave.Close()); err != nil {
		r.t.Fatal(err)
	}
	tty := &terminal{keyboard: master, read: make(chan struct{})}
	go func() {
		defer close(tty.read)
		_, _ = io.Copy(&tty.screen, master)
	}()
	r.t.Cleanup(func() {
		cmd.Process.Kill()
		<-tty.read
		master.Close()
	})
	return tty
}

// shows waits until the terminal shows a text.
func (r *hardRig) shows(tty *terminal, text string) {
	r.t.Helper()
	r.await("the terminal shows "+text, func() bool {
		r.output.mu.Lock() // for the message
		r.output.b = *bytes.NewBufferString(tty.screen.String())
		r.output.mu.Unlock()
		return strings.Contains(tty.screen.String(), text)
	})
}

// A command reads the terminal, and an interrupt from the keyboard reaches it once.
func TestCommandOnATerminal(t *testing.T) {
	for range 5 { // two that come at nearly the same time may look like one
		r := newHardRig(t)
		cmd := r.exec("", "setsid sleep 600 >/dev/null 2>&1 & test -t 0 && exec count-interrupts")
		tty := r.on(cmd)
		r.shows(tty, "counting")
		io.WriteString(tty.keyboard, "\x03")
		r.shows(tty, "once more to end at once")
		io.WriteString(tty.keyboard, "hello\n")
		if status := r.status(cmd); status != 7 {
			t.Errorf("status %d\n%s", status, tty.screen.String())
		}
		if want := `read "hello\n", interrupts: 1`; !strings.Contains(r.log(), want) {
			t.Errorf("the command says %q, want %s", r.log(), want)
		}
		if left := r.running(); len(left) > 0 {
			t.Errorf("left running: %v", left)
		}
	}
}

// Ctrl-C ends a command on a terminal as a shell has it, and the run is completed.
func TestCtrlC(t *testing.T) {
	r := newHardRig(t)
	cmd := r.exec("", "touch ready; exec sleep 600")
	tty := r.on(cmd)
	r.there("ready")
	r.await("sleep is running", func() bool {
		for pid := range r.running() {
			if strings.HasPrefix(commandLine(pid), "sleep") {
				return true
			}
		}
		return false
	})
	io.WriteString(tty.keyboard, "\x03")
	if status := r.status(cmd); status != 130 || r.result()["signal"] != "interrupt" {
		t.Errorf("status %d, result %v\n%s", status, r.result(), tty.screen.String())
	}
}

// Ctrl-Z stops the command and the agent, whether or not the command reads the terminal; fg has both go on.
func TestJobControl(t *testing.T) {
	for name, row := range map[string]struct{ stdin, status string }{"stdin is the terminal": {"", "148"}, "stdin is not": {"</dev/null", "147"}} {
		t.Run(name, func(t *testing.T) {
			r := newHardRig(t)
			inner := r.exec("", "touch ready; until [ -e go ]; do sleep 0.02; done; echo went on")
			script := `set -m; "$0" "$@" ` + row.stdin + `; echo "stopped: $?"; read line; fg; echo "ended: $?"`
			cmd := exec.Command("sh", append([]string{"-c", script, inner.Path}, inner.Args[1:]...)...)
			cmd.Dir, cmd.Env = inner.Dir, inner.Env
			tty := r.on(cmd)
			r.there("ready")
			io.WriteString(tty.keyboard, "\x1a")
			r.shows(tty, "stopped: "+row.status)
			r.await("all but the shell have stopped", func() bool {
				running, stopped := r.running(), 0
				for _, state := range running {
					if state == 'T' {
						stopped++
					}
				}
				return len(running) >= 3 && stopped == len(running)-1
			})
			if err := os.WriteFile(filepath.Join(r.dir, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			io.WriteString(tty.keyboard, "continue\n")
			r.shows(tty, "ended: 0")
			r.shows(tty, "went on")
			if status := r.status(cmd); status != 0 {
				t.Errorf("status %d", status)
			}
		})
	}
}
