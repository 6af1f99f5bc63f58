package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// target is what tail is asked to print: a URL, or a log of a run of a task.
type target struct {
	url    string
	taskID schema.TaskID
	runID  schema.RunID // latest: whichever that is
	log    string

	storage *queue.Storage
	queue   *queue.Client // nil: only the storage is known
	notice  io.Writer     // told once that there is no log yet
}

const latest schema.RunID = -1

func parseTarget(arg string) (target, error) {
	if strings.Contains(arg, "://") {
		u, err := url.Parse(arg)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return target{}, errors.New("tail takes http and https URLs")
		}
		return target{url: arg}, nil
	}
	id, rest, _ := strings.Cut(arg, "/")
	t := target{taskID: schema.TaskID(id), runID: latest, log: agent.DefaultLog}
	if !t.taskID.Valid() {
		return t, fmt.Errorf("tail %q: a taskId is 22 characters of A-Z a-z 0-9 - _", arg)
	}
	if rest == "" {
		return t, nil
	}
	number, log, named := strings.Cut(rest, "/")
	run, err := strconv.ParseUint(number, 10, 10)
	if err != nil || run > 1000 {
		return t, fmt.Errorf("tail %q: run %q is not a number from 0 to 1000", arg, number)
	}
	t.runID = schema.RunID(run)
	if named {
		t.log = log
		if err := schema.ArtifactName(log); err != nil {
			return t, fmt.Errorf("tail %q: %w", arg, err)
		}
	}
	return t, nil
}

// place is where a log is read.
type place struct {
	url   string
	index bool         // url is that of its index
	link  string       // to its worker, while it is written; "" if there is none
	runID schema.RunID // whose log it is; latest if that is not known
}

// place finds the log. With wait it waits for it, for as long as it may still be declared.
func (t target) place(ctx context.Context, wait bool) (place, error) {
	if t.url != "" {
		u, err := url.Parse(t.url)
		return place{url: t.url, runID: latest, index: err == nil && strings.HasSuffix(u.Path, "/index.json")}, nil
	}
	poll := time.NewTicker(time.Second)
	defer poll.Stop()
	for first := true; ; first = false {
		var over error
		if wait {
			over = t.over(ctx, t.runID) // in this order: what is not there after the end will never be
		}
		p, err := t.find(ctx)
		if notYet := (*notYetError)(nil); !wait || !errors.As(err, &notYet) {
			return p, err
		}
		if over != nil {
			return p, fmt.Errorf("%w; and never will: %w", err, over)
		}
		if first {
			fmt.Fprintf(t.notice, "upload-agent: waiting: %s\n", printable(err.Error()))
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return p, err
		}
	}
}

// notYetError says that a log is not declared, and may still be.
type notYetError struct{ text string }

func (e *notYetError) Error() string { return e.text }

// find looks the log up in logs.json: its live form, if it is declared with one.
func (t target) find(ctx context.Context) (place, error) {
	p := place{runID: t.runID}
	if p.runID == latest {
		runs, err := t.storage.Runs(ctx, t.taskID)
		if err != nil {
			return p, err
		}
		if len(runs) == 0 { // unless what they have left is gone
			resolution, err := t.storage.Resolution(ctx, t.taskID)
			if err != nil {
				return p, t.notYet(ctx, "no run of task %s has declared logs", t.taskID)
			}
			runs = append(runs, resolution.RunID)
		}
		p.runID = runs[len(runs)-1]
	}
	logs, err := t.storage.Logs(ctx, t.taskID, p.runID)
	err = t.storage.Gone(ctx, t.taskID, p.runID, "logs.json", err)
	if errors.Is(err, queue.ErrNotFound) && !errors.Is(err, queue.ErrGone) {
		return p, t.notYet(ctx, "run %d of task %s has declared no logs", p.runID, t.taskID)
	}
	if err != nil {
		return p, err
	}
	p.link = logs.Logs["stream/"+t.log]
	if p.url, p.index = logs.Logs["live/"+t.log]; p.index {
		return p, nil
	}
	var ok bool
	if p.url, ok = logs.Logs[t.log]; ok {
		return p, nil
	}
	names := make([]string, 0, len(logs.Logs))
	for name := range logs.Logs {
		names = append(names, printable(name))
	}
	slices.Sort(names)
	return p, t.notYet(ctx, "run %d of task %s has no log %q; it has: %s", p.runID, t.taskID, t.log, strings.Join(names, ", "))
}

// gone says of the log of a run that could not be read that it is gone, if that is known; otherwise err is all that can be said.
func (t target) gone(ctx context.Context, at place, err error) error {
	unread := errors.Is(err, livelog.ErrNotYet) || errors.Is(err, livelog.ErrMissing) || errors.Is(err, livelog.ErrUnfinished)
	if !unread || t.url != "" || at.runID == latest {
		return err
	}
	object, answer := t.storage.Open(ctx, at.url)
	if answer == nil {
		return errors.Join(err, object.Close())
	}
	if answer = t.storage.Gone(ctx, t.taskID, at.runID, "artifacts/"+t.log, answer); errors.Is(answer, queue.ErrGone) {
		return answer
	}
	return err
}

// notYet is such an error, if there is such a task at all.
func (t target) notYet(ctx context.Context, format string, args ...any) error {
	if _, err := t.storage.Task(ctx, t.taskID); err != nil {
		return err
	}
	return &notYetError{fmt.Sprintf(format, args...)}
}

// clocks is by how much the clock of who reads may be wrong.
const clocks = time.Hour

// over says why nobody writes the logs of a run any more; nil if somebody may, or if that cannot be found out just now.
// For the latest run, whichever that is, it says why there will be no later one.
func (t target) over(ctx context.Context, run schema.RunID) error {
	switch resolution, err := t.storage.Resolution(ctx, t.taskID); {
	case err == nil:
		return fmt.Errorf("the task was resolved by run %d", resolution.RunID)
	case !errors.Is(err, queue.ErrNotFound):
		return nil
	}
	if runs, err := t.storage.Runs(ctx, t.taskID); err == nil && run != latest && len(runs) > 0 && runs[len(runs)-1] > run {
		return fmt.Errorf("run %d has begun after it", runs[len(runs)-1])
	}
	if task, err := t.storage.Task(ctx, t.taskID); err == nil && time.Since(task.Deadline) > clocks {
		return fmt.Errorf("the task's deadline was %s", task.Deadline.Format(time.RFC3339))
	}
	if t.queue == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // a queue that is down says nothing
	defer cancel()
	status, err := t.queue.Status(ctx, t.taskID)
	if err != nil {
		return nil
	}
	running := latest
	if n := len(status.Runs); n > 0 {
		running = status.Runs[n-1].RunID
	}
	switch {
	case status.State == schema.Completed || status.State == schema.Failed:
		return fmt.Errorf("the task is %s (%s)", status.State, status.Reason)
	case run != latest && running > run:
		return fmt.Errorf("run %d has begun after it", running)
	case run != latest && running == run && status.State == schema.Pending:
		return errors.New("its worker has lost the claim")
	}
	return nil
}
