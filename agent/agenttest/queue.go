package agenttest

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// queue is the state machine of the tasks. It knows nothing of HTTP. Whatever it publishes is published
// under its lock, after the change: who hears of it and asks, gets the new state.
type queue struct {
	quirks      quirks
	claimLength time.Duration // 0: the task's timeout
	now         func() time.Time
	readURL     func(key string) string
	objects     objects
	events      *broker
	order       *order
	logger      *slog.Logger
	changed     chan struct{} // holds one token when a deadline may have come nearer

	mu    sync.Mutex
	tasks map[schema.TaskID]*task
	all   []*task // in the order of their posting

	claims int               // how many there were, claim-work's not counted
	latest schema.TaskStatus // before the latest of them
}

type task struct {
	status  schema.TaskStatus
	retries int           // as posted; a rerun gives them back
	claim   time.Duration // its length
	chokes  bool          // the queue can say nothing of it any more: see quirks.afterClaim
}

// claimed is what a claim or a reclaim has led to.
type claimed struct {
	task  schema.TaskID
	run   schema.RunID
	until time.Time         // takenUntil
	told  schema.TaskStatus // in the answer
}

var (
	errUnknownTask = errors.New("no such task")
	errNotOwned    = errors.New("the run is not claimed by this worker")
	errTaken       = errors.New("the task is already taken or resolved")
	errChoked      = errors.New("the task was posted with retries: 0, and has been claimed")
)

// epoch is the takenUntil of a task that nobody has taken.
var epoch = time.Unix(0, 0).UTC()

func newQueue(s *Server) *queue {
	return &queue{
		quirks: quirks(s.options.Quirks2014), claimLength: s.options.ClaimLength, now: s.options.Clock, readURL: s.readURL,
		objects: s.objects, events: s.events, order: s.order, logger: s.logger,
		changed: make(chan struct{}, 1), tasks: map[schema.TaskID]*task{},
	}
}

// runPath is the folder of a run in the storage, with a slash at the end.
func runPath(id schema.TaskID, run schema.RunID) string { return fmt.Sprintf("%s/runs/%d/", id, run) }

// add makes a pending task. Its definition, as posted, is stored before anyone can see the task.
func (q *queue) add(id schema.TaskID, def schema.Task, definition []byte) (schema.TaskStatus, error) {
	if err := q.objects.write(string(id)+"/task.json", definition, "application/json"); err != nil {
		return schema.TaskStatus{}, err
	}
	return q.schedule(id, def), nil
}

// schedule makes a pending task whose definition is stored; a task that is known already stays as it is.
func (q *queue) schedule(id schema.TaskID, def schema.Task) schema.TaskStatus {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t, ok := q.tasks[id]; ok {
		return t.snapshot()
	}
	t := &task{
		retries: def.Retries,
		status: schema.TaskStatus{
			TaskID: id, ProvisionerID: def.ProvisionerID, WorkerType: def.WorkerType,
			Runs: []schema.Run{}, State: schema.Pending, Reason: schema.ReasonNone,
			Routing: def.Routing, Timeout: def.Timeout, Retries: def.Retries, Priority: def.Priority,
			Created: def.Created, Deadline: def.Deadline, TakenUntil: epoch,
		},
	}
	q.tasks[id] = t
	q.all = append(q.all, t)
	q.publishPending(t)
	q.nudge()
	return t.snapshot()
}

// claimsSoFar is for the claim that arrives now.
func (q *queue) claimsSoFar() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.claims
}

// claim starts a new run of a pending task. The request has arrived after so many claims.
func (q *queue) claim(id schema.TaskID, w schema.Worker, arrivedAfter int) (claimed, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, err := q.find(id)
	if err != nil {
		return claimed{}, err
	}
	if t.status.State != schema.Pending {
		return claimed{}, errTaken
	}
	var other *schema.TaskStatus
	if latest := q.latest; q.claims > arrivedAfter {
		other = &latest
	}
	before := t.snapshot()
	q.claims, q.latest = q.claims+1, before
	c := q.start(t, w)
	q.publishRunning(c, q.quirks.told(before, c.told, nil), w)
	c.told = q.quirks.told(before, c.told, other)
	return c, nil
}

// claimWork claims the most urgent pending task, the oldest of several.
func (q *queue) claimWork(provisionerID, workerType string, w schema.Worker) (c claimed, found bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sweep(q.now())
	var candidates []*task
	for _, t := range q.all {
		if s := &t.status; s.State == schema.Pending && s.ProvisionerID == provisionerID && s.WorkerType == workerType {
			candidates = append(candidates, t)
		}
	}
	if len(candidates) == 0 {
		return claimed{}, false
	}
	// MinFunc gives the first of equals, and candidates are in the order of posting.
	t := slices.MinFunc(candidates, func(a, b *task) int { return cmp.Compare(b.status.Priority, a.status.Priority) })
	c = q.start(t, w)
	q.publishRunning(c, c.told, w)
	return c, true
}

// start begins a run; q.mu is held.
func (q *queue) start(t *task, w schema.Worker) claimed {
	run := schema.Run{RunID: q.quirks.firstRun() + schema.RunID(len(t.status.Runs)), Worker: w}
	t.status.Runs = append(t.status.Runs, run)
	t.status.State, t.status.Reason = schema.Running, schema.ReasonNone
	t.status.Retries, t.chokes = q.quirks.afterClaim(t.status.Retries)
	return q.extend(t, run.RunID)
}

func (q *queue) publishRunning(c claimed, status schema.TaskStatus, w schema.Worker) {
	q.publish("running", schema.RunningMessage{
		Version: schema.Version, Status: status, RunID: c.run,
		LogsURL: q.readURL(runPath(c.task, c.run) + "logs.json"), Worker: w,
	}, status, &schema.Run{RunID: c.run, Worker: w})
}

// extend lets the claim last for its full length from now; q.mu is held.
func (q *queue) extend(t *task, run schema.RunID) claimed {
	t.claim = q.claimLength
	if t.claim == 0 {
		t.claim = time.Duration(t.status.Timeout) * time.Second
	}
	t.status.TakenUntil = schema.Timestamp(q.now().Add(t.claim))
	q.order.extended(t.status.TaskID, run, t.status.TakenUntil)
	q.nudge()
	return claimed{task: t.status.TaskID, run: run, until: t.status.TakenUntil, told: t.snapshot()}
}

// reclaim extends the claim of the worker that owns the run.
func (q *queue) reclaim(id schema.TaskID, run schema.RunID, w schema.Worker) (claimed, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, err := q.allowed(id, run, w, q.quirks.mayAct)
	if err != nil {
		return claimed{}, err
	}
	return q.extend(t, run), nil
}

// check gives the status if the worker may store artifacts of the run.
func (q *queue) check(id schema.TaskID, run schema.RunID, w schema.Worker) (schema.TaskStatus, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, err := q.allowed(id, run, w, q.quirks.mayStore)
	if err != nil {
		return schema.TaskStatus{}, err
	}
	return t.snapshot(), nil
}

// complete resolves a task: resolution.json is stored before the state changes, and the event comes last.
func (q *queue) complete(id schema.TaskID, r schema.CompletedRequest) (schema.TaskStatus, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, err := q.allowed(id, r.RunID, r.Worker, q.quirks.mayAct)
	if err != nil {
		return schema.TaskStatus{}, err
	}
	status := t.snapshot()
	status.State, status.Reason = schema.Completed, schema.ReasonNone
	folder := runPath(id, r.RunID)
	resolution := schema.Resolution{
		Version: schema.Version, Status: status, RunID: r.RunID, Success: r.Success,
		ResultURL: q.readURL(folder + "result.json"), LogsURL: q.readURL(folder + "logs.json"), Worker: r.Worker,
	}
	data, err := schema.Encode(resolution)
	if err != nil {
		return schema.TaskStatus{}, err
	}
	if err := q.objects.write(string(id)+"/resolution.json", data, "application/json"); err != nil {
		return schema.TaskStatus{}, err
	}
	t.status.State, t.status.Reason = status.State, status.Reason
	q.order.accepted(id, r.RunID)
	q.endUploads(id, r.RunID)
	q.publish("completed", schema.CompletedMessage(resolution), status, &schema.Run{RunID: r.RunID, Worker: r.Worker})
	return status, nil
}

// endUploads throws away what was uploaded in parts and never put together: the run is over. q.mu is held.
func (q *queue) endUploads(id schema.TaskID, run schema.RunID) {
	if err := q.objects.abortBelow(runPath(id, run)); err != nil {
		q.logger.Error("uploads not aborted", "task", string(id), "err", err)
	}
}

// rerun makes a resolved task pending again, with all its retries; any other task stays as it is.
func (q *queue) rerun(id schema.TaskID) (schema.TaskStatus, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, err := q.find(id)
	if err != nil {
		return schema.TaskStatus{}, err
	}
	if t.status.State == schema.Completed || t.status.State == schema.Failed {
		t.status.State, t.status.Reason = schema.Pending, schema.ReasonRerunRequested
		t.status.Retries, t.status.TakenUntil = t.retries, epoch
		q.publishPending(t)
		q.nudge()
	}
	return t.snapshot(), nil
}

func (q *queue) lose(id schema.TaskID) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, err := q.find(id)
	if err != nil {
		return err
	}
	if t.status.State != schema.Running {
		return fmt.Errorf("the task is %s, not running", t.status.State)
	}
	q.takeAway(t)
	return nil
}

func (q *queue) status(id schema.TaskID) (schema.TaskStatus, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, err := q.find(id)
	if err != nil {
		return schema.TaskStatus{}, err
	}
	return t.snapshot(), nil
}

func (q *queue) pending(provisionerID string) []schema.TaskStatus {
	return q.list(func(s schema.TaskStatus) bool { return s.State == schema.Pending && s.ProvisionerID == provisionerID })
}

// list gives the tasks that are wanted, in the order of their posting.
func (q *queue) list(wanted func(schema.TaskStatus) bool) []schema.TaskStatus {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sweep(q.now())
	statuses := []schema.TaskStatus{}
	for _, t := range q.all {
		if wanted(t.status) {
			statuses = append(statuses, t.snapshot())
		}
	}
	return statuses
}

// find gives a task as it stands now: what has expired is taken away first. q.mu is held.
func (q *queue) find(id schema.TaskID) (*task, error) {
	t, ok := q.tasks[id]
	if !ok {
		return nil, errUnknownTask
	}
	q.expire(t, q.now())
	if t.chokes {
		return nil, errChoked
	}
	return t, nil
}

// allowed is find for a worker that may do something with a run; q.mu is held.
func (q *queue) allowed(id schema.TaskID, run schema.RunID, w schema.Worker, may func(schema.TaskStatus, schema.Run) bool) (*task, error) {
	t, err := q.find(id)
	if err != nil {
		return nil, err
	}
	if !may(t.status, schema.Run{RunID: run, Worker: w}) {
		return nil, errNotOwned
	}
	return t, nil
}

// run is the latest run, nil for none.
func (t *task) run() *schema.Run {
	if len(t.status.Runs) == 0 {
		return nil
	}
	return &t.status.Runs[len(t.status.Runs)-1]
}

// snapshot is a copy that later changes leave alone.
func (t *task) snapshot() schema.TaskStatus {
	s := t.status
	s.Runs = append([]schema.Run{}, s.Runs...)
	return s
}
