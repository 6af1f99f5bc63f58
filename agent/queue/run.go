package queue

import (
	"context"

	"github.com/taskcluster/upload-agent/schema"
)

// ArtifactURLs asks for signed URLs for artifacts of a run: POST /task/:id/artifact-urls. Repeating it only makes new URLs.
// One name that the queue cannot put into a URL makes the first queue answer 500 for all of them. So the third 500 in a row
// is returned, as ErrUnavailable: ask again for fewer. ErrNotFound (404 or 409): the task is unknown or resolved.
//
// A queue whose answers hold a [schema.MultipartOffer] may be asked for parts, with a [schema.MultipartRequest]; any other refuses the whole
// request (ErrRejected). Repeated without an upload id, that starts another upload; the queue ends those of a run with the run.
func (c *Client) ArtifactURLs(ctx context.Context, id schema.TaskID, r schema.ArtifactURLsRequest) (schema.ArtifactURLsAnswer, error) {
	k := c.post("get artifact URLs of task", id, r, "task", string(id), "artifact-urls")
	k.refusal, k.incidents = refusalOfTaken, 3
	return fetch[schema.ArtifactURLsAnswer](ctx, c.caller, k)
}

// Completed reports a run completed: POST /task/:id/completed. Its result.json and logs.json must be stored by then.
// ErrNotFound (404 or 409): the task is unknown, or it was completed before, perhaps by this very call where [Error].MaybeDone
// is set, or by an earlier process. [Storage.CompletedBy] and Status tell.
func (c *Client) Completed(ctx context.Context, id schema.TaskID, r schema.CompletedRequest) (schema.TaskStatus, error) {
	k := c.post("report completed task", id, r, "task", string(id), "completed")
	k.refusal = refusalOfTaken
	return c.status(ctx, k)
}
