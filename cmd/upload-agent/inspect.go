package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/cmd/internal/page"
	"github.com/taskcluster/upload-agent/schema"
)

// inspectTime bounds how long inspect looks for what a task has left.
const inspectTime = time.Minute

func inspectCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "print what a task has left in the task storage",
		UsageText: "upload-agent inspect [--storage URL] [--serve[=ADDR]] TASKID",
		Description: "Prints the task, its runs, their logs and artifacts, until when these are stored where that is known, and what is gone.\n" +
			"Signed URLs are redacted; the documents themselves have them.",
		Flags:  append([]cli.Flag{storageFlag(), serveFlag()}, logFlags()...),
		Action: func(ctx context.Context, cmd *cli.Command) error { return inspect(ctx, cmd, io) },
	}
}

func inspect(ctx context.Context, cmd *cli.Command, io *stdio) error {
	id := schema.TaskID(cmd.Args().First())
	if cmd.Args().Len() != 1 || !id.Valid() {
		return usageError(errors.New("inspect needs one TASKID: 22 characters of A-Z a-z 0-9 - _"))
	}
	storage, logger, err := io.storage(cmd)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	inspector, err := startInspector(ctx, cmd, page.Options{Storage: storage, Tasks: only(id)}, logger)
	if err != nil {
		return failure(err)
	}
	if inspector != nil {
		defer inspector.close()
		inspector.announce(io, "/tasks/"+string(id))
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()

	shown := &inspection{stdio: io, storage: storage, id: id}
	if err := shown.print(ctx); err != nil {
		return failure(err)
	}
	return nil
}

// only lists one task.
func only(id schema.TaskID) func(context.Context) ([]schema.TaskStatus, error) {
	return func(context.Context) ([]schema.TaskStatus, error) { return []schema.TaskStatus{{TaskID: id}}, nil }
}

// inspection prints one task.
type inspection struct {
	*stdio
	storage *queue.Storage
	id      schema.TaskID
}

func (p *inspection) print(ctx context.Context) error {
	task, err := p.storage.Task(ctx, p.id)
	if err != nil {
		err = p.storage.Gone(ctx, p.id, 0, "task.json", err)
	}
	switch {
	case errors.Is(err, queue.ErrGone):
		fmt.Fprintf(p.out, "task %s\n", p.id)
		p.printGone("task.json", err)
	case err != nil:
		return err
	default:
		fmt.Fprintf(p.out, "task %s: %s\n", p.id, printable(task.Metadata.Name))
		fmt.Fprintf(p.out, "  for %s/%s, owner %s\n", task.ProvisionerID, task.WorkerType, printable(task.Metadata.Owner))
		fmt.Fprintf(p.out, "  created %s, deadline %s\n", task.Created.Format(time.RFC3339), task.Deadline.Format(time.RFC3339))
	}
	resolution, err := p.storage.Resolution(ctx, p.id)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		fmt.Fprintln(p.out, "  not resolved, or failed: there is no resolution.json")
	case err != nil:
		return err
	default:
		fmt.Fprintf(p.out, "  %s by run %d, success %t\n", resolution.Status.State, resolution.RunID, resolution.Success)
	}
	runs, err := p.storage.Runs(ctx, p.id)
	if err != nil {
		return err
	}
	if resolution.Version != "" && !slices.Contains(runs, resolution.RunID) { // what it has left is gone
		runs = append(runs, resolution.RunID)
	}
	for _, run := range runs {
		if err := p.printRun(ctx, run, resolution.Version != "" && resolution.RunID == run); err != nil {
			return err
		}
	}
	return nil
}

func (p *inspection) printRun(ctx context.Context, run schema.RunID, completed bool) error {
	fmt.Fprintf(p.out, "run %d\n", run)
	logs, err := p.storage.Logs(ctx, p.id, run)
	err = p.storage.Gone(ctx, p.id, run, "logs.json", err)
	switch {
	case errors.Is(err, queue.ErrGone):
		p.printGone("logs.json", err)
	case errors.Is(err, queue.ErrNotFound):
		fmt.Fprintln(p.out, "  no logs.json yet")
	case err != nil:
		return err
	default:
		p.printURLs("log", logs.Logs, nil)
	}
	result, err := p.storage.Result(ctx, p.id, run)
	err = p.storage.Gone(ctx, p.id, run, "result.json", err)
	switch {
	case errors.Is(err, queue.ErrGone):
		p.printGone("result.json", err)
		return nil
	case errors.Is(err, queue.ErrNotFound) && completed:
		fmt.Fprintf(p.out, "  no result.json: %s\n", printable(err.Error()))
		return nil
	case errors.Is(err, queue.ErrNotFound):
		fmt.Fprintln(p.out, "  no result.json: the run is not completed")
		return nil
	case err != nil:
		return err
	}
	fmt.Fprintf(p.out, "  result: success %t, by %s/%s, took %s\n", result.Metadata.Success,
		result.Metadata.WorkerGroup, result.Metadata.WorkerID, formatDuration(result.Statistics.Finished.Sub(result.Statistics.Started)))
	p.printURLs("artifact", result.Artifacts, func(name string) time.Time { return schema.ExpiresAt(result, name) })
	missing, _ := result.Result["missingArtifacts"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		fmt.Fprintf(p.out, "  missing %s: %s\n", printable(name), printable(fmt.Sprint(missing[name])))
	}
	incomplete, _ := result.Result["incompleteLogs"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(incomplete)) {
		fmt.Fprintf(p.out, "  log %s is %s\n", printable(name), printable(fmt.Sprint(incomplete[name])))
	}
	return nil
}

// printURLs prints where something is, and until when, where that is known.
func (p *inspection) printURLs(what string, urls map[string]string, expires func(string) time.Time) {
	for _, name := range slices.Sorted(maps.Keys(urls)) {
		until := ""
		if expires != nil {
			until = lifeUntil(expires(name), p.storage.Now())
		}
		fmt.Fprintf(p.out, "  %s %s  %s%s\n", what, printable(name), printable(page.Redact(urls[name])), until) // one that is signed is a password
	}
}

// lifeUntil says until when an artifact is stored; nothing if that is not known.
func lifeUntil(end, now time.Time) string {
	switch {
	case end.IsZero():
		return ""
	case now.Before(end):
		return "  (expires " + end.Format(time.RFC3339) + ")"
	}
	return "  (expired " + end.Format(time.RFC3339) + ")"
}

// printGone says of a document that was stored why it cannot be read.
func (p *inspection) printGone(name string, err error) {
	var gone *queue.GoneError
	if errors.As(err, &gone) {
		fmt.Fprintf(p.out, "  no %s: %s\n", name, printable(gone.Error()))
	}
}
