package queue

import (
	"context"
	"errors"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Claim claims a pending task for w: POST /task/:id/claim. ErrNotFound: it is taken, resolved, or unknown.
//
// Where the answer to an earlier attempt was lost and the queue says that the task is taken, the taker may be w.
// Claim then looks at the task's status, and if its last run belongs to w it reclaims that run and returns it.
//
// The claim's TaskID is id. Its Status is as the queue sent it, which may be the status from before the claim, or even
// another task's; see [TakenUntil].
func (c *Client) Claim(ctx context.Context, id schema.TaskID, w schema.Worker) (schema.Claim, error) {
	claim, err := c.claim(ctx, "claim task", id, schema.ClaimRequest{Worker: w})
	var e *Error
	if !errors.As(err, &e) || !e.MaybeDone || !errors.Is(e, ErrNotFound) {
		return claim, err
	}
	status, serr := c.Status(ctx, id)
	if errors.Is(serr, ErrNotFound) {
		return schema.Claim{}, err
	}
	if serr != nil {
		return schema.Claim{}, serr
	}
	if status.TaskID != id || status.State != schema.Running || len(status.Runs) == 0 {
		return schema.Claim{}, err
	}
	last := status.Runs[len(status.Runs)-1]
	if last.Worker != w {
		return schema.Claim{}, err
	}
	return c.Reclaim(ctx, id, last.RunID, w)
}

// Reclaim extends the claim of a run and returns it with fresh signed URLs: POST /task/:id/claim with a runId.
// ErrNotFound (404 or 409): the claim is lost. Repeating it does no harm. The first queue does not check whose run it is.
func (c *Client) Reclaim(ctx context.Context, id schema.TaskID, run schema.RunID, w schema.Worker) (schema.Claim, error) {
	return c.claim(ctx, "reclaim task", id, schema.ClaimRequest{Worker: w, RunID: &run})
}

func (c *Client) claim(ctx context.Context, op string, id schema.TaskID, r schema.ClaimRequest) (schema.Claim, error) {
	k := c.post(op, id, r, "task", string(id), "claim")
	k.refusal = refusalOfTaken
	answer, err := fetch[schema.ClaimAnswer](ctx, c.caller, k)
	if err != nil {
		return schema.Claim{}, err
	}
	return schema.Claim{ClaimAnswer: answer, Worker: r.Worker, TaskID: id}, nil
}

// ClaimWork claims any pending task of a worker type for w: POST /claim-work/:provisionerId/:workerType.
// ErrNoWork: there is none. The claim's TaskID is the one in the path of its signed URLs, since its Status may be another task's.
// A claim whose answer was lost stays with the queue until it expires; the repeated call claims another task.
func (c *Client) ClaimWork(ctx context.Context, provisionerID, workerType string, w schema.Worker) (schema.Claim, error) {
	k := c.post("claim work", "", schema.ClaimRequest{Worker: w}, "claim-work", provisionerID, workerType)
	k.refusal = refusalOfWork
	answer, err := fetch[schema.ClaimAnswer](ctx, c.caller, k)
	if err != nil {
		return schema.Claim{}, err
	}
	claim := schema.Claim{ClaimAnswer: answer, Worker: w}
	claim.TaskID = claim.Task()
	return claim, nil
}

// TakenUntil returns when the claim ends according to its status, if that can be believed: it must be the status of the claimed
// task and lie after now (on the queue's clock). Else it is the zero time, and the expiry in the signed URLs tells.
func TakenUntil(c schema.Claim, now time.Time) time.Time {
	if c.Status.TaskID != c.Task() || !c.Status.TakenUntil.After(now) {
		return time.Time{}
	}
	return c.Status.TakenUntil
}
