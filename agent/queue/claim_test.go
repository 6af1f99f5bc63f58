package queue_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// TestClaimLostAnswer claims a task whose first answer never arrives.
func TestClaimLostAnswer(t *testing.T) {
	run := func(id int, w schema.Worker) string {
		return fmt.Sprintf(`{"runId":%d,"workerGroup":%q,"workerId":%q}`, id, w.WorkerGroup, w.WorkerID)
	}
	other := schema.Worker{WorkerGroup: "rig-group", WorkerID: "rig-w2"}
	taken := jsonAnswer(404, `{"message":"Task not found, or already taken"}`)
	for _, tt := range []struct {
		name    string
		answers []http.HandlerFunc
		asked   string // the last part of each path
		reclaim string // body of the last request
		want    error
	}{
		{"ours", []http.HandlerFunc{reset, taken, jsonAnswer(200, statusAnswer("running", run(1, other)+","+run(2, worker))), jsonAnswer(200, claimAnswer(otherID, "2"))},
			"claim claim status claim", `"runId":2`, nil},
		{"ours, after a 500", []http.HandlerFunc{jsonAnswer(500, ""), taken, jsonAnswer(200, statusAnswer("running", run(0, worker))), jsonAnswer(200, claimAnswer(taskID, "0"))},
			"claim claim status claim", `"runId":0`, nil},
		{"ours, the status late", []http.HandlerFunc{reset, taken, reset, jsonAnswer(200, statusAnswer("running", run(0, worker))), jsonAnswer(200, claimAnswer(taskID, "0"))},
			"claim claim status status claim", `"runId":0`, nil},
		{"another's", []http.HandlerFunc{reset, taken, jsonAnswer(200, statusAnswer("running", run(1, worker)+","+run(2, other)))},
			"claim claim status", "", queue.ErrNotFound},
		{"no longer running", []http.HandlerFunc{reset, taken, jsonAnswer(200, statusAnswer("completed", run(1, worker)))},
			"claim claim status", "", queue.ErrNotFound},
		{"without runs", []http.HandlerFunc{reset, taken, jsonAnswer(200, statusAnswer("running", ""))},
			"claim claim status", "", queue.ErrNotFound},
		{"another task's status", []http.HandlerFunc{reset, taken, jsonAnswer(200, strings.ReplaceAll(statusAnswer("running", run(1, worker)), string(taskID), string(otherID)))},
			"claim claim status", "", queue.ErrNotFound},
		{"unknown", []http.HandlerFunc{reset, taken}, "claim claim status", "", queue.ErrNotFound},
		{"lost meanwhile", []http.HandlerFunc{reset, taken, jsonAnswer(200, statusAnswer("running", run(1, worker))), taken},
			"claim claim status claim", `"runId":1`, queue.ErrNotFound},
		{"the status refused", []http.HandlerFunc{reset, taken, jsonAnswer(401, "")}, "claim claim status", "", queue.ErrDenied},
		{"taken at once", []http.HandlerFunc{taken}, "claim", "", queue.ErrNotFound},
		{"taken after 429", []http.HandlerFunc{jsonAnswer(429, ""), taken}, "claim claim", "", queue.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, tt.answers...)
			claim, err := client(t, srv.URL+"/v1", options(t)).Claim(deadline(t), taskID, worker)
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			var asked []string
			for _, r := range srv.seen() {
				asked = append(asked, r.Path[strings.LastIndex(r.Path, "/")+1:])
			}
			if diff := cmp.Diff(strings.Fields(tt.asked), asked); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			last := srv.seen()[len(asked)-1]
			if !strings.Contains(last.Body, tt.reclaim) {
				t.Errorf("last request %s, want %s in it", last.Body, tt.reclaim)
			}
			if tt.want == nil && (claim.TaskID != taskID || claim.Worker != worker || claim.LogsPutURL.IsZero()) {
				t.Errorf("claim %+v", claim)
			}
		})
	}
}

// TestClaimWorkTask takes the task from the signed URL where the status is another's.
func TestClaimWorkTask(t *testing.T) {
	srv := serve(t, jsonAnswer(200, claimAnswer(otherID, "7")))
	claim, err := client(t, srv.URL+"/v1", options(t)).ClaimWork(deadline(t), "p", "w", worker)
	if err != nil || claim.TaskID != taskID || claim.RunID != 7 || claim.Status.TaskID != otherID || claim.Worker != worker {
		t.Errorf("%+v, %v", claim, err)
	}
}

func TestTakenUntil(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		status schema.TaskID
		until  time.Time
		want   time.Time
	}{
		{taskID, now.Add(time.Minute), now.Add(time.Minute)},
		{otherID, now.Add(time.Minute), time.Time{}},
		{taskID, now, time.Time{}},
		{taskID, time.Unix(0, 0), time.Time{}},
		{"", now.Add(time.Minute), time.Time{}},
	} {
		claim := schema.Claim{TaskID: taskID}
		claim.Status.TaskID, claim.Status.TakenUntil = tt.status, tt.until
		if got := queue.TakenUntil(claim, now); !got.Equal(tt.want) {
			t.Errorf("%s until %v: %v, want %v", tt.status, tt.until, got, tt.want)
		}
	}
}
