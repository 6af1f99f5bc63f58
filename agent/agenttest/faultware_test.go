package agenttest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// hit is a server where one kind of fault hits the next request of one sort.
func hit(t *testing.T, f agenttest.Fault) (*rig, schema.Claim) {
	t.Helper()
	g := start(t, agenttest.Options{})
	claim := g.claim()
	f.Count = 1
	if err := g.Inject(f); err != nil {
		t.Fatal(err)
	}
	return g, claim
}

// wantHistory checks the status of the request with a fault, and what became of the object.
func (g *rig) wantHistory(fault string, status int, stored bool) {
	g.t.Helper()
	for _, r := range g.Requests() {
		if r.Fault == fault {
			if r.Status != status || r.Stored != stored {
				g.t.Errorf("history: %+v, want status %d and stored %v", r, status, stored)
			}
			return
		}
	}
	g.t.Errorf("no request with the fault %q: %+v", fault, g.Requests())
}

func logsPath(c schema.Claim) string { return string(c.TaskID) + "/runs/0/logs.json" }

func TestFaultStatus(t *testing.T) {
	for kind, code := range map[string]string{"400": "InvalidRequest", "403": "AccessDenied", "429": "TooManyRequests", "500": "InternalError", "503": "SlowDown", "504": "GatewayTimeout"} {
		g, claim := hit(t, agenttest.Fault{What: "put", Kind: kind, Header: http.Header{"Retry-After": {"2"}}})
		a := g.put(claim.LogsPutURL, "{}")
		g.wantCode(a, statusOf(kind), code)
		if a.header.Get("Retry-After") != "2" {
			t.Error("no Retry-After")
		}
		g.wantHistory(kind, statusOf(kind), false)
		if g.isStored(logsPath(claim)) {
			t.Errorf("%s: stored", kind)
		}
		g.want(g.put(claim.LogsPutURL, "{}"), 200)
	}
	g, claim := hit(t, agenttest.Fault{What: "put", Kind: "400", Code: "RequestTimeout"})
	g.wantCode(g.put(claim.LogsPutURL, "{}"), 400, "RequestTimeout")

	for _, kind := range []string{"500", "503", "404"} {
		g, claim := hit(t, agenttest.Fault{What: "completed", Kind: kind})
		a := g.post("/task/"+string(claim.TaskID)+"/completed", completedBody)
		g.want(a, statusOf(kind))
		doc, err := schema.Decode[schema.ErrorAnswer]("answer", []byte(a.body))
		if err != nil || doc.Message == "" || (kind == "500") != strings.Contains(a.body, "incidentId") {
			t.Errorf("%s: %s %v", kind, a.body, err)
		}
		if g.isStored(string(claim.TaskID) + "/resolution.json") {
			t.Error("completed all the same")
		}
	}
}

func statusOf(kind string) int {
	return int(kind[0]-'0')*100 + int(kind[1]-'0')*10 + int(kind[2]-'0')
}

// What tells the calls of the queue apart, claim from reclaim above all.
func TestFaultsHitWhatTheyName(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	task := "/task/" + string(claim.TaskID)
	calls := map[string]func() answer{
		"claim":   func() answer { return g.post("/claim-work/p/w", workerBody) },
		"reclaim": func() answer { return g.post(task+"/claim", `{"workerGroup":"group","workerId":"worker","runId":0}`) },
		"artifact-urls": func() answer {
			return g.post(task+"/artifact-urls", `{"runId":0,"workerGroup":"group","workerId":"worker","artifacts":{}}`)
		},
		"completed": func() answer {
			return g.post(task+"/completed", strings.Replace(completedBody, "worker\"}", "x\"}", 1))
		},
		"put": func() answer { return g.put(claim.LogsPutURL, "{}") },
		"get": func() answer { return g.get("x") },
		"":    func() answer { return g.send("GET", g.QueueURL()+task+"/status", "", "") },
	}
	for what := range calls {
		if what == "" {
			continue
		}
		for other, call := range calls {
			if err := g.Inject(agenttest.Fault{What: what, Kind: "418", Count: 1}); err != nil {
				t.Fatal(err)
			}
			if a := call(); (a.status == 418) != (other == what) {
				t.Errorf("fault for %s: %q answered %d", what, other, a.status)
			}
			for range 2 { // use it up
				calls[what]()
			}
		}
	}
	for what, call := range calls {
		if err := g.Inject(agenttest.Fault{What: "any", Kind: "418", Count: 1}); err != nil {
			t.Fatal(err)
		}
		if a := call(); a.status != 418 {
			t.Errorf("any did not hit %q: %d", what, a.status)
		}
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func TestFaultReset(t *testing.T) {
	g, claim := hit(t, agenttest.Fault{What: "put", Kind: "reset"})
	if a := g.put(claim.LogsPutURL, "{}"); !isReset(a.err) {
		t.Errorf("PUT: got %d %v, want a reset connection", a.status, a.err)
	}
	if err := g.Inject(agenttest.Fault{What: "put", Kind: "reset"}); err != nil {
		t.Fatal(err)
	}
	for range 6 { // before the body, or amid it
		if a := g.put(claim.LogsPutURL, strings.Repeat("x", 8<<20)); a.err == nil {
			t.Errorf("large PUT: got %d", a.status)
		}
	}
	for _, r := range g.Requests() {
		if r.Fault != "reset" || r.Status != 0 || r.Stored {
			t.Errorf("history: %+v", r)
		}
	}
	if g.isStored(logsPath(claim)) {
		t.Error("PUT: stored")
	}

	g, claim = hit(t, agenttest.Fault{What: "get", Kind: "reset"})
	g.want(g.put(claim.LogsPutURL, strings.Repeat("x", 1<<20)), 200)
	if a := g.get(logsPath(claim)); !isReset(a.err) || len(a.body) >= 1<<20 {
		t.Errorf("GET: got %d bytes, %v; want a reset connection", len(a.body), a.err)
	}

	g, claim = hit(t, agenttest.Fault{What: "completed", Kind: "reset"})
	if a := g.post("/task/"+string(claim.TaskID)+"/completed", completedBody); !isReset(a.err) {
		t.Errorf("POST: got %d %v, want a reset connection", a.status, a.err)
	}
	if g.isStored(string(claim.TaskID) + "/resolution.json") {
		t.Error("completed all the same")
	}
}

// After a lost answer everything is done, and nobody knows.
func TestFaultLost(t *testing.T) {
	g, claim := hit(t, agenttest.Fault{What: "put", Kind: "lost"})
	if a := g.put(claim.LogsPutURL, "{}"); a.err == nil {
		t.Errorf("PUT: got %d", a.status)
	}
	g.wantHistory("lost", 0, true)
	if !g.isStored(logsPath(claim)) {
		t.Error("PUT: not stored")
	}

	g, claim = hit(t, agenttest.Fault{What: "completed", Kind: "lost"})
	if a := g.complete(claim); a.err == nil {
		t.Errorf("POST: got %d", a.status)
	}
	if !g.isStored(string(claim.TaskID) + "/resolution.json") {
		t.Error("not completed")
	}
	g.want(g.post("/task/"+string(claim.TaskID)+"/completed", completedBody), 404)

	g, claim = hit(t, agenttest.Fault{What: "get", Kind: "lost"})
	if a := g.get(string(claim.TaskID) + "/task.json"); a.err == nil {
		t.Errorf("GET: got %d", a.status)
	}
}

// Of an object that rots, only its bytes tell.
func TestFaultRot(t *testing.T) {
	g, claim := hit(t, agenttest.Fault{What: "put", Kind: "rot", Count: 1})
	a := g.put(claim.LogsPutURL, "hello")
	g.want(a, 200)
	g.wantHistory("rot", 200, true)
	if got := g.get(logsPath(claim)); got.body != "heLlo" || got.header.Get("ETag") != a.header.Get("ETag") || a.header.Get("ETag") != etagOf("hello") {
		t.Errorf("got %q with %v, the PUT was answered with %v", got.body, got.header, a.header)
	}
	g.want(g.put(claim.LogsPutURL, ""), 200)
}

// A stalled request is let go when its client leaves, and when the server is closed.
func TestFaultStall(t *testing.T) {
	for _, size := range []int{2, 32 << 20} {
		log := make(lines, 100)
		g := start(t, agenttest.Options{Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		claim := g.claim()
		if err := g.Inject(agenttest.Fault{What: "put", Kind: "stall", Count: 1}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		r := g.request("PUT", claim.LogsPutURL.Reveal(), jsonType, strings.Repeat("x", size)).WithContext(ctx)
		go func() { failed <- g.do(r).err }()
		g.arrived("put")
		select {
		case err := <-failed:
			t.Errorf("%d bytes: got an answer or %v", size, err)
		case <-time.After(50 * time.Millisecond):
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes: got %v", size, err)
		}
		if size == 2 { // all of the body was read: the server hears of it
			log.await(t, "fault=stall")
		}
		if g.isStored(logsPath(claim)) {
			t.Errorf("%d bytes: stored", size)
		}
	}
	for _, what := range []string{"completed", "get"} {
		g, claim := hit(t, agenttest.Fault{What: what, Kind: "stall"})
		failed := make(chan error, 1)
		go func() {
			if what == "get" {
				failed <- g.get("x").err
				return
			}
			failed <- g.post("/task/"+string(claim.TaskID)+"/completed", completedBody).err
		}()
		g.arrived(what)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if err := <-failed; err == nil {
			t.Errorf("%s: an answer after all", what)
		}
	}
}

// lines hands on what is written to it.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func (l lines) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case line := <-l:
			if strings.Contains(line, text) {
				return
			}
		case <-deadline:
			t.Fatalf("no line with %q", text)
		}
	}
}

// arrived waits for a request.
func (g *rig) arrived(what string) {
	g.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		if all := g.Requests(); len(all) > 0 && all[len(all)-1].What == what {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatal("the request never arrived")
		}
	}
}

func TestFaultSlow(t *testing.T) {
	const size = 32 << 10 // half a second
	text := strings.Repeat("x", size)
	took := func(do func() answer, status int, body string) {
		t.Helper()
		began := time.Now()
		if a := do(); a.err != nil || a.status != status || a.body != body {
			t.Errorf("got %d, %d bytes, %v", a.status, len(a.body), a.err)
		}
		if d := time.Since(began); d < 400*time.Millisecond {
			t.Errorf("took only %v", d)
		}
	}
	g, claim := hit(t, agenttest.Fault{What: "put", Kind: "slow"})
	took(func() answer { return g.put(claim.LogsPutURL, text) }, 200, "")
	g.wantHistory("slow", 200, true)
	if err := g.Inject(agenttest.Fault{What: "get", Kind: "slow", Count: 1}); err != nil {
		t.Fatal(err)
	}
	took(func() answer { return g.get(logsPath(claim)) }, 200, text)
	if err := g.Inject(agenttest.Fault{What: "artifact-urls", Kind: "slow", Count: 1}); err != nil {
		t.Fatal(err)
	}
	g.grant(claim.TaskID, "x", "a/b")
	if r := g.last(); r.Fault != "slow" {
		t.Errorf("history: %+v", r)
	}
}

func TestFaultExpired(t *testing.T) {
	for _, what := range []string{"put", "any"} {
		g, claim := hit(t, agenttest.Fault{What: what, Kind: "expired"})
		if a := g.get(string(claim.TaskID) + "/task.json"); a.status != 200 {
			t.Errorf("%s hit a GET: %d", what, a.status)
		}
		if a := g.post("/claim-work/p/w", workerBody); a.status != 204 {
			t.Errorf("%s hit the queue: %d", what, a.status)
		}
		a := g.put(claim.LogsPutURL, "{}")
		g.wantCode(a, 403, "AccessDenied")
		if !strings.Contains(a.body, "Request has expired") || !strings.Contains(a.body, "<Expires>") || !strings.Contains(a.body, "<ServerTime>") {
			t.Error(a.body)
		}
		g.wantHistory("expired", 403, false)
		g.want(g.put(claim.LogsPutURL, "{}"), 200)
	}
}

// Redirects lead to another port, where the same request works, even if every request is redirected.
func TestFaultRedirect(t *testing.T) {
	plan, err := agenttest.ParseFaults("any=redirect", 0)
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, agenttest.Options{Faults: plan})
	claim := g.claim()
	a := g.put(claim.LogsPutURL, "{}")
	g.want(a, http.StatusTemporaryRedirect)
	location := a.header.Get("Location")
	if !strings.HasPrefix(location, "http://127.0.0.1:") || strings.HasPrefix(location, g.StorageURL()) || g.isStored(logsPath(claim)) {
		t.Errorf("to %s", schema.Redact(location))
	}
	g.want(g.put(schema.NewSignedURL(location), "{}"), 200)
	if !g.isStored(logsPath(claim)) {
		t.Error("not stored")
	}
	g.wantCode(g.put(schema.NewSignedURL(location+"0"), "{}"), 403, "SignatureDoesNotMatch")
	// What is not valid here is not signed for elsewhere.
	g.wantCode(g.put(schema.NewSignedURL(claim.LogsPutURL.Reveal()+"0"), "{}"), 403, "SignatureDoesNotMatch")

	a = g.get(logsPath(claim))
	g.want(a, http.StatusFound)
	if a := g.send("GET", a.header.Get("Location"), "", ""); a.status != 200 || a.body != "{}" {
		t.Errorf("GET: %d %s", a.status, a.body)
	}
	a = g.post("/task/"+string(claim.TaskID)+"/completed", completedBody)
	g.want(a, http.StatusTemporaryRedirect)
	g.want(g.send("POST", a.header.Get("Location"), jsonType, completedBody), 200)
	a = g.send("GET", g.QueueURL()+"/task/"+string(claim.TaskID)+"/status", "", "")
	g.want(a, http.StatusFound)
	g.want(g.send("GET", a.header.Get("Location"), "", ""), 200)
}

// Other faults hit a redirected request as any other.
func TestFaultAfterRedirect(t *testing.T) {
	plan, err := agenttest.ParseFaults("get=redirect,get=503", 0)
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, agenttest.Options{Faults: plan})
	a := g.get("x")
	g.want(a, http.StatusFound)
	g.want(g.send("GET", a.header.Get("Location"), "", ""), 503)
}

// Storing and reading an object allocates far less than its size.
func TestStreams(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	const size = 64 << 20
	r := g.request("PUT", claim.LogsPutURL.Reveal(), jsonType, "")
	r.Body, r.ContentLength = io.NopCloser(io.LimitReader(zeros{}, size)), size
	before := allocated()
	g.want(g.do(r), 200)
	resp, err := g.client.Get(g.StorageURL() + "/" + logsPath(claim))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if grown := allocated() - before; grown > size/4 {
		t.Errorf("%d bytes were allocated for an object of %d", grown, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// allocated counts every byte that was ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
