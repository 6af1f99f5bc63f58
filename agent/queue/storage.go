package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/taskcluster/upload-agent/schema"
)

const (
	maxRunID = 1000 // of the queue's schemas
	maxHole  = 2    // runs in a row that may have left nothing
)

// A Storage reads the task storage, as anybody may. What is not there is ErrNotFound, whether it says 404
// or, as S3 does to those who may not list, 403; [Error].Status tells which.
type Storage struct{ *caller }

// NewStorage returns a reader of the task storage at baseURL, "https://tasks.taskcluster.net" for one.
// It does not connect. The error is a [*URLError].
func NewStorage(baseURL string, o Options) (*Storage, error) {
	base, err := checkBase("storage", "https://tasks.taskcluster.net", baseURL)
	if err != nil {
		return nil, err
	}
	return &Storage{newCaller(base, storageHops, o)}, nil
}

// Task reads task.json: the task as it was posted.
func (s *Storage) Task(ctx context.Context, id schema.TaskID) (schema.Task, error) {
	return fetch[schema.Task](ctx, s.caller, s.doc(id, "task.json"))
}

// Logs reads the logs.json of a run. The URLs in it may change while the run lasts, and those of a dead worker may never answer.
func (s *Storage) Logs(ctx context.Context, id schema.TaskID, run schema.RunID) (schema.Logs, error) {
	return fetch[schema.Logs](ctx, s.caller, s.doc(id, ofRun(run, "logs.json")...))
}

// Result reads the result.json of a run. ErrNotFound: the run is not completed, or never will be.
func (s *Storage) Result(ctx context.Context, id schema.TaskID, run schema.RunID) (schema.Result, error) {
	return fetch[schema.Result](ctx, s.caller, s.doc(id, ofRun(run, "result.json")...))
}

// Resolution reads resolution.json. ErrNotFound: the task is not resolved, or it failed; failed tasks leave none.
func (s *Storage) Resolution(ctx context.Context, id schema.TaskID) (schema.Resolution, error) {
	return fetch[schema.Resolution](ctx, s.caller, s.doc(id, "resolution.json"))
}

// Document reads a document of a task as it is stored, whatever it says: name is "task.json", "resolution.json", or
// "runs/0/logs.json". For those who show or check documents; an answer of more than [schema.MaxBytes] is ErrTooLarge.
func (s *Storage) Document(ctx context.Context, id schema.TaskID, name string) ([]byte, error) {
	var document []byte
	err := s.document(ctx, s.doc(id, strings.Split(name, "/")...), func(data []byte) error {
		document = data
		return nil
	})
	return document, err
}

// CompletedBy answers the question that a 404 to [Client.Completed] leaves: is the task resolved by this run of this worker?
// known is false where there is no resolution.json (yet).
func (s *Storage) CompletedBy(ctx context.Context, id schema.TaskID, run schema.RunID, w schema.Worker) (yes, known bool, err error) {
	r, err := s.Resolution(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, false, nil
	case err != nil:
		return false, false, err
	}
	return r.RunID == run && r.Worker == w, true, nil
}

// Runs returns the runs of a task that left a logs.json or a result.json, in order, by looking for them from run 0 upwards.
// Queues have counted from 0 and from 1, and a worker may die before it stored anything: the search goes on past
// two missing runs in a row, and ends with the third. A task without any run is an empty list, not an error.
func (s *Storage) Runs(ctx context.Context, id schema.TaskID) ([]schema.RunID, error) {
	var runs []schema.RunID
	for run, missing := schema.RunID(0), 0; missing <= maxHole && run <= maxRunID; run++ {
		found, err := s.exists(ctx, s.doc(id, ofRun(run, "logs.json")...))
		if err == nil && !found {
			found, err = s.exists(ctx, s.doc(id, ofRun(run, "result.json")...))
		}
		if err != nil {
			return nil, err
		}
		if found {
			runs, missing = append(runs, run), 0
		} else {
			missing++
		}
	}
	return runs, nil
}

// exists reports whether there is a document, whatever it says. It makes a GET: a HEAD would do for a storage,
// but not for every signed URL it may redirect to.
func (s *Storage) exists(ctx context.Context, k call) (bool, error) {
	err := s.document(ctx, k, func(data []byte) error {
		if !json.Valid(data) {
			return fmt.Errorf("%s: want JSON", k.answer)
		}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func ofRun(run schema.RunID, name string) []string {
	return []string{"runs", strconv.Itoa(int(run)), name}
}

// doc is the call that reads a document of a task.
func (s *Storage) doc(id schema.TaskID, segments ...string) call {
	segments = append([]string{string(id)}, segments...)
	name := path.Join(segments...)
	k := call{
		op: "read", taskID: id, object: name, method: http.MethodGet, answer: name, refusal: refusalOfObject,
		url: address(s.base, segments...), header: http.Header{"Accept": {"application/json"}, "Cache-Control": {"no-cache"}}, // a cache may hold that it is not there
	}
	if !id.Valid() {
		k.bad = k.failed(fmt.Errorf("%w: %q is not a task id: want 22 of A-Z, a-z, 0-9, - and _", ErrNotFound, abbreviate(string(id), 40)))
	}
	return k
}
