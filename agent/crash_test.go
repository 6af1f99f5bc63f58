package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// crashing is a run whose process dies, and is resumed by another.
type crashing struct {
	*rig
	disk      *disktest.Disk
	log       simLog            // what the worker wrote
	lines     int               // that it writes
	width     int               // of each
	artifacts map[string]string // that the worker added
	careless  bool              // the worker does not look whether its log can be written
}

func newCrashing(t *testing.T, seed uint64) *crashing {
	c := &crashing{rig: newRig(t, agenttest.Options{}), artifacts: map[string]string{}, lines: 30, width: 1000}
	c.disk = disktest.New(rand.New(rand.NewPCG(seed, 0)))
	c.options.StateDir = "/state"
	c.options.Uploader = upload.New(upload.Options{Transport: landing{upload.NewTransport()}, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	t.Cleanup(c.options.Uploader.CloseIdleConnections)
	c.options.SetDisk(c.disk)
	return c
}

// landing lets no request outlive its sender: what a dead process had sent could else arrive
// at the storage when the next one has completed the run, which nothing can prevent.
type landing struct{ next http.RoundTripper }

func (l landing) RoundTrip(r *http.Request) (*http.Response, error) {
	return l.next.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
}

// work is the worker's side, up to the report. An error is the crash.
func (c *crashing) work() error {
	run, err := agent.Start(c.t.Context(), c.queue, c.claim, c.options)
	if err != nil {
		return err
	}
	defer run.Close()
	files := c.t.TempDir()
	for i := range c.lines {
		line := []byte(fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", c.width)))
		n, err := run.Log("terminal.log").Write(line)
		p := written{text: line, sure: n, most: len(line)} // a part of it may be kept even if the write fails
		if err == nil && c.crashed() {
			p.sure = 0 // it was in memory
		}
		c.log.pieces = append(c.log.pieces, p)
		if err != nil && !c.careless {
			return err
		}
	}
	for name, times := range map[string]int{"public/a.txt": 1, "public/b.txt": 1, "public/packed.txt": 15_000} {
		body := strings.Repeat("the bytes of "+name, times)
		writeFile(c.t, filepath.Join(files, filepath.Base(name)), body)
		source := upload.Place{Folder: files, Name: filepath.Base(name)}.Source()
		if err := run.AddArtifact(name, source, agent.ArtifactOptions{ContentType: "text/plain", Gzip: true}); err != nil {
			return err
		}
		c.artifacts[name] = body
	}
	_, err = run.Complete(c.ctx(), agent.Outcome{Success: true, Result: map[string]any{"exitCode": 7}})
	return err
}

func (c *crashing) crashed() bool {
	select {
	case <-c.disk.Dead():
		return true
	default:
		return false
	}
}

// overLimit has the log exceed its limit.
func (c *crashing) overLimit() *crashing {
	c.options.LogLimit, c.lines, c.width = livelog.MinLimit, 40, 2500
	return c
}

// unpacked is an artifact as a browser shows it.
func (c *crashing) unpacked(name string) string {
	body := c.stored("artifacts/" + name)
	if bytes.HasPrefix(body, []byte("\x1f\x8b")) {
		return unpacked(c.t, body)
	}
	return string(body)
}

// resume is what the next process does.
func (c *crashing) resume(power bool) error {
	c.disk = c.disk.Restart(power)
	c.options.SetDisk(c.disk)
	run, err := agent.Resume(c.t.Context(), c.queue, filepath.Join(c.options.StateDir, fmt.Sprintf("%s-%d", c.claim.Task(), c.claim.RunID)), c.options)
	if err != nil {
		return err
	}
	defer run.Close()
	_, err = run.Conclude(c.ctx())
	return err
}

// check holds what is stored against what the worker did.
func (c *crashing) check(died, resumed error) {
	c.t.Helper()
	c.checkHistory()
	stored := c.stored("artifacts/terminal.log")
	if limit := c.options.LogLimit; limit > 0 && int64(len(stored)) > limit {
		c.t.Errorf("the log has %d bytes, of at most %d", len(stored), limit)
	}
	switch completed := c.state() == schema.Completed; {
	case completed:
		if died != nil && resumed != nil && !errors.Is(resumed, agent.ErrCompleted) && !errors.Is(resumed, agent.ErrNotBegun) && !contains(resumed.Error(), "file does not exist") {
			c.t.Errorf("completed, and yet: %v", resumed)
		}
		result := c.result()
		if !result.Metadata.Success || fmt.Sprint(result.Result["exitCode"]) != "7" {
			c.t.Errorf("result.json is not what the worker said: %+v", result)
		}
		for name, want := range c.artifacts {
			if got := c.unpacked(name); got != want || result.Artifacts[name] == "" {
				c.t.Errorf("artifact %s: %.100q is stored, and result.json says %q", name, got, result.Artifacts[name])
			}
		}
		lost, _ := markedBytes(stored)
		if !c.log.equal(stored) || (lost > 0) != (c.options.LogLimit > 0) || (lost > 0) != (members(result, "incompleteLogs")["terminal.log"] != "") {
			c.t.Errorf("the log is not what the worker wrote: %d bytes of %d lines, %d marked as missing; %v", len(stored), c.lines, lost, result.Result)
		}
	case errors.Is(resumed, agent.ErrNoOutcome) && c.stored("artifacts/live/terminal.log/index.json") == nil:
		// Nobody has seen anything of the log.
	case errors.Is(resumed, agent.ErrNoOutcome):
		text, marker, found := bytes.Cut(stored, []byte("upload-agent: the agent ended unexpectedly here"))
		if !found || !bytes.HasSuffix(marker, []byte("is lost\n")) || c.log.beginning(text) >= 0 && c.log.beginning(bytes.TrimSuffix(text, []byte("\n"))) >= 0 {
			c.t.Errorf("the log of a run whose worker died has %d bytes and ends with %q", len(stored), stored[max(0, len(stored)-200):])
		}
	case errors.Is(resumed, agent.ErrNotBegun):
	case errors.As(resumed, new(*agent.StateError)) && contains(resumed.Error(), "file does not exist"):
		// A power cut before there was anything.
	default:
		c.t.Errorf("not completed: died of %v; resumed: %v", died, resumed)
	}
	for path, body := range c.disk.Files() {
		if contains(path, string(c.claim.Task())) {
			c.t.Errorf("left behind: %s", path)
		}
		if bytes.Contains(body, []byte("Signature=")) {
			c.t.Errorf("a signed URL is in %s", path)
		}
	}
}

// The process dies at each operation on its disk, or the machine does, and the next process goes on.
func TestKilledAtAnyMoment(t *testing.T) {
	for name, begin := range map[string]func(*crashing) *crashing{"whole": func(c *crashing) *crashing { return c }, "over its limit": (*crashing).overLimit} {
		whole := begin(newCrashing(t, 1))
		if err := whole.work(); err != nil {
			t.Fatal(err)
		}
		whole.check(nil, nil)
		for number := 1; number <= whole.disk.Ops(); number++ {
			for _, power := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/power=%v", name, number, power), func(t *testing.T) {
					t.Parallel()
					c := begin(newCrashing(t, uint64(number)))
					c.disk.Dead()
					c.disk.CrashAt(number)
					died := c.work()
					c.disk.Crash()
					resumed := c.resume(power)
					c.check(died, resumed)
				})
			}
		}
	}
}

// The disk fails at each operation, once or from then on: the run is completed truthfully, or there is an error
// that says what the disk did, and the next process ends the run when the disk works again.
func TestDiskFailsAtAnyMoment(t *testing.T) {
	whole := newCrashing(t, 1).overLimit()
	if err := whole.work(); err != nil {
		t.Fatal(err)
	}
	for number := 1; number <= whole.disk.Ops(); number++ {
		for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
			for _, forever := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/%v/forever=%v", number, errno, forever), func(t *testing.T) {
					t.Parallel()
					c := newCrashing(t, uint64(number))
					if c.careless = number%2 == 0; number%3 > 0 {
						c.overLimit()
					}
					c.disk.SetFaults(func(op disktest.Op) error {
						if op.Number == number || forever && op.Number > number {
							return &fs.PathError{Op: op.Name, Path: op.Path, Err: errno}
						}
						return nil
					})
					c.checkFault(c.work(), errno)
				})
			}
		}
	}
}

func (c *crashing) checkFault(failed error, errno syscall.Errno) {
	c.t.Helper()
	if failed != nil && c.state() != schema.Completed {
		if !errors.Is(failed, errno) {
			c.t.Errorf("the error does not say what the disk did: %v", failed)
		}
		c.disk.SetFaults(nil)
		resumed := c.resume(false)
		ended := resumed == nil || errors.Is(resumed, agent.ErrNoOutcome) || errors.Is(resumed, agent.ErrNotBegun) || contains(resumed.Error(), "file does not exist")
		if !ended && !contains(resumed.Error(), "the disk has failed under it") { // an fsync of the journal has failed
			c.t.Errorf("resumed: %v", resumed)
		}
	}
	c.checkHistory()
	if c.state() != schema.Completed {
		return
	}
	result := c.result()
	for name, want := range c.artifacts {
		if got := c.unpacked(name); got != want || result.Artifacts[name] == "" {
			c.t.Errorf("artifact %s: %.100q is stored, and result.json says %q", name, got, result.Artifacts[name])
		}
	}
	stored := c.stored("artifacts/terminal.log")
	_, whole := result.Artifacts["terminal.log"]
	reason, missing := c.missing()["terminal.log"]
	if whole == missing || whole && !c.log.equal(stored) || missing && !contains(fmt.Sprint(reason), "incomplete: ") {
		c.t.Errorf("the log has %d bytes of %d lines; named: %v; missing: %v", len(stored), c.lines, whole, reason)
	}
	lost, atLeast := markedBytes(stored)
	if incomplete := members(result, "incompleteLogs")["terminal.log"]; whole && (lost > 0 || atLeast) != (incomplete != "") {
		c.t.Errorf("%d bytes are marked as missing, and result.json says %q", lost, incomplete)
	}
}
