package page

import (
	"context"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Task is a task as the API tells it.
type Task struct {
	ID            schema.TaskID     `json:"id"`
	Name          string            `json:"name"`
	Description   string            `json:"description"`
	Owner         string            `json:"owner"`
	Source        URL               `json:"source"`
	State         State             `json:"state"`
	Reason        string            `json:"reason"` // of the queue, for an exception
	Created       time.Time         `json:"created,omitzero"`
	Deadline      time.Time         `json:"deadline,omitzero"`
	TakenUntil    time.Time         `json:"takenUntil,omitzero"` // of a running task, if the queue says so
	ProvisionerID string            `json:"provisionerId"`
	WorkerType    string            `json:"workerType"`
	Priority      float64           `json:"priority"`
	Routing       string            `json:"routing"`
	Retries       int               `json:"retries"` // left, if the queue says so
	Tags          map[string]string `json:"tags"`
	Documents     []Document        `json:"documents"`
	Runs          []Run             `json:"runs"` // in order
}

// URL is a URL to show, and whether it may be a link.
type URL struct {
	Text string `json:"text"` // redacted if it is signed
	Link bool   `json:"link"`
}

func shownURL(raw string) URL { return URL{redact(raw), linkable(raw)} }

// Run is a run of a task.
type Run struct {
	ID         schema.RunID      `json:"id"`
	State      State             `json:"state"`
	Worker     string            `json:"worker"` // group/id, if it is known
	Started    time.Time         `json:"started,omitzero"`
	Finished   time.Time         `json:"finished,omitzero"`
	Result     map[string]string `json:"result"` // what the worker says in a few words: the plain values of its part of result.json
	Logs       []Log             `json:"logs"`   // by name
	Artifacts  int               `json:"artifacts"`
	Missing    []Missing         `json:"missing"`    // at most maxMissing of those below, by name
	MissingAll int               `json:"missingAll"` // how many artifacts are missing
	Documents  []Document        `json:"documents"`
}

// Log is a log of a run.
type Log struct {
	Name       string `json:"name"`
	Live       bool   `json:"live"`       // it can be followed
	Incomplete string `json:"incomplete"` // why it is not all there; "" if it is, or nobody knows yet
	URL        URL    `json:"url"`        // of its text
}

// Missing is an artifact that could not be stored.
type Missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Document is the state of a document.
type Document struct {
	Name     string   `json:"name"`
	State    Validity `json:"state"`
	Size     int      `json:"size"`
	Problems []string `json:"problems"` // at most maxProblems of those that a schema found; of an unreadable one, why
	More     int      `json:"more"`     // problems that are not listed
}

// Validity is what became of reading a document.
type Validity string

// The validities.
const (
	Absent     Validity = "absent"
	Valid      Validity = "valid"
	Invalid    Validity = "invalid"
	Unreadable Validity = "unreadable"
	Gone       Validity = "gone" // it was stored once; Problems says what is known of that
)

// view is a task with what stays on this side.
type view struct {
	Task
	logs    map[schema.RunID]map[string]string // as logs.json has them
	results map[schema.RunID]schema.Result     // as result.json has them
}

// run finds a run of the task.
func (v *view) run(id schema.RunID) (Run, bool) {
	for _, run := range v.Runs {
		if run.ID == id {
			return run, true
		}
	}
	return Run{}, false
}

const (
	fresh    = 500 * time.Millisecond // for so long a view is not read anew, however many browsers look
	maxViews = 500
)

// views remembers what was read of tasks for a moment.
type views struct {
	read func(context.Context, schema.TaskID) (*view, error)

	mu    sync.Mutex
	known map[schema.TaskID]*remembered
}

type remembered struct {
	mu   sync.Mutex // held while it is read, so that it is read once
	at   time.Time
	view *view
}

// get gives a task as it was a moment ago, or is now.
func (vs *views) get(ctx context.Context, id schema.TaskID) (*view, error) {
	vs.mu.Lock()
	one := vs.known[id]
	if one == nil {
		if vs.known == nil || len(vs.known) >= maxViews {
			vs.known = map[schema.TaskID]*remembered{}
		}
		one = new(remembered)
		vs.known[id] = one
	}
	vs.mu.Unlock()

	one.mu.Lock()
	defer one.mu.Unlock()
	if one.view != nil && time.Since(one.at) < fresh {
		return one.view, nil
	}
	v, err := vs.read(ctx, id)
	if err != nil {
		return nil, err
	}
	one.view, one.at = v, time.Now()
	return v, nil
}
