package page

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

const (
	maxListed    = 200     // tasks in the list
	maxShown     = 1 << 20 // bytes of a document
	artifactPage = 100     // artifacts in an answer
	atOnce       = 8       // requests to the storage for one answer
	lookTime     = 10 * time.Second
)

// TaskList is the answer to /api/tasks.
type TaskList struct {
	Listed bool         `json:"listed"` // there is a list; else a task is found by its id
	All    int          `json:"all"`    // how many tasks there are
	Tasks  []ListedTask `json:"tasks"`  // at most maxListed, the newest first
}

// ListedTask is one task of the list.
type ListedTask struct {
	ID      schema.TaskID `json:"id"`
	Name    string        `json:"name"`
	State   State         `json:"state"`
	Reason  string        `json:"reason"`
	Worker  string        `json:"worker"` // what it is for: provisioner/type
	Created time.Time     `json:"created,omitzero"`
	Runs    int           `json:"runs"`
	Problem string        `json:"problem"` // why nothing is known of it
}

func (p *Page) serveTasks(w http.ResponseWriter, r *http.Request) {
	list := TaskList{Listed: p.o.Tasks != nil, Tasks: []ListedTask{}}
	if p.o.Tasks != nil {
		statuses, err := p.o.Tasks(r.Context())
		if err != nil {
			p.failed(w, r, err)
			return
		}
		list.All = len(statuses)
		statuses = slices.Clone(statuses[max(0, len(statuses)-maxListed):])
		slices.Reverse(statuses)
		list.Tasks = make([]ListedTask, len(statuses))
		inParallel(len(statuses), func(i int) { list.Tasks[i] = p.listed(r.Context(), statuses[i]) })
	}
	answer(w, http.StatusOK, list)
}

// listed is a line of the list.
func (p *Page) listed(ctx context.Context, status schema.TaskStatus) ListedTask {
	v, err := p.views.get(ctx, status.TaskID)
	if err != nil {
		return ListedTask{ID: status.TaskID, Problem: redact(err.Error()), Created: status.Created, State: evidence{status: &status}.task(time.Now())}
	}
	return ListedTask{
		ID: v.ID, Name: v.Name, State: v.State, Reason: v.Reason, Created: v.Created, Runs: len(v.Runs),
		Worker: strings.Trim(v.ProvisionerID+"/"+v.WorkerType, "/"),
	}
}

func (p *Page) serveTask(w http.ResponseWriter, r *http.Request) {
	if v, ok := p.taskOf(w, r); ok {
		answer(w, http.StatusOK, v.Task)
	}
}

// taskOf is the task that a request is for; if there is none, it is answered.
func (p *Page) taskOf(w http.ResponseWriter, r *http.Request) (*view, bool) {
	id := schema.TaskID(r.PathValue("id"))
	if !id.Valid() {
		refuse(w, http.StatusNotFound, "a task id is 22 characters of A-Z a-z 0-9 - _")
		return nil, false
	}
	v, err := p.views.get(r.Context(), id)
	if err != nil {
		p.failed(w, r, err)
		return nil, false
	}
	return v, true
}

// runOf is the run that a request is for; if there is none, it is answered.
func (p *Page) runOf(w http.ResponseWriter, r *http.Request) (*view, Run, bool) {
	v, ok := p.taskOf(w, r)
	if !ok {
		return nil, Run{}, false
	}
	number, err := strconv.ParseUint(r.PathValue("run"), 10, 31)
	run, found := v.run(schema.RunID(number))
	if err != nil || !found {
		refuse(w, http.StatusNotFound, "the task has no such run")
		return nil, Run{}, false
	}
	return v, run, true
}

// Text is a document to be read by people.
type Text struct {
	Text string `json:"text"` // indented if it is JSON; signed URLs are redacted
	Cut  bool   `json:"cut"`  // it is longer than what is shown
}

// documents are those that can be asked for, of a task and of a run.
var documents = map[bool][]string{false: {"task.json", "resolution.json"}, true: {"logs.json", "result.json"}}

func (p *Page) serveDocument(w http.ResponseWriter, r *http.Request) {
	id, run, name := schema.TaskID(r.PathValue("id")), r.PathValue("run"), r.PathValue("name")
	number, err := strconv.ParseUint("0"+run, 10, 31)
	if !id.Valid() || err != nil || !slices.Contains(documents[run != ""], name) {
		refuse(w, http.StatusNotFound, "there is no such document")
		return
	}
	if run != "" {
		name = fmt.Sprintf("runs/%d/%s", number, name)
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	data, err := p.o.Storage.Document(ctx, id, name)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	text := readable(data)
	cut := len(text) > maxShown
	if cut {
		text = strings.ToValidUTF8(text[:maxShown], "")
	}
	answer(w, http.StatusOK, Text{text, cut})
}

// Artifacts is a part of the artifacts of a run.
type Artifacts struct {
	All       int        `json:"all"`
	Artifacts []Artifact `json:"artifacts"` // by name
}

// Artifact is a stored artifact.
type Artifact struct {
	Name        string    `json:"name"`
	URL         URL       `json:"url"`
	Size        int64     `json:"size"` // -1: unknown
	ContentType string    `json:"contentType"`
	Problem     string    `json:"problem"`          // why it cannot be read
	Expires     time.Time `json:"expires,omitzero"` // when it will be gone, if result.json says so
}

func (p *Page) serveArtifacts(w http.ResponseWriter, r *http.Request) {
	v, run, ok := p.runOf(w, r)
	if !ok {
		return
	}
	result := v.results[run.ID]
	urls := result.Artifacts
	from, _ := strconv.Atoi(r.URL.Query().Get("from"))
	names := slices.Sorted(maps.Keys(urls))
	names = names[min(max(from, 0), len(names)):]
	names = names[:min(artifactPage, len(names))]
	all := Artifacts{All: len(urls), Artifacts: make([]Artifact, len(names))}
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	inParallel(len(names), func(i int) { all.Artifacts[i] = p.artifact(ctx, result, names[i], r.Host) })
	answer(w, http.StatusOK, all)
}

// artifact looks at an artifact. There is no link to what would be served by this very page.
func (p *Page) artifact(ctx context.Context, result schema.Result, name, host string) Artifact {
	rawURL := result.Artifacts[name]
	a := Artifact{Name: redact(name), URL: shownURL(rawURL), Size: -1, Expires: schema.ExpiresAt(result, name)}
	if u, err := url.Parse(rawURL); err != nil || u.Host == host {
		a.URL.Link = false
	}
	object, err := p.o.Storage.Open(ctx, rawURL)
	if err != nil {
		a.Problem = redact(p.o.Storage.GoneArtifact(result, name, err).Error())
		return a
	}
	defer object.Close()
	a.Size, a.ContentType = object.Size, redact(object.ContentType)
	return a
}

// inParallel calls f for 0 to n-1, some at once.
func inParallel(n int, f func(int)) {
	var wait sync.WaitGroup
	next := make(chan int)
	for range min(n, atOnce) {
		wait.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wait.Wait()
}
