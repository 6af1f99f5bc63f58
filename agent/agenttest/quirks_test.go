package agenttest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// Each quirk of the first queue, next to what the document says. A probe asks and says in a line what it saw. Where both lines are the same, this
// queue does as the first one did in either mode.
func TestQuirks2014(t *testing.T) {
	for _, c := range []struct {
		name                 string
		probe                func(p prober) string
		quirks, asDocumented string
	}{
		{"runs are numbered from 1", prober.runs, "1 2", "0 1"},
		{"there is no run 0", prober.run0, "400 400 400", "404 404 404"},
		{"a claim's status is the one from before it", prober.staleStatus, "pending 0 runs, epoch, 5 retries", "running 1 runs, taken, 5 retries"},
		{"and so is that of the running message", prober.staleMessage, "pending 0 runs", "running 1 runs"},
		{"claim-work's status is the one after it", prober.claimWork, "running 1 runs", "running 1 runs"},
		{"among concurrent claims the status is another task's", prober.foreignStatus, "another task's, own URLs", "own, own URLs"},
		{"completed twice is 404, as for an unknown task", prober.completedTwice, "200 404 404 Task not found", "200 404 404 Task not found"},
		{"nobody asks whose run is reclaimed", prober.reclaimForeign, "200 run 7", "404"},
		{"a run that was taken over is reclaimed by the worker before", prober.reclaimTakenOver, "200, task running", "404, task running"},
		{"nobody asks whose artifacts are stored", prober.storeForeign, "200 200 200", "404 404 404"},
		{"nobody asks whose run is completed", prober.completeForeign, "200 resolved by nobody, run 7", "404"},
		{"a name with a space is an error for all", asked("a b"), "500", "200"},
		{"a name with an umlaut is an error for all", asked("ä"), "500", "200"},
		{"a name with a backslash is an error for all", asked(`a\b`), "500", "400"},
		{"a name with a newline is an error for all", asked("a\nb"), "500", "400"},
		{"a name with ? is stored, and its URL leads elsewhere", read("a?b"), "stored, 404", "stored, 200"},
		{"a name with # is stored, and its URL leads elsewhere", read("a#b"), "stored, 404", "stored, 200"},
		{"a name with %41 is stored, and its URL leads elsewhere", read("a%41b"), "stored, 404", "stored, 200"},
		{"another name is stored and read", read("a/b-c_d.e~f"), "stored, 200", "stored, 200"},
		{"retries: 0 makes each call after the claim an error", prober.noRetries, "200 500 500 500 500 500 500", "200 200 404 200 200 200 200"},
		{"retries count runs", prober.retries, "1 of 2 after the claim, 2 runs", "2 of 2 after the claim, 3 runs"},
		{"a run counts as running for 15 s after takenUntil", prober.lingers, "running, reclaimed 200", "pending, reclaimed 404"},
		{"and no longer", prober.lapses, "pending, reclaimed 404", "pending, reclaimed 404"},
		{"a failed task has no resolution.json", prober.failed, "failed, 404", "failed, 404"},
		{"artifact URLs are good for 20 minutes", prober.twentyMinutes, "20m0s", "20m0s"},
		{"what is no JSON is refused in plain text", prober.notJSON, "400 text/plain SyntaxError: Unexpected token b", "400 application/json; charset=utf-8 "},
		{"an unknown call is refused in HTML", prober.unknownCall, "404 text/html Cannot GET /v1/nope", "404 text/html Cannot GET /v1/nope"},
		{"to claim an unknown task is an error", prober.unknownTask, "500 500 404 404", "404 404 404 404"},
		{"an id that cannot be one is an error", prober.badID, "500 500", "404 404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for quirks, want := range map[bool]string{true: c.quirks, false: c.asDocumented} {
				inFakeTime(t, agenttest.Options{Quirks2014: quirks}, func(t *testing.T, g *rig) {
					if got := c.probe(prober{g, quirks}); got != want {
						t.Errorf("quirks %v: got %q, want %q", quirks, got, want)
					}
				})
			}
		})
	}
}

// A claim shorter than any of the first queue's lingers for half of its length.
func TestShortClaimLingersLess(t *testing.T) {
	inFakeTime(t, agenttest.Options{Quirks2014: true, ClaimLength: 2 * time.Second}, func(t *testing.T, g *rig) {
		claim := g.claim()
		<-time.After(2999 * time.Millisecond)
		if s := g.status(claim.TaskID); s.State != schema.Running {
			t.Errorf("lost too early: %+v", s)
		}
		<-time.After(time.Millisecond)
		if s := g.status(claim.TaskID); s.State != schema.Pending {
			t.Errorf("still %+v", s)
		}
	})
}

// prober asks a server of which it knows whether it has quirks.
type prober struct {
	*rig
	quirks bool
}

func (p prober) statuses(answers ...answer) string {
	var all []string
	for _, a := range answers {
		all = append(all, fmt.Sprint(a.status))
	}
	return strings.Join(all, " ")
}

// body is that of a call for a run by a worker of that name.
func (p prober) body(run schema.RunID, worker, more string) string {
	return fmt.Sprintf(`{"runId":%d,"workerGroup":"group","workerId":%q%s}`, run, worker, more)
}

const oneArtifact = `,"artifacts":{"x":{"contentType":"text/plain"}}`

// newTask posts a task over HTTP.
func (p prober) newTask(retries int) (id, path string) {
	p.t.Helper()
	now := schema.Timestamp(time.Now())
	body, err := schema.Encode(schema.Task{
		Version: schema.Version, ProvisionerID: "p", WorkerType: "w", Retries: retries, Timeout: 60, Created: now, Deadline: now.Add(time.Hour), Payload: map[string]any{},
		Metadata: schema.TaskMetadata{Name: "n", Owner: "a@example.com", Source: "https://example.com"}, Tags: map[string]string{},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	id = string(decodeAnswer[schema.StatusAnswer](p.rig, p.post("/task/new", string(body))).Status.TaskID)
	return id, "/task/" + id
}

func (p prober) claimed(path string) schema.ClaimAnswer {
	p.t.Helper()
	return decodeAnswer[schema.ClaimAnswer](p.rig, p.post(path+"/claim", workerBody))
}

// run is the task's first run, claimed.
func (p prober) run() (claim schema.Claim, path string) {
	p.t.Helper()
	claim = p.claim()
	return claim, "/task/" + string(claim.TaskID)
}

func (p prober) runs() string {
	claim, path := p.run()
	if err := p.LoseClaim(claim.TaskID); err != nil {
		p.t.Fatal(err)
	}
	again := p.claimed(path)
	if !strings.Contains(again.LogsPutURL.Reveal(), fmt.Sprintf("/runs/%d/logs.json?", again.RunID)) {
		p.t.Error("the URL is another run's")
	}
	return fmt.Sprint(claim.RunID, " ", again.RunID)
}

func (p prober) run0() string {
	_, path := p.run()
	const nobody = "nobody" // or the document's queue would find its run
	return p.statuses(p.post(path+"/claim", p.body(0, nobody, "")),
		p.post(path+"/artifact-urls", p.body(0, nobody, oneArtifact)), p.post(path+"/completed", p.body(0, nobody, `,"success":true`)))
}

func (p prober) staleStatus() string {
	_, path := p.newTask(5)
	s := p.claimed(path).Status
	taken := "taken"
	if s.TakenUntil.Unix() == 0 {
		taken = "epoch"
	}
	return fmt.Sprintf("%s %d runs, %s, %d retries", s.State, len(s.Runs), taken, s.Retries)
}

func (p prober) staleMessage() string {
	events := p.Events(p.t.Context())
	p.claim()
	for e := range events {
		if m, ok := e.Message.(schema.RunningMessage); ok {
			return fmt.Sprintf("%s %d runs", m.Status.State, len(m.Status.Runs))
		}
	}
	return "no message"
}

func (p prober) claimWork() string {
	p.newTask(5)
	s := decodeAnswer[schema.ClaimAnswer](p.rig, p.post("/claim-work/p/w", workerBody)).Status
	return fmt.Sprintf("%s %d runs", s.State, len(s.Runs))
}

// foreignStatus has another task claimed while the body of a claim is on its way.
func (p prober) foreignStatus() string {
	slow, slowPath := p.newTask(5)
	fast, fastPath := p.newTask(5)
	body, rest := io.Pipe()
	request := p.request("POST", p.QueueURL()+slowPath+"/claim", jsonType, "")
	request.Body, request.ContentLength = body, int64(len(workerBody))
	answered := make(chan answer)
	go func() { answered <- p.do(request) }()
	io.WriteString(rest, workerBody[:1])
	synctest.Wait() // the server has begun to read it
	p.claimed(fastPath)
	io.WriteString(rest, workerBody[1:])
	rest.Close()
	claim := decodeAnswer[schema.ClaimAnswer](p.rig, <-answered)
	whose, urls := "neither's", "others"
	switch string(claim.Status.TaskID) {
	case slow:
		whose = "own"
	case fast:
		whose = "another task's"
	}
	if strings.Contains(claim.LogsPutURL.Reveal(), slow) {
		urls = "own URLs"
	}
	return whose + ", " + urls
}

func (p prober) completedTwice() string {
	claim, path := p.run()
	body := p.body(claim.RunID, "worker", `,"success":true`)
	p.want(p.put(claim.LogsPutURL, `{"version":"0.2.0","logs":{}}`), 200)
	p.want(p.put(claim.ResultPutURL, resultWith("")), 200)
	first, second, unknown := p.post(path+"/completed", body), p.post(path+"/completed", body), p.post("/task/AAAAAAAAAAAAAAAAAAAAAA/completed", body)
	if second.body != unknown.body {
		p.t.Errorf("got %s, and for an unknown task %s", second.body, unknown.body)
	}
	return p.statuses(first, second, unknown) + " " + p.message(second)
}

func (p prober) message(a answer) string {
	var e schema.ErrorAnswer
	json.Unmarshal([]byte(a.body), &e) // or it says nothing
	return e.Message
}

func (p prober) reclaimForeign() string {
	_, path := p.run()
	a := p.post(path+"/claim", p.body(7, "intruder", ""))
	if a.status != 200 {
		return p.statuses(a)
	}
	claim := decodeAnswer[schema.ClaimAnswer](p.rig, a)
	p.want(p.put(claim.LogsPutURL, "{}"), 200)
	if !p.isStored(string(claim.Status.TaskID) + "/runs/7/logs.json") {
		p.t.Error("its URL leads elsewhere")
	}
	return fmt.Sprintf("%d run %d", a.status, claim.RunID)
}

func (p prober) reclaimTakenOver() string {
	claim, path := p.run()
	if err := p.LoseClaim(claim.TaskID); err != nil {
		p.t.Fatal(err)
	}
	if a := p.post(path+"/claim", p.body(claim.RunID, "worker", "")); a.status != 404 {
		p.t.Errorf("reclaimed while pending: %d", a.status)
	}
	p.want(p.post(path+"/claim", `{"workerGroup":"group","workerId":"other"}`), 200)
	a := p.post(path+"/claim", p.body(claim.RunID, "worker", ""))
	return fmt.Sprintf("%d, task %s", a.status, p.status(claim.TaskID).State)
}

// storeForeign asks while the task is pending, for a run of another worker, and after the end.
func (p prober) storeForeign() string {
	_, path := p.newTask(5)
	ask := func() answer { return p.post(path+"/artifact-urls", p.body(7, "intruder", oneArtifact)) }
	pending := ask()
	claim := p.claimed(path)
	running := ask()
	p.want(p.post(path+"/completed", p.body(claim.RunID, "worker", `,"success":true`)), 200)
	return p.statuses(pending, running, ask())
}

func (p prober) completeForeign() string {
	claim, path := p.run()
	a := p.post(path+"/completed", p.body(7, "nobody", `,"success":false`))
	if a.status != 200 {
		return p.statuses(a)
	}
	resolution, err := schema.Decode[schema.Resolution]("resolution.json", []byte(p.get(string(claim.TaskID)+"/resolution.json").body))
	if err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprintf("%d resolved by %s, run %d", a.status, resolution.WorkerID, resolution.RunID)
}

// urls asks for the URLs of one artifact; the request holds another that is good.
func (p prober) urls(name string) (answer, schema.ArtifactURLs) {
	claim, path := p.run()
	request, err := json.Marshal(schema.ArtifactURLsRequest{RunID: claim.RunID, Worker: worker,
		Artifacts: map[string]schema.ArtifactRequest{"good": {ContentType: jsonType}, name: {ContentType: jsonType}}})
	if err != nil {
		p.t.Fatal(err)
	}
	a := p.post(path+"/artifact-urls", string(request))
	if a.status != 200 {
		return a, schema.ArtifactURLs{}
	}
	return a, decodeAnswer[schema.ArtifactURLsAnswer](p.rig, a).Artifacts[name]
}

func asked(name string) func(prober) string {
	return func(p prober) string {
		a, _ := p.urls(name)
		return p.statuses(a)
	}
}

func read(name string) func(prober) string {
	return func(p prober) string {
		a, urls := p.urls(name)
		p.want(a, 200)
		p.want(p.put(urls.ArtifactPutURL, "{}"), 200)
		stored := "nothing stored"
		for _, request := range p.Requests() {
			if request.Stored && strings.HasSuffix(request.Path, "/artifacts/"+name) {
				stored = "stored"
			}
		}
		return stored + ", " + p.statuses(p.send("GET", urls.ArtifactURL, "", ""))
	}
}

// noRetries makes each call that there is about a task.
func (p prober) noRetries() string {
	_, path := p.newTask(0)
	claimed := p.post(path+"/claim", workerBody)
	var claim schema.ClaimAnswer
	if err := json.Unmarshal([]byte(claimed.body), &claim); err != nil {
		p.t.Fatal(err)
	}
	return p.statuses(claimed,
		p.send("GET", p.QueueURL()+path+"/status", "", ""),
		p.post(path+"/claim", workerBody),
		p.post(path+"/claim", p.body(claim.RunID, "worker", "")),
		p.post(path+"/artifact-urls", p.body(claim.RunID, "worker", oneArtifact)),
		p.post(path+"/completed", p.body(claim.RunID, "worker", `,"success":true`)),
		p.post(path+"/rerun", ""))
}

func (p prober) retries() string {
	id, path := p.newTask(2)
	var said string
	for runs := 0; ; runs++ {
		if a := p.post(path+"/claim", workerBody); a.status != 200 {
			return said + fmt.Sprintf("%d runs", runs)
		}
		if runs == 0 {
			said = fmt.Sprintf("%d of 2 after the claim, ", p.status(schema.TaskID(id)).Retries)
		}
		if err := p.LoseClaim(schema.TaskID(id)); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p prober) lingers() string { return p.after(time.Minute + 15*time.Second - time.Millisecond) }
func (p prober) lapses() string  { return p.after(time.Minute + 15*time.Second) }

// after looks at a claim of a minute so long after it.
func (p prober) after(wait time.Duration) string {
	id, path := p.newTask(5)
	claim := p.claimed(path)
	<-time.After(wait)
	p.wantCode(p.put(claim.LogsPutURL, "{}"), 403, "AccessDenied") // the URLs do not linger
	state := p.status(schema.TaskID(id)).State
	return fmt.Sprintf("%s, reclaimed %s", state, p.statuses(p.post(path+"/claim", p.body(claim.RunID, "worker", ""))))
}

func (p prober) failed() string {
	claim, _ := p.run()
	<-time.After(2 * time.Hour) // past the deadline
	return fmt.Sprintf("%s, %s", p.status(claim.TaskID).State, p.statuses(p.get(string(claim.TaskID)+"/resolution.json")))
}

func (p prober) twentyMinutes() string {
	a, _ := p.urls("x")
	return time.Until(decodeAnswer[schema.ArtifactURLsAnswer](p.rig, a).Expires).String()
}

func (p prober) notJSON() string {
	_, path := p.run()
	a := p.post(path+"/claim", "{bad")
	first, _, _ := strings.Cut(a.body, "\n")
	if strings.HasPrefix(first, "{") {
		first = ""
	}
	return fmt.Sprintf("%d %s %s", a.status, a.header.Get("Content-Type"), first)
}

func (p prober) unknownCall() string {
	a := p.send(http.MethodGet, p.QueueURL()+"/nope", "", "")
	return fmt.Sprintf("%d %s %s", a.status, a.header.Get("Content-Type"), strings.TrimSpace(a.body))
}

func (p prober) unknownTask() string {
	const path = "/task/AAAAAAAAAAAAAAAAAAAAAA"
	return p.statuses(p.post(path+"/claim", workerBody), p.post(path+"/claim", p.body(1, "worker", "")),
		p.post(path+"/artifact-urls", p.body(1, "worker", oneArtifact)), p.post(path+"/completed", p.body(1, "worker", `,"success":true`)))
}

func (p prober) badID() string {
	return p.statuses(p.send(http.MethodGet, p.QueueURL()+"/task/short/status", "", ""), p.post("/task/short/claim", workerBody))
}
