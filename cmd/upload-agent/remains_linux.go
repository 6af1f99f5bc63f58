package main

import (
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes us the parent of every process that our command starts and then leaves, also of one that has left its
// group and session: nothing can get away. See PR_SET_CHILD_SUBREAPER in prctl(2).
func adoptOrphans() {
	if _, listed := children(); listed {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // without it the group has to do
	}
}

// dieWithUs has the system kill the command when we die, however that happens: when the thread ends that has started it, see child.run.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// orphanedProcesses tells when one may have become ours, and has ended.
func orphanedProcesses() (<-chan os.Signal, func()) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	return ended, func() { signal.Stop(ended) }
}

// remains are the processes that a command has left: they are our children, and nobody else waits for them. This program starts
// no other processes while it runs a command.
type remains struct {
	adopts bool         // else our children are none of our business
	known  map[int]bool // what was there before the command, and the command itself
}

// newRemains is to be called before the command starts.
func newRemains() remains {
	var adopts int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&adopts)), 0, 0, 0)
	before, _ := children()
	r := remains{adopts: err == nil && adopts != 0, known: map[int]bool{}}
	for _, pid := range before {
		r.known[pid] = true
	}
	return r
}

// all reports whether we know of all that is left; else there may be more in the command's group.
func (r remains) all() bool { return r.adopts }

// except leaves the command itself to whoever waits for it.
func (r remains) except(pid int) { r.known[pid] = true }

// living are those that have not ended. Those that have are taken off the system's list.
func (r remains) living() (pids []int) {
	if !r.adopts {
		return nil
	}
	ours, _ := children()
	for _, pid := range ours {
		if r.known[pid] {
			continue
		}
		if ended, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); err == nil && ended == 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// signal sends a signal to all that live. What these have started becomes ours when they are gone.
func (r remains) signal(s os.Signal) {
	for _, pid := range r.living() {
		r.signalOne(pid, s)
	}
}

// signalOne sends a signal to one that lived a moment ago. Its number is its own until we have waited for it.
func (r remains) signalOne(pid int, s os.Signal) {
	if number, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(pid, number) // it may have ended
	}
}

// names says which they are, " (like, this)"; "" for none.
func (r remains) names(pids []int) string {
	names := map[string]bool{}
	for _, pid := range pids {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
			names[printable(strings.TrimSpace(string(name)))] = true
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(slices.Sorted(maps.Keys(names)), ", ") + ")"
}

// children are the processes whose parent we are, if the kernel says so (CONFIG_PROC_CHILDREN; Linux 4.2 and /proc).
func children() (pids []int, listed bool) {
	threads, _ := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		list, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		if err != nil {
			continue // the thread has ended
		}
		listed = true
		for text := range strings.FieldsSeq(string(list)) {
			if pid, err := strconv.Atoi(text); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids, listed
}
