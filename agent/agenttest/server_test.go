package agenttest_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var worker = schema.Worker{WorkerGroup: "group", WorkerID: "worker"}

const jsonType = "application/json"

// rig is a server with a client that reuses no connection, so that no request is silently sent twice.
type rig struct {
	*agenttest.Server
	t      *testing.T
	dir    string
	client *http.Client
}

func start(t *testing.T, o agenttest.Options) *rig {
	t.Helper()
	return startIn(t, t.TempDir(), o)
}

func startIn(t *testing.T, dir string, o agenttest.Options) *rig {
	t.Helper()
	srv, err := agenttest.New(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true, ExpectContinueTimeout: 10 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
	return &rig{srv, t, dir, client}
}

// answer is a whole answer; err is set if there was none, or only a part of one.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (g *rig) do(r *http.Request) answer {
	g.t.Helper()
	resp, err := g.client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

func (g *rig) request(method, url, contentType, body string) *http.Request {
	g.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(g.t.Context(), method, url, r)
	if err != nil {
		g.t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return request
}

func (g *rig) send(method, url, contentType, body string) answer {
	g.t.Helper()
	return g.do(g.request(method, url, contentType, body))
}

func (g *rig) get(path string) answer { return g.send("GET", g.StorageURL()+"/"+path, "", "") }

// post calls the queue.
func (g *rig) post(path, body string) answer {
	return g.send("POST", g.QueueURL()+path, jsonType, body)
}

func (g *rig) put(u schema.SignedURL, body string) answer {
	return g.send("PUT", u.Reveal(), jsonType, body)
}

func (g *rig) claim() schema.Claim {
	g.t.Helper()
	claim, err := g.PostAndClaim(worker)
	if err != nil {
		g.t.Fatal(err)
	}
	return claim
}

// grant asks for the URLs of one artifact of run 0.
func (g *rig) grant(id schema.TaskID, name, contentType string) schema.ArtifactURLs {
	g.t.Helper()
	request, err := schema.Encode(schema.ArtifactURLsRequest{
		Worker: worker, Artifacts: map[string]schema.ArtifactRequest{name: {ContentType: contentType}}})
	if err != nil {
		g.t.Fatal(err)
	}
	a := g.post("/task/"+string(id)+"/artifact-urls", string(request))
	doc, err := schema.Decode[schema.ArtifactURLsAnswer]("answer", []byte(a.body))
	if a.status != 200 || err != nil {
		g.t.Fatalf("artifact-urls for %q: %d %s %v", name, a.status, a.body, err)
	}
	return doc.Artifacts[name]
}

const completedBody = `{"runId":0,"success":true,"workerGroup":"group","workerId":"worker"}`

// complete stores the two documents and reports run 0 completed.
func (g *rig) complete(claim schema.Claim) answer {
	g.t.Helper()
	g.want(g.put(claim.LogsPutURL, `{"version":"0.2.0","logs":{}}`), 200)
	g.want(g.put(claim.ResultPutURL, resultWith("")), 200)
	return g.post("/task/"+string(claim.TaskID)+"/completed", completedBody)
}

// resultWith is a result.json with artifacts written as JSON members.
func resultWith(artifacts string) string {
	return `{"version":"0.2.0","artifacts":{` + artifacts + `},"statistics":{"started":"2026-01-01T00:00:00.000Z",` +
		`"finished":"2026-01-01T00:00:01.000Z"},"metadata":{"workerGroup":"group","workerId":"worker","success":true},"result":{}}`
}

func (g *rig) want(a answer, status int) {
	g.t.Helper()
	if a.err != nil || a.status != status {
		g.t.Fatalf("got %d %s (%v), want %d", a.status, a.body, a.err, status)
	}
}

func (g *rig) wantCode(a answer, status int, code string) {
	g.t.Helper()
	g.want(a, status)
	if !strings.HasPrefix(a.body, "<?xml") || !strings.Contains(a.body, "<Code>"+code+"</Code>") {
		g.t.Fatalf("got %s, want an XML error %s", a.body, code)
	}
}

func (g *rig) isStored(path string) bool {
	g.t.Helper()
	_, err := g.Object(path)
	return err == nil
}

// last is the last request of the history.
func (g *rig) last() agenttest.Request {
	g.t.Helper()
	all := g.Requests()
	if len(all) == 0 {
		g.t.Fatal("no requests")
	}
	return all[len(all)-1]
}

func TestCloseIsIdempotentAndEndsEverything(t *testing.T) {
	g := start(t, agenttest.Options{})
	events := g.Events(context.Background())
	for range 2 {
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, open := <-events; open {
		t.Error("an event after Close")
	}
	if _, open := <-g.Events(context.Background()); open {
		t.Error("a subscription after Close is open")
	}
	if a := g.get("x"); a.err == nil {
		t.Errorf("an answer after Close: %d", a.status)
	}
}

func TestNewSaysWhatWentWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = agenttest.New(t.TempDir(), agenttest.Options{StorageListen: taken.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "listen on "+taken.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestAddressOfAllInterfacesCanBeDialled(t *testing.T) {
	g := start(t, agenttest.Options{QueueListen: ":0", StorageListen: "0.0.0.0:0"})
	claim := g.claim()
	g.want(g.put(claim.LogsPutURL, "{}"), 200)
	if !strings.HasPrefix(g.QueueURL(), "http://127.0.0.1:") {
		t.Errorf("queue at %s", g.QueueURL())
	}
}

// No signature, and nothing that one is made of, may reach the log, whatever happens.
func TestSignedURLsAreNeverLogged(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g := start(t, agenttest.Options{Logger: logger})
	claim := g.claim()
	for _, kind := range []string{"503", "reset", "expired", "redirect", "lost"} {
		if err := g.Inject(agenttest.Fault{What: "put", Kind: kind, Count: 1}); err != nil {
			t.Fatal(err)
		}
		g.put(claim.LogsPutURL, "{}")
	}
	g.put(schema.NewSignedURL(claim.LogsPutURL.Reveal()+"CANARY"), "{}")
	g.put(claim.LogsPutURL, "{}")
	if err := g.Close(); err != nil { // so that the log is at rest
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "what=put") {
		t.Error("nothing was logged")
	}
	for _, secret := range []string{"X-Amz", "Signature", "CANARY"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q in the log: %s", secret, log.String())
		}
	}
}

func TestHistory(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	g.put(claim.LogsPutURL, "{}")
	g.get("nothing")
	g.post("/task/"+string(claim.TaskID)+"/claim", `{"workerGroup":"group","workerId":"worker","runId":0}`)
	g.post("/claim-work/p/w", `{"workerGroup":"group","workerId":"worker"}`)
	path := string(claim.TaskID) + "/runs/0/logs.json"
	want := []agenttest.Request{
		{What: "put", Method: "PUT", Path: "/" + path, Status: 200, Stored: true, ETag: fmt.Sprintf("%x", md5.Sum([]byte("{}")))},
		{What: "get", Method: "GET", Path: "/nothing", Status: 404},
		{What: "reclaim", Method: "POST", Path: "/v1/task/" + string(claim.TaskID) + "/claim", Status: 200},
		{What: "claim", Method: "POST", Path: "/v1/claim-work/p/w", Status: 204},
	}
	got := g.Requests()
	if len(got) != len(want) {
		t.Fatalf("got %d requests, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if got[i].Host == "" || got[i].At.IsZero() {
			t.Errorf("no host or time: %+v", got[i])
		}
		got[i].Host, got[i].At = "", time.Time{}
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
}

func TestTasks(t *testing.T) {
	srv := start(t, agenttest.Options{})
	if tasks := srv.Tasks(); tasks == nil || len(tasks) != 0 {
		t.Errorf("%+v", tasks)
	}
	first, err := srv.PostAndClaim(worker)
	if err != nil {
		t.Fatal(err)
	}
	second, err := srv.PostTask(schema.Task{})
	if err != nil {
		t.Fatal(err)
	}
	tasks := srv.Tasks()
	if len(tasks) != 2 || tasks[0].TaskID != first.Task() || tasks[0].State != schema.Running || tasks[1].TaskID != second.TaskID || tasks[1].State != schema.Pending {
		t.Errorf("%+v", tasks)
	}
	if status, err := srv.Status(first.Task()); err != nil || status.State != schema.Running || len(status.Runs) != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	if _, err := srv.Status(schema.NewTaskID()); err == nil {
		t.Error("an unknown task has a status")
	}
}
