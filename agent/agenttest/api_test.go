package agenttest_test

import (
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

const workerBody = `{"workerGroup":"group","workerId":"worker"}`

// decodeAnswer also checks that the answer follows its published schema.
func decodeAnswer[T schema.Document](g *rig, a answer) T {
	g.t.Helper()
	g.want(a, 200)
	doc, err := schema.Decode[T]("answer of the queue", []byte(a.body))
	if err != nil {
		g.t.Fatal(err)
	}
	return doc
}

func TestRefusals(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	task, unknown := "/task/"+string(claim.TaskID), "/task/AAAAAAAAAAAAAAAAAAAAAA"
	const follow = "Request payload must follow the schema: http://schemas.taskcluster.net/queue/v1/"
	foreign := strings.Replace(completedBody, `"worker"`, `"other"`, 1)
	for _, c := range []struct {
		name, method, path, contentType, body string
		status                                int
		want                                  string // in the answer
	}{
		{"claim taken", "POST", task + "/claim", jsonType, workerBody, 404, "Task not found, or already taken"},
		{"claim unknown", "POST", unknown + "/claim", jsonType, workerBody, 404, "Task not found, or already taken"},
		{"claim malformed id", "POST", "/task/short/claim", jsonType, workerBody, 404, "Task not found, or already taken"},
		{"claim not JSON", "POST", task + "/claim", jsonType, "{bad", 400, follow + "task-claim-request.json#"},
		{"claim empty", "POST", task + "/claim", jsonType, "", 400, follow + "task-claim-request.json#"},
		{"claim unknown member", "POST", task + "/claim", jsonType, `{"workerGroup":"g","workerId":"w","foo":1}`, 400, "foo"},
		{"claim text", "POST", task + "/claim", "text/plain", workerBody, 400, "Content-Type must be application/json"},
		{"claim no content type", "POST", task + "/claim", "", workerBody, 400, "Content-Type must be application/json"},
		{"claim charset", "POST", unknown + "/claim", jsonType + "; charset=utf-8", workerBody, 404, "Task not found"},
		{"reclaim other worker", "POST", task + "/claim", jsonType, `{"workerGroup":"group","workerId":"other","runId":0}`, 404, "Task not found, or already taken"},
		{"reclaim other group", "POST", task + "/claim", jsonType, `{"workerGroup":"other","workerId":"worker","runId":0}`, 404, "Task not found, or already taken"},
		{"reclaim other run", "POST", task + "/claim", jsonType, `{"workerGroup":"group","workerId":"worker","runId":1}`, 404, "Task not found, or already taken"},
		{"artifact-urls other worker", "POST", task + "/artifact-urls", jsonType, `{"runId":0,"workerGroup":"group","workerId":"other","artifacts":{}}`, 404, "Task not found or already resolved"},
		{"artifact-urls unknown", "POST", unknown + "/artifact-urls", jsonType, `{"runId":0,"workerGroup":"group","workerId":"worker","artifacts":{}}`, 404, "Task not found or already resolved"},
		{"artifact-urls bad name", "POST", task + "/artifact-urls", jsonType, `{"runId":0,"workerGroup":"group","workerId":"worker","artifacts":{"good":{"contentType":"a/b"},"a/../b":{"contentType":"a/b"}}}`, 400, "a/../b"},
		{"artifact-urls no contentType", "POST", task + "/artifact-urls", jsonType, `{"runId":0,"workerGroup":"group","workerId":"worker","artifacts":{"x":{}}}`, 400, follow + "artifact-url-request.json#"},
		{"completed other worker", "POST", task + "/completed", jsonType, foreign, 404, "Task not found"},
		{"completed unknown", "POST", unknown + "/completed", jsonType, completedBody, 404, "Task not found"},
		{"completed wrong type", "POST", task + "/completed", jsonType, `{"runId":0,"success":"true","workerGroup":"g","workerId":"w"}`, 400, follow + "task-completed-request.json#"},
		{"status unknown", "GET", unknown + "/status", "", "", 404, "Task not found or already resolved"},
		{"rerun unknown", "POST", unknown + "/rerun", "", "", 400, "Couldn't fetch: " + g.StorageURL() + "/AAAAAAAAAAAAAAAAAAAAAA/task.json"},
		{"schedule unknown", "POST", unknown + "/schedule", "", "", 400, "Task definition not uploaded!"},
		{"new without members", "POST", "/task/new", jsonType, "{}", 400, follow + "task.json#"},
		{"broker", "GET", "/settings/amqp-connection-string", "", "", 404, "no message broker"},
		{"unknown route", "GET", "/nope", "", "", 404, "Cannot GET /v1/nope\n"},
		{"wrong method", "GET", task + "/claim", "", "", 404, "Cannot GET /v1" + task + "/claim\n"},
		{"above the base", "GET", "/../nope", "", "", 404, "Cannot GET "},
		{"too large", "POST", task + "/claim", jsonType, strings.Repeat(" ", schema.MaxBytes+1), 413, "could not be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &rig{g.Server, t, g.dir, g.client}
			a := g.send(c.method, g.QueueURL()+c.path, c.contentType, c.body)
			g.want(a, c.status)
			if !strings.Contains(a.body, c.want) {
				t.Errorf("got %s, want %q in it", a.body, c.want)
			}
			if strings.HasPrefix(c.want, "Cannot") {
				if a.header.Get("Content-Type") != "text/html" {
					t.Errorf("got content type %q", a.header.Get("Content-Type"))
				}
				return
			}
			if doc, err := schema.Decode[schema.ErrorAnswer]("answer", []byte(a.body)); err != nil || doc.Message == "" {
				t.Errorf("%s: %v", a.body, err)
			}
		})
	}
	if got := g.post(task+"/claim", `{"workerGroup":"group","workerId":"worker","runId":0}`); got.status != 200 {
		t.Errorf("none of this may have hurt the claim: %d %s", got.status, got.body)
	}
}

// TestOneRun goes from the post to the resolution, all by HTTP.
func TestOneRun(t *testing.T) {
	g := start(t, agenttest.Options{})
	definition, err := schema.Encode(schema.Task{
		Version: schema.Version, ProvisionerID: "prov", WorkerType: "type", Routing: "a.b", Retries: 2, Timeout: 60, Priority: 1.5,
		Created: time.Now(), Deadline: time.Now().Add(time.Hour), Payload: map[string]any{"n": 1},
		Metadata: schema.TaskMetadata{Name: "n", Owner: "a@example.com", Source: "https://example.com"}, Tags: map[string]string{},
	})
	if err != nil {
		t.Fatal(err)
	}
	posted := decodeAnswer[schema.StatusAnswer](g, g.post("/task/new", string(definition))).Status
	task := "/task/" + string(posted.TaskID)
	if a := g.get(string(posted.TaskID) + "/task.json"); a.body != string(definition) {
		t.Errorf("task.json is %s, posted was %s", a.body, definition)
	}
	if a := g.send("GET", g.QueueURL()+"/pending-tasks/prov", "", ""); !strings.Contains(a.body, string(posted.TaskID)) {
		t.Errorf("not among the pending: %s", a.body)
	}

	claim := decodeAnswer[schema.ClaimAnswer](g, g.post("/claim-work/prov/type", workerBody))
	if claim.RunID != 0 || claim.Status.State != schema.Running || len(claim.Status.Runs) != 1 || claim.Status.Runs[0].Worker != worker {
		t.Errorf("claim: %+v", claim)
	}
	if left := time.Until(claim.Status.TakenUntil); left < 50*time.Second || left > time.Minute {
		t.Errorf("taken for another %v, want the timeout", left)
	}
	again := decodeAnswer[schema.ClaimAnswer](g, g.post(task+"/claim", `{"workerGroup":"group","workerId":"worker","runId":0}`))
	if again.Status.TakenUntil.Before(claim.Status.TakenUntil) || again.RunID != 0 {
		t.Errorf("reclaim: %+v", again)
	}
	g.want(g.post("/claim-work/prov/type", workerBody), 204)

	g.want(g.put(again.LogsPutURL, `{"version":"0.2.0","logs":{}}`), 200)
	g.want(g.put(again.ResultPutURL, resultWith("")), 200)
	done := decodeAnswer[schema.StatusAnswer](g, g.post(task+"/completed", completedBody)).Status
	if done.State != schema.Completed || done.Reason != schema.ReasonNone {
		t.Errorf("completed: %+v", done)
	}
	a := g.get(string(posted.TaskID) + "/resolution.json")
	g.want(a, 200)
	resolution, err := schema.Decode[schema.Resolution]("resolution.json", []byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	folder := g.StorageURL() + "/" + string(posted.TaskID) + "/runs/0/"
	want := schema.Resolution{Version: schema.Version, Status: done, Success: true,
		ResultURL: folder + "result.json", LogsURL: folder + "logs.json", Worker: worker}
	if diff := cmp.Diff(want, resolution); diff != "" {
		t.Error(diff)
	}

	// The second time is as if there had never been such a task.
	g.want(g.post(task+"/completed", completedBody), 404)
	g.want(g.post(task+"/claim", workerBody), 404)

	rerun := decodeAnswer[schema.StatusAnswer](g, g.post(task+"/rerun", "")).Status
	if rerun.State != schema.Pending || rerun.Reason != schema.ReasonRerunRequested || rerun.Retries != 2 || len(rerun.Runs) != 1 {
		t.Errorf("rerun: %+v", rerun)
	}
	if second := decodeAnswer[schema.ClaimAnswer](g, g.post(task+"/claim", workerBody)); second.RunID != 1 {
		t.Errorf("second run is %d", second.RunID)
	}
	if same := decodeAnswer[schema.StatusAnswer](g, g.post(task+"/rerun", "")).Status; same.State != schema.Running {
		t.Errorf("rerun of a running task: %+v", same)
	}
}

func TestDefineThenSchedule(t *testing.T) {
	g := start(t, agenttest.Options{})
	a := g.send("GET", g.QueueURL()+"/define-tasks", jsonType, `{"tasksRequested":3}`)
	answer := decodeAnswer[schema.DefineTasksAnswer](g, a)
	if len(answer.Tasks) != 3 {
		t.Fatalf("got %d tasks", len(answer.Tasks))
	}
	def, err := schema.Encode(schema.Task{Version: schema.Version, ProvisionerID: "p", WorkerType: "w", Timeout: 60,
		Created: time.Now(), Deadline: time.Now().Add(time.Hour), Payload: map[string]any{}, Tags: map[string]string{},
		Metadata: schema.TaskMetadata{Name: "n", Owner: "a@example.com", Source: "https://example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	for id, urls := range answer.Tasks {
		g.want(g.post("/task/"+string(id)+"/schedule", ""), 400)
		g.want(g.put(urls.TaskPutURL, `{"version":"0.2.0"}`), 200)
		if a := g.post("/task/"+string(id)+"/schedule", ""); a.status != 400 || !strings.Contains(a.body, "must follow the schema") {
			t.Errorf("schedule of an invalid task: %d %s", a.status, a.body)
		}
		g.want(g.put(urls.TaskPutURL, string(def)), 200)
		for range 2 {
			if s := decodeAnswer[schema.StatusAnswer](g, g.post("/task/"+string(id)+"/schedule", "")).Status; s.TaskID != id || s.State != schema.Pending {
				t.Errorf("schedule: %+v", s)
			}
		}
	}
}

func TestClaimWorkTakesTheMostUrgentThenTheOldest(t *testing.T) {
	g := start(t, agenttest.Options{})
	var ids []schema.TaskID
	for _, priority := range []float64{1, 3, 3, 2} {
		status, err := g.PostTask(schema.Task{Priority: priority})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, status.TaskID)
	}
	for _, i := range []int{1, 2, 3, 0} {
		if got := decodeAnswer[schema.ClaimAnswer](g, g.post("/claim-work/simulate/simulate", workerBody)); got.Status.TaskID != ids[i] {
			t.Errorf("got another task than number %d", i)
		}
	}
}

// Of many workers that claim one task at the same time, one gets it.
func TestOneOfManyClaims(t *testing.T) {
	g := start(t, agenttest.Options{})
	status, err := g.PostTask(schema.Task{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	answers := make(chan int, n)
	for range n {
		go func() { answers <- g.post("/task/"+string(status.TaskID)+"/claim", workerBody).status }()
	}
	count := map[int]int{}
	for range n {
		count[<-answers]++
	}
	if count[200] != 1 || count[404] != n-1 {
		t.Errorf("answers: %v", count)
	}
}

func TestChunkedRequestToTheQueue(t *testing.T) {
	g := start(t, agenttest.Options{})
	r := g.request("POST", g.QueueURL()+"/claim-work/p/w", jsonType, "")
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(workerBody)), -1
	g.want(g.do(r), 204)
}

// Any name that artifact-urls accepts can be stored and read back through its artifactUrl.
func TestArtifactNames(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	for _, name := range []string{"a", "dir/b.tar.gz", "sp ace", "plus+", "ümläut", "q?x=1", "hash#", "%41", "a&b=c;d", "~(')*!", ".hidden", "..."} {
		grant := g.grant(claim.TaskID, name, "text/plain; charset=utf-8")
		g.want(g.send("PUT", grant.ArtifactPutURL.Reveal(), grant.ContentType, name), 200)
		a := g.send("GET", grant.ArtifactURL, "", "")
		if a.status != 200 || a.body != name || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%q: got %d %q %s", name, a.status, a.body, a.header.Get("Content-Type"))
		}
		if got, err := g.Object(string(claim.TaskID) + "/runs/0/artifacts/" + name); err != nil || string(got) != name {
			t.Errorf("object %q: %q %v", name, got, err)
		}
		if u, err := url.Parse(grant.ArtifactURL); err != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("artifactUrl %s: %v", grant.ArtifactURL, err)
		}
	}
}
