//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// hardRig runs commands under the real program, against a queue of its own.
type hardRig struct {
	t      *testing.T
	server *agenttest.Server
	dir    string // the working folder
	task   schema.TaskID
	mark   string // in the environment of all that is started
	output sharedBuffer
}

func newHardRig(t *testing.T) *hardRig {
	t.Helper()
	server, err := agenttest.New(t.TempDir(), agenttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	posted, err := server.PostTask(schema.Task{})
	if err != nil {
		t.Fatal(err)
	}
	r := &hardRig{t: t, server: server, dir: t.TempDir(), task: posted.TaskID, mark: fmt.Sprintf("UNDER_TEST=%d-%d", os.Getpid(), rand.Uint64())}
	t.Cleanup(func() {
		for pid := range r.running() {
			t.Errorf("%d is still running: %s", pid, commandLine(pid))
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if broken := server.Violations(); len(broken) > 0 {
			t.Errorf("order: %q", broken)
		}
		server.Close()
	})
	return r
}

// exec is the program that runs a shell script as the rig's task.
func (r *hardRig) exec(flags, script string) *exec.Cmd {
	args := append([]string{"exec", "--queue", r.server.QueueURL(), "--storage", r.server.StorageURL(), "--task-id", string(r.task), "--state", filepath.Join(r.dir, "state")}, strings.Fields(flags)...)
	cmd := exec.Command("upload-agent", append(args, "--", "sh", "-c", script)...)
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), r.mark)
	cmd.Stdout, cmd.Stderr = &r.output, &r.output
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// status waits for a program to end.
func (r *hardRig) status(cmd *exec.Cmd) int {
	r.t.Helper()
	overdue := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer overdue.Stop()
	err := cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.t.Errorf("wait: %v", err)
	}
	return cmd.ProcessState.ExitCode()
}

// run runs a script to its end.
func (r *hardRig) run(flags, script string) (status int) {
	r.t.Helper()
	cmd := r.exec(flags, script)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	return r.status(cmd)
}

// await waits until something is so.
func (r *hardRig) await(what string, so func() bool) {
	r.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("not so: %s\n%s", what, r.output.String())
		}
	}
}

// there waits for a file that a script makes.
func (r *hardRig) there(name string) {
	r.t.Helper()
	r.await(name+" is there", func() bool { _, err := os.Stat(filepath.Join(r.dir, name)); return err == nil })
}

// result is what the task's result says of the command; nil if there is none.
func (r *hardRig) result() map[string]any {
	r.t.Helper()
	text, err := r.server.Object(string(r.task) + "/runs/0/result.json")
	if err != nil {
		return nil
	}
	doc, err := schema.Decode[schema.Result]("result.json", text)
	if err != nil {
		r.t.Fatal(err)
	}
	return doc.Result
}

// log is what is stored of the command's output.
func (r *hardRig) log() string {
	text, err := r.server.Object(string(r.task) + "/runs/0/artifacts/terminal.log")
	if err != nil {
		r.t.Error(err)
	}
	return string(text)
}

// running are the processes, with their states, that the rig has started and that have not ended. Where there is no /proc, nobody can tell.
func (r *hardRig) running() map[int]byte {
	found := map[int]byte{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		environ, err := os.ReadFile(folder + "/environ")
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+r.mark+"\x00")) {
			continue
		}
		stat, err := os.ReadFile(folder + "/stat")
		if after := bytes.LastIndexByte(stat, ')'); err == nil && after > 0 {
			pid, _ := strconv.Atoi(filepath.Base(folder))
			found[pid] = stat[after+2]
		}
	}
	return found
}

func commandLine(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return string(bytes.ReplaceAll(text, []byte{0}, []byte(" ")))
}

// However a command ends: the status is as the README has it, the result says the same, and nothing is left running.
func TestHowACommandEnds(t *testing.T) {
	for name, row := range map[string]struct {
		flags, script string
		status        int
		result        string // a part of it
		log           string // a part of it
		linux         bool   // wants a program, or a promise, of Linux
	}{
		"ends itself": {script: "kill -TERM $$", status: 143, result: "signal:terminated"},
		"is slow": {
			flags: "--timeout 200ms", script: "sleep 600", status: 124, result: "timedOut:true",
			log: "sh has run for 200ms, which is its --timeout: it is told to terminate, and killed 30s later",
		},
		"is slow and deaf": {
			flags: "--timeout 200ms --grace 200ms", script: `trap "" TERM; echo begun; while :; do sleep 0.02; done`, status: 124, result: "timedOut:true", log: "begun",
		},
		"is slow, and then quick": {
			flags: "--timeout 200ms", script: `trap "exit 0" TERM; while :; do sleep 0.02; done`, status: 124, result: "exitCode:124",
		},
		"is in time": {flags: "--timeout 1h", script: "exit 3", status: 3, result: "exitCode:3"},
		"leaves a process": {
			script: "sleep 600 >/dev/null 2>&1 & exit 4", status: 4, result: "exitCode:4", log: "sh has left processes running",
		},
		"leaves a deaf process": {
			script: `(trap "" TERM; while :; do sleep 0.02; done) >/dev/null 2>&1 & exit 0`, log: "sh has left processes running",
		},
		"leaves a daemon": {
			script: "setsid sleep 600 >/dev/null 2>&1 </dev/null & until ps -C sleep >/dev/null; do :; done; exit 5", status: 5, log: "sh has left processes running (sleep): they are ended", linux: true,
		},
		"leaves a deaf family of daemons": {
			script: `setsid sh -c 'trap "" TERM; setsid sleep 600 & setsid sh -c "sleep 600 & sleep 600" & touch ready; while :; do sleep 0.02; done' >/dev/null 2>&1 &
until [ -e ready ]; do :; done; exit 6`, status: 6, linux: true,
		},
		"leaves a daemon that holds its output": {
			flags: "--grace 200ms", script: "setsid sh -c 'touch ready; exec sleep 600' & until [ -e ready ]; do :; done; echo said", log: "said", linux: true,
		},
		"is slow, and its daemon holds its output": {
			flags: "--timeout 500ms --grace 200ms", script: `trap "" TERM; setsid sh -c 'trap "" TERM; touch ready; while :; do sleep 0.02; done' & until [ -e ready ]; do :; done; wait; sleep 600`,
			status: 124, linux: true,
		},
	} {
		if _, err := exec.LookPath("setsid"); row.linux && err != nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := newHardRig(t)
			if status := r.run(row.flags, row.script); status != row.status {
				t.Errorf("status %d, want %d\n%s", status, row.status, r.output.String())
			}
			if result := fmt.Sprint(r.result()); !strings.Contains(result, row.result) {
				t.Errorf("result %s, want %s", result, row.result)
			}
			if log := r.log(); !strings.Contains(log, row.log) {
				t.Errorf("log %q, want %s", log, row.log)
			}
			if left := r.running(); len(left) > 0 {
				t.Errorf("left running: %v", left) // and the rig ends it
			}
		})
	}
}

// What comes in goes to the command, and a stdin that is closed is an empty one.
func TestStdinOfACommand(t *testing.T) {
	r := newHardRig(t)
	cmd := r.exec("", "cat; echo end")
	cmd.Stdin = strings.NewReader("from outside\n")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if status := r.status(cmd); status != 0 || r.log() != "from outside\nend\n" {
		t.Errorf("status %d, log %q", status, r.log())
	}
	r = newHardRig(t)
	inner := r.exec("", "cat; echo end")
	cmd = exec.Command("sh", append([]string{"-c", `exec "$0" "$@" <&-`}, append([]string{inner.Path}, inner.Args[1:]...)...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = inner.Dir, inner.Env, inner.Stdout, inner.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if status := r.status(cmd); status != 0 || r.log() != "end\n" {
		t.Errorf("closed: status %d, log %q", status, r.log())
	}
}

// A signal that ends the agent goes to the command and all it has started; the others, too, but they end nothing.
func TestSignalsAreForwarded(t *testing.T) {
	const script = `for s in USR1 USR2; do trap "echo got $s >>got" $s; done
for s in HUP INT QUIT TERM; do trap "echo got $s; exit 9" $s; done
sh -c 'trap "echo so have I; exit" HUP QUIT TERM; trap "touch in" USR1; touch ready; while :; do sleep 0.02; done' &
until [ -e ready ]; do sleep 0.02; done; touch begun
while :; do sleep 0.02; done`
	for _, end := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM} {
		r := newHardRig(t)
		cmd := r.exec("--grace 1s", script)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r.there("begun")
		cmd.Process.Signal(syscall.SIGUSR1)
		r.there("in")
		r.there("got")
		cmd.Process.Signal(end)
		if status := r.status(cmd); status != 9 || !strings.Contains(r.log(), "got "+strings.TrimPrefix(signalName(end), "SIG")) {
			t.Errorf("%v: status %d, log %q\n%s", end, status, r.log(), r.output.String())
		}
		if end != syscall.SIGINT && !strings.Contains(r.log(), "so have I") { // a shell's background job does not hear it
			t.Errorf("%v: only the command has got it: %q", end, r.log())
		}
		if left := r.running(); len(left) > 0 {
			t.Errorf("%v: left running %v", end, left)
		}
	}
}

func signalName(s syscall.Signal) string {
	return map[syscall.Signal]string{syscall.SIGHUP: "SIGHUP", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT", syscall.SIGTERM: "SIGTERM"}[s]
}

// An agent that has to go takes all with it, whatever that thinks of it.
func TestNothingIsLeftWhenTheGraceIsOver(t *testing.T) {
	r := newHardRig(t)
	cmd := r.exec("--grace 300ms", `trap "" TERM; sh -c 'trap "" TERM; touch ready; while :; do sleep 0.02; done' & while :; do sleep 0.02; done`)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.there("ready")
	cmd.Process.Signal(syscall.SIGTERM)
	if status := r.status(cmd); status != statusAgentFailed {
		t.Errorf("status %d, want %d: the run is not completed\n%s", status, statusAgentFailed, r.output.String())
	}
	if left := r.running(); len(left) > 0 {
		t.Errorf("left running %v", left)
	}
}
