package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

const (
	readTime    = 15 * time.Second // for all that is shown of a task
	maxProblems = 5
	maxMissing  = 100

	maxPlain      = 8 // values of a result
	maxPlainBytes = 200
)

// readTask reads what there is of a task. What cannot be read is in the view; an error is only what keeps us from knowing
// whether there is such a task.
func (p *Page) readTask(ctx context.Context, id schema.TaskID) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	v := &view{logs: map[schema.RunID]map[string]string{}, results: map[schema.RunID]schema.Result{}}
	v.ID = id

	// In this order: what the queue says is then at most older than what is stored.
	var e evidence
	if p.o.Status != nil {
		if status, err := p.o.Status(ctx, id); err == nil {
			e.status = &status
		} else {
			p.o.Logger.Debug("ask for the status of a task", "taskId", id, "err", err)
		}
	}
	task, definition, err := readDocument[schema.Task](ctx, p.o.Storage, id, "task.json")
	resolution, resolved, _ := readDocument[schema.Resolution](ctx, p.o.Storage, id, "resolution.json")
	if err != nil && e.status == nil && resolution == nil {
		return nil, err
	}
	if resolution != nil {
		definition.explain(p.o.Storage.Gone(ctx, id, 0, "task.json", err))
	}
	v.Documents = []Document{definition, resolved}
	v.describe(task)
	e.resolution = resolution
	if task != nil {
		e.deadline = task.Deadline
	}
	runs, err := p.runs(ctx, id, e.status, resolution)
	if err != nil {
		return nil, err
	}
	e.ran = len(runs) > 0
	v.State = e.task(time.Now())
	if e.status != nil {
		v.Retries = e.status.Retries
		if v.State == Exception {
			v.Reason = string(e.status.Reason)
		}
		if v.State == Running {
			v.TakenUntil = e.status.TakenUntil
		}
	}
	for i, run := range runs {
		p.readRun(ctx, v, run, resolution != nil && resolution.RunID == run.RunID, func(stored bool) State { return e.run(run.RunID, i == len(runs)-1, stored, v.State) })
	}
	return v, nil
}

// describe takes over what task.json says; nil: nothing.
func (v *view) describe(task *schema.Task) {
	if task == nil {
		return
	}
	v.Name, v.Description = redact(task.Metadata.Name), redact(task.Metadata.Description)
	v.Owner, v.Source = redact(task.Metadata.Owner), shownURL(task.Metadata.Source)
	v.Created, v.Deadline = task.Created, task.Deadline
	v.ProvisionerID, v.WorkerType = task.ProvisionerID, task.WorkerType
	v.Priority, v.Routing, v.Retries = task.Priority, redact(task.Routing), task.Retries
	v.Tags = map[string]string{}
	for name, value := range task.Tags {
		v.Tags[redact(name)] = redact(value)
	}
}

// runs are the runs that the queue knows, or that have left something.
func (p *Page) runs(ctx context.Context, id schema.TaskID, status *schema.TaskStatus, resolution *schema.Resolution) ([]schema.Run, error) {
	if status != nil {
		return status.Runs, nil
	}
	ids, err := p.o.Storage.Runs(ctx, id)
	if resolution != nil && err == nil && !slices.Contains(ids, resolution.RunID) { // what it has left is gone
		ids = append(ids, resolution.RunID)
	}
	runs := make([]schema.Run, len(ids))
	for i, run := range ids {
		runs[i].RunID = run
	}
	return runs, err
}

// readRun adds a run to the view; resolved says that it is the one that counts.
func (p *Page) readRun(ctx context.Context, v *view, known schema.Run, resolved bool, state func(stored bool) State) {
	folder := fmt.Sprintf("runs/%d/", known.RunID)
	// The other way round than they are stored, so that there is never a result without its logs.
	result, ofResult, err := readDocument[schema.Result](ctx, p.o.Storage, v.ID, folder+"result.json")
	explain := func(d *Document, err error) {
		if resolved && errors.Is(err, queue.ErrNotFound) {
			d.explain(p.o.Storage.Gone(ctx, v.ID, known.RunID, d.Name, err))
		}
	}
	explain(&ofResult, err)
	logs, ofLogs, err := readDocument[schema.Logs](ctx, p.o.Storage, v.ID, folder+"logs.json")
	explain(&ofLogs, err)
	run := Run{ID: known.RunID, State: state(result != nil), Documents: []Document{ofLogs, ofResult}, Missing: []Missing{}, Logs: []Log{}, Result: map[string]string{}}
	worker := known.Worker
	missing := map[string]string{}
	if result != nil {
		worker = result.Metadata.Worker
		run.Started, run.Finished = result.Statistics.Started, result.Statistics.Finished
		missing, run.Result = missingIn(result.Result), plainValues(result.Result)
		v.results[run.ID], run.Artifacts = *result, len(result.Artifacts)
	}
	if worker.WorkerGroup != "" {
		run.Worker = worker.WorkerGroup + "/" + worker.WorkerID
	}
	if logs != nil {
		v.logs[run.ID] = logs.Logs
		run.Logs = logsOf(logs.Logs, missing)
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		if len(run.Missing) < maxMissing {
			run.Missing = append(run.Missing, Missing{redact(name), redact(missing[name])})
		}
	}
	run.MissingAll = len(missing)
	v.Runs = append(v.Runs, run)
}

// missingIn is what the result of a run says of artifacts that are not stored.
func missingIn(result map[string]any) map[string]string {
	missing := map[string]string{}
	listed, _ := result["missingArtifacts"].(map[string]any)
	for name, reason := range listed {
		missing[name] = fmt.Sprint(reason)
	}
	return missing
}

// plainValues are the short members of a result that are neither object nor list, such as exitCode.
func plainValues(result map[string]any) map[string]string {
	plain := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(result)) {
		switch value := result[name].(type) {
		case string, json.Number, bool:
			if text := fmt.Sprint(value); len(plain) < maxPlain && len(name)+len(text) < maxPlainBytes {
				plain[redact(name)] = redact(text)
			}
		}
	}
	return plain
}

// logsOf lists the logs that logs.json names: those that can be followed have a second name below live/.
func logsOf(urls, missing map[string]string) []Log {
	logs := []Log{}
	for _, name := range slices.Sorted(maps.Keys(urls)) {
		if of, live := strings.CutPrefix(name, livePrefix); live && urls[of] != "" {
			continue
		}
		_, live := urls[livePrefix+name]
		logs = append(logs, Log{Name: name, Live: live, Incomplete: redact(missing[name]), URL: shownURL(urls[name])})
	}
	return logs
}

// livePrefix is before the name of a log where logs.json has its index.
const livePrefix = "live/"

// readDocument reads a document and says what it is worth. doc is nil if it is not there or makes no sense. Only an error of the storage is an error.
func readDocument[T schema.Document](ctx context.Context, storage *queue.Storage, id schema.TaskID, name string) (doc *T, d Document, err error) {
	d = Document{Name: name[strings.LastIndexByte(name, '/')+1:], State: Absent, Problems: []string{}}
	data, err := storage.Document(ctx, id, name)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return nil, d, err
	case err != nil:
		d.State, d.Problems = Unreadable, []string{redact(err.Error())}
		return nil, d, err
	}
	d.Size = len(data)
	var zero T
	d.State, d.Problems, d.More = validity(zero.SchemaName(), data)
	if known, err := schema.DecodeLenient[T](d.Name, data); err == nil {
		doc = &known
	}
	return doc, d, nil
}

// explain says of a document that is not there that it was, if err knows that.
func (d *Document) explain(err error) {
	var gone *queue.GoneError
	if errors.As(err, &gone) {
		d.State, d.Problems = Gone, []string{redact(gone.Error())}
	}
}

// validity checks a document against its schema.
func validity(name string, data []byte) (state Validity, problems []string, more int) {
	problems = []string{}
	err := schema.Validate(name, "", data)
	var wrong *schema.Error
	switch {
	case err == nil:
		return Valid, problems, 0
	case !errors.As(err, &wrong):
		return Invalid, []string{redact(err.Error())}, 0
	}
	for i, problem := range wrong.Problems {
		if i == maxProblems {
			break
		}
		problems = append(problems, redact(problem.String()))
	}
	return Invalid, problems, len(wrong.Problems) - len(problems)
}
