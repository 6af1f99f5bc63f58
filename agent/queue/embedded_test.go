package queue_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// embedded is a queue and a storage in this process, and clients of both.
func embedded(t *testing.T) (*agenttest.Server, *queue.Client, *queue.Storage) {
	t.Helper()
	srv, err := agenttest.New(t.TempDir(), agenttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	o := options(t)
	return srv, client(t, srv.QueueURL(), o), storage(t, srv.StorageURL(), o)
}

func put(t *testing.T, o queue.Options, to schema.SignedURL, contentType string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(deadline(t), http.MethodPut, to.Reveal(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := o.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("PUT %s: %s", to, resp.Status)
	}
}

func encode(t *testing.T, doc schema.Document) []byte {
	t.Helper()
	data, err := schema.Encode(doc)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestEveryCall takes one task from its definition to its resolution and on to a rerun, with every method.
func TestEveryCall(t *testing.T) {
	ctx, o := deadline(t), options(t)
	srv, c, s := embedded(t)
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}

	defined, err := c.DefineTasks(ctx, 1)
	check("define", err)
	var id schema.TaskID
	for defID, urls := range defined.Tasks {
		id = defID
		put(t, o, urls.TaskPutURL, "application/json", encode(t, aTask()))
	}
	status, err := c.Schedule(ctx, id)
	check("schedule", err)
	if status.TaskID != id || status.State != schema.Pending {
		t.Errorf("scheduled: %+v", status)
	}
	again, err := c.Schedule(ctx, id)
	check("schedule again", err)
	if again.TaskID != id {
		t.Errorf("scheduled again: %+v", again)
	}
	claim, err := c.ClaimWork(ctx, "p", "w", worker)
	check("claim work", err)
	if claim.TaskID != id || claim.Worker != worker {
		t.Errorf("claim %+v", claim)
	}
	if _, err := c.ClaimWork(ctx, "p", "w", worker); !errors.Is(err, queue.ErrNoWork) {
		t.Errorf("claim no work: %v", err)
	}
	if until := queue.TakenUntil(claim, time.Now()); until.IsZero() {
		t.Error("the claim has no end")
	}
	claim, err = c.Reclaim(ctx, id, claim.RunID, worker)
	check("reclaim", err)
	if _, err := c.Claim(ctx, id, worker); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("claim of a taken task: %v", err)
	}

	urls, err := c.ArtifactURLs(ctx, id, schema.ArtifactURLsRequest{RunID: claim.RunID, Worker: worker, Artifacts: map[string]schema.ArtifactRequest{"a": {ContentType: "text/plain"}}})
	check("artifact URLs", err)
	put(t, o, urls.Artifacts["a"].ArtifactPutURL, "text/plain", []byte("hello"))
	logs := schema.Logs{Version: schema.Version, Logs: map[string]string{"terminal.log": urls.Artifacts["a"].ArtifactURL}}
	now := schema.Timestamp(time.Now())
	result := schema.Result{
		Version: schema.Version, Artifacts: map[string]string{"a": urls.Artifacts["a"].ArtifactURL}, Statistics: schema.Statistics{Started: now, Finished: now},
		Metadata: schema.ResultMetadata{Worker: worker, Success: true}, Result: map[string]any{},
	}
	put(t, o, claim.LogsPutURL, "application/json", encode(t, logs))
	put(t, o, claim.ResultPutURL, "application/json", encode(t, result))
	if _, known, err := s.CompletedBy(ctx, id, claim.RunID, worker); known || err != nil {
		t.Errorf("known %v before completed, %v", known, err)
	}
	report := schema.CompletedRequest{RunID: claim.RunID, Success: true, Worker: worker}
	check("lose the answer", srv.Inject(agenttest.Fault{What: "completed", Kind: "lost", Count: 1}))
	_, err = c.Completed(ctx, id, report)
	var e *queue.Error
	if !errors.As(err, &e) || !errors.Is(err, queue.ErrNotFound) || !e.MaybeDone || e.Attempts != 2 {
		t.Errorf("completed, the answer lost: %v", err)
	}
	if yes, known, err := s.CompletedBy(ctx, id, claim.RunID, worker); !yes || !known || err != nil {
		t.Errorf("completed by us %v, known %v, %v", yes, known, err)
	}
	if v := srv.Violations(); len(v) > 0 {
		t.Errorf("violations: %v", v)
	}

	status, err = c.Status(ctx, id)
	check("status", err)
	if status.State != schema.Completed {
		t.Errorf("status %+v", status)
	}
	runs, err := s.Runs(ctx, id)
	check("runs", err)
	task, err := s.Task(ctx, id)
	check("task", err)
	gotLogs, err := s.Logs(ctx, id, claim.RunID)
	check("logs", err)
	gotResult, err := s.Result(ctx, id, claim.RunID)
	check("result", err)
	resolution, err := s.Resolution(ctx, id)
	check("resolution", err)
	if diff := cmp.Diff([]any{[]schema.RunID{claim.RunID}, "p", logs, result, claim.RunID},
		[]any{runs, task.ProvisionerID, gotLogs, gotResult, resolution.RunID}); diff != "" {
		t.Errorf("storage (-want +got):\n%s", diff)
	}
	obj, err := s.Open(ctx, gotResult.Artifacts["a"])
	check("open", err)
	defer obj.Close()
	if body, err := io.ReadAll(obj); string(body) != "hello" || err != nil || obj.Size != 5 {
		t.Errorf("artifact %q of %d bytes, %v", body, obj.Size, err)
	}

	status, err = c.Rerun(ctx, id)
	check("rerun", err)
	if status.State != schema.Pending {
		t.Errorf("rerun: %+v", status)
	}
	status, err = c.CreateTask(ctx, aTask())
	check("create", err)
	if status.State != schema.Pending || !status.TaskID.Valid() {
		t.Errorf("created: %+v", status)
	}
	amqp, err := c.AMQPConnectionString(ctx)
	if err == nil && !strings.HasPrefix(amqp.Reveal(), "amqp") || err != nil && !errors.As(err, &e) {
		t.Errorf("AMQP %s, %v", amqp, err)
	}
	if skew := c.Skew(); skew.Abs() > 2*time.Second {
		t.Errorf("skew %v", skew)
	}
}

// TestLostClaim claims although the answer never arrives.
func TestLostClaim(t *testing.T) {
	srv, c, _ := embedded(t)
	posted, err := srv.PostTask(schema.Task{})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Inject(agenttest.Fault{What: "claim", Kind: "lost", Count: 1}); err != nil {
		t.Fatal(err)
	}
	claim, err := c.Claim(deadline(t), posted.TaskID, worker)
	if err != nil || claim.TaskID != posted.TaskID || claim.RunID != 0 || claim.LogsPutURL.IsZero() {
		t.Errorf("%+v, %v", claim, err)
	}
	if err := srv.LoseClaim(posted.TaskID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reclaim(deadline(t), posted.TaskID, 0, worker); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("reclaim of a lost claim: %v", err)
	}
}

// TestFaulty gets through a queue and a storage that fail every third time, whatever the way.
func TestFaulty(t *testing.T) {
	for _, kind := range []string{"500", "503", "429", "reset", "redirect"} {
		t.Run(kind, func(t *testing.T) {
			srv, c, s := embedded(t)
			if err := srv.Inject(agenttest.Fault{What: "any", Kind: kind, Probability: 0.34}); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				posted, err := srv.PostTask(schema.Task{})
				if err != nil {
					t.Fatal(err)
				}
				claim, err := c.Claim(deadline(t), posted.TaskID, worker)
				if err != nil {
					t.Fatal(err)
				}
				if _, err = c.Reclaim(deadline(t), posted.TaskID, claim.RunID, worker); err != nil {
					t.Error(err)
				}
				if _, err = s.Task(deadline(t), posted.TaskID); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestArtifactURLsInParts asks for parts a queue that knows them, and one that does not.
func TestArtifactURLsInParts(t *testing.T) {
	for from, want := range map[int64]error{10: nil, 0: queue.ErrRejected} {
		srv, err := agenttest.New(t.TempDir(), agenttest.Options{MultipartFrom: from})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = srv.Close() })
		c := client(t, srv.QueueURL(), options(t))
		claim, err := srv.PostAndClaim(schema.Worker{})
		if err != nil {
			t.Fatal(err)
		}
		request := schema.ArtifactURLsRequest{RunID: claim.RunID, Worker: claim.Worker, Artifacts: map[string]schema.ArtifactRequest{"a": {ContentType: "text/plain"}}}
		answer, err := c.ArtifactURLs(deadline(t), claim.TaskID, request)
		if err != nil || (answer.Multipart != nil) != (from > 0) {
			t.Fatalf("from %d: the answer offers %+v, %v", from, answer.Multipart, err)
		}
		request.Artifacts["a"] = schema.ArtifactRequest{ContentType: "text/plain", Multipart: &schema.MultipartRequest{Size: 1 << 30}}
		answer, err = c.ArtifactURLs(deadline(t), claim.TaskID, request)
		if !errors.Is(err, want) {
			t.Errorf("from %d: %v, want %v", from, err, want)
		}
		if urls := answer.Artifacts["a"].Multipart; want == nil && (urls == nil || urls.UploadID == "" || len(urls.PartPutURLs) != 16 || urls.CompleteURL.IsZero()) {
			t.Errorf("from %d: %+v", from, urls)
		}
	}
}
