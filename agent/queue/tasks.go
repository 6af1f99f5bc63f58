package queue

import (
	"context"
	"net/http"
	"strings"

	"github.com/taskcluster/upload-agent/schema"
)

// CreateTask posts a task: POST /task/new. After an answer was lost, the repeated call may post the task a second time;
// who cannot have that takes an id from DefineTasks, puts the task and calls Schedule, which may be repeated.
func (c *Client) CreateTask(ctx context.Context, t schema.Task) (schema.TaskStatus, error) {
	return c.status(ctx, c.post("create task", "", t, "task", "new"))
}

// DefineTasks reserves n task ids, each with a signed URL to put its task.json to: GET /define-tasks (with a body).
// Repeating it reserves other ids; unused ones do no harm.
func (c *Client) DefineTasks(ctx context.Context, n int) (schema.DefineTasksAnswer, error) {
	k := c.post("define tasks", "", schema.DefineTasksRequest{TasksRequested: n}, "define-tasks")
	k.method = http.MethodGet
	return fetch[schema.DefineTasksAnswer](ctx, c.caller, k)
}

// Schedule makes a defined task pending, once its task.json was put: POST /task/:id/schedule. Repeating it changes nothing.
func (c *Client) Schedule(ctx context.Context, id schema.TaskID) (schema.TaskStatus, error) {
	return c.status(ctx, c.post("schedule task", id, nil, "task", string(id), "schedule"))
}

// Status returns what the queue knows of a task: GET /task/:id/status. ErrNotFound: it does not know the task, or forgot it
// since it was resolved; see [Storage.Resolution]. The first queue answers 500, not 404, for an id that is not a slug.
func (c *Client) Status(ctx context.Context, id schema.TaskID) (schema.TaskStatus, error) {
	return c.status(ctx, c.get("get status of task", id, "task", string(id), "status"))
}

// Rerun makes a resolved task pending again: POST /task/:id/rerun. Repeating it changes nothing unless the task was resolved in between.
func (c *Client) Rerun(ctx context.Context, id schema.TaskID) (schema.TaskStatus, error) {
	return c.status(ctx, c.post("rerun task", id, nil, "task", string(id), "rerun"))
}

// AMQPConnectionString returns where the events are; it holds a password: GET /settings/amqp-connection-string.
func (c *Client) AMQPConnectionString(ctx context.Context) (schema.SignedURL, error) {
	answer, err := fetch[schema.AMQPAnswer](ctx, c.caller, c.get("get AMQP connection string", "", "settings", "amqp-connection-string"))
	return answer.URL, err
}

func (c *Client) status(ctx context.Context, k call) (schema.TaskStatus, error) {
	answer, err := fetch[schema.StatusAnswer](ctx, c.caller, k)
	return answer.Status, err
}

// get is a call without a body to the resource that the segments name.
func (c *Client) get(op string, id schema.TaskID, segments ...string) call {
	k := call{
		op: op, taskID: id, method: http.MethodGet, answer: "answer of the queue", refusal: refusal,
		url: address(c.base, segments...), header: http.Header{"Accept": {"application/json"}},
	}
	for _, s := range segments {
		if strings.Trim(s, ".") == "" { // it would name another resource
			k.bad = k.failed(ErrRejected)
			k.bad.Message = "a part of its address is empty or only dots"
		}
	}
	return k
}

// post is a call with a document as its body, or none.
func (c *Client) post(op string, id schema.TaskID, doc schema.Document, segments ...string) call {
	k := c.get(op, id, segments...)
	k.method = http.MethodPost
	if doc != nil {
		body, err := schema.Encode(doc)
		if err != nil && k.bad == nil {
			k.bad = k.failed(quiet(err))
		}
		k.body = body
	}
	return k
}
