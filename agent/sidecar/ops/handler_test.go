package ops_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

const (
	taskID = schema.TaskID("YpsYjqE5Q_-NIvzSmpNnFA")
	secret = "https://storage.example.com/x?X-Amz-Signature=verysecret"
)

// fixed is a source that stands still.
func fixed(s ops.Snapshot) ops.Source { return ops.SourceFunc(func() ops.Snapshot { return s }) }

func busy() ops.Snapshot {
	run := schema.RunID(2)
	return ops.Snapshot{
		State: schema.AgentReady, Alive: time.Now(), Open: 2,
		Runs: []ops.Run{
			{Name: "later", TaskID: taskID, RunID: &run, Phase: "running", TakenUntil: time.Now().Add(20 * time.Hour), LogBytes: 7, Stored: 1, Missing: 2},
			{Name: "sooner", Phase: "running", TakenUntil: time.Now().Add(10 * time.Hour)},
			{Name: "bad\xff", Phase: "refused", Problem: "claim.json: put to " + secret + " refused"},
		},
	}
}

func get(t *testing.T, h http.Handler, method, path string) (int, http.Header, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Header(), w.Body.String()
}

func TestHealthAndReadiness(t *testing.T) {
	for name, test := range map[string]struct {
		s               ops.Snapshot
		healthy, ready  bool
		health, waiting string
	}{
		"just starting":      {ops.Snapshot{}, true, false, "ok", "starting"},
		"starting, says why": {ops.Snapshot{NotReady: "reading 7 folders"}, true, false, "ok", "reading 7 folders"},
		"ready":              {ops.Snapshot{State: schema.AgentReady, Alive: time.Now()}, true, true, "ok", "ok"},
		"has no loop":        {ops.Snapshot{State: schema.AgentReady}, true, true, "ok", "ok"},
		"stopping":           {ops.Snapshot{State: schema.AgentStopping, Alive: time.Now()}, true, false, "ok", "stopping"},
		"broken":             {ops.Snapshot{State: schema.AgentReady, Problem: "the folder of runs is gone"}, false, true, "the folder of runs is gone", "ok"},
		"hangs":              {ops.Snapshot{State: schema.AgentReady, Alive: time.Now().Add(-time.Hour)}, false, true, "no sign of life for 1h", "ok"},
		"a secret":           {ops.Snapshot{State: schema.AgentReady, Problem: "put \"" + secret + "\""}, false, true, "storage.example.com/x?<redacted>", "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			h := ops.NewHandler(fixed(test.s), nil, ops.Options{})
			for path, want := range map[string]struct {
				ok   bool
				text string
			}{"/healthz": {test.healthy, test.health}, "/readyz": {test.ready, test.waiting}} {
				code, _, body := get(t, h, "GET", path)
				if (code == 200) != want.ok || !want.ok && code != 503 || !strings.Contains(body, want.text) || strings.Contains(body, "verysecret") {
					t.Errorf("%s: %d %q, want %v %q", path, code, body, want.ok, want.text)
				}
			}
		})
	}
}

func counted() *ops.Counters {
	c := new(ops.Counters)
	c.LogBytes.Add(1000)
	c.Observer().LogFlushed("x", 5)
	c.RunEnded(ops.Succeeded)
	c.RunEnded(ops.Succeeded)
	c.RunEnded(ops.ClaimLost)
	c.RunEnded(ops.Outcome(99))
	run := c.NewTally()
	run.Look(nil, map[string]upload.Receipt{"a": {Size: 50}}, nil)
	told := c.Observer()
	told.ObjectStored(upload.Receipt{Size: 50})
	told.ObjectStored(upload.Receipt{Size: 5})
	told.Retrying("a", upload.ErrStalled)
	told.Retrying("a", upload.ErrStalled)
	told.GrantRenewed("a")
	told.Reclaimed(time.Now())
	told.JournalFailed(nil)
	c.ArtifactMissing(fmt.Sprintf("upload %q: %v", "a", upload.ErrChanged))
	c.ArtifactMissing(fmt.Sprintf("upload %q to h: %v; last: %v", "b", upload.ErrGaveUp, upload.ErrUnavailable))
	c.ArtifactMissing("whatever " + secret)
	return c
}

func TestMetrics(t *testing.T) {
	h := ops.NewHandler(fixed(busy()), counted(), ops.Options{Version: "v1.2.3"})
	code, _, body := get(t, h, "GET", "/metrics")
	if code != 200 {
		t.Fatal(code, body)
	}
	for _, want := range []string{
		"upload_agent_runs_open 2", `upload_agent_runs_ended_total{outcome="success"} 2`, `upload_agent_runs_ended_total{outcome="claim_lost"} 1`,
		`upload_agent_runs_ended_total{outcome="failure"} 0`, "upload_agent_log_bytes_total 1000", "upload_agent_log_flushes_total 1",
		"upload_agent_artifacts_stored_total 1", `upload_agent_artifacts_missing_total{reason="changed"} 1`,
		`upload_agent_artifacts_missing_total{reason="unavailable"} 1`, `upload_agent_artifacts_missing_total{reason="other"} 1`,
		`upload_agent_artifacts_missing_total{reason="gave_up"} 0`, "upload_agent_uploaded_bytes_total 55", "upload_agent_upload_retries_total 2",
		"upload_agent_grant_renewals_total 1", "upload_agent_reclaims_total 1", "upload_agent_journal_errors_total 1",
		`upload_agent_queue_errors_total{kind="network"} 0`, "upload_agent_ready 1", "upload_agent_healthy 1",
		`upload_agent_claim_remaining_seconds 35`, // thousand and something: the first of two claims
		`version="v1.2.3"`, "go_goroutines", "process_start_time_seconds",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	for _, never := range []string{string(taskID), "verysecret", "later", "sooner", "claim.json"} {
		if strings.Contains(body, never) {
			t.Errorf("%q is in the metrics", never)
		}
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", err, problems)
	}
	_, _, body = get(t, ops.NewHandler(fixed(ops.Snapshot{}), nil, ops.Options{}), "GET", "/metrics")
	if strings.Contains(body, "\nupload_agent_claim_remaining_seconds") || !strings.Contains(body, "upload_agent_ready 0") {
		t.Error("without a claim there is a time left, or an agent that is starting is ready")
	}
}

func TestStatusDocument(t *testing.T) {
	h := ops.NewHandler(fixed(busy()), counted(), ops.Options{Version: "v1.2.3"})
	code, header, body := get(t, h, "GET", "/status.json")
	if code != 200 || header.Get("Content-Type") != "application/json" || strings.Contains(body, "verysecret") {
		t.Fatal(code, header, body)
	}
	doc, err := schema.Decode[schema.AgentStatus]("status.json", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	totals := schema.AgentTotals{RunsOpen: 2, RunsSucceeded: 2, RunsNotCompleted: 1, LogBytes: 1000, ArtifactsStored: 1, ArtifactsMissing: 3, BytesUploaded: 55}
	if doc.State != schema.AgentReady || !doc.Healthy || doc.Totals != totals || len(doc.Runs) != 3 {
		t.Errorf("got %+v", doc)
	}
	if r := doc.Runs[0]; r.TaskID != taskID || *r.RunID != 2 || r.TakenUntil.IsZero() || r.ArtifactsMissing != 2 {
		t.Errorf("got %+v", r)
	}
	if r := doc.Runs[2]; r.TaskID != "" || r.Name != "bad\uFFFD" || !strings.Contains(r.Problem, "storage.example.com") {
		t.Errorf("got %+v", r)
	}
	if code, _, body = get(t, ops.NewHandler(fixed(ops.Snapshot{}), nil, ops.Options{}), "GET", "/status.json"); code != 200 {
		t.Error(code, body)
	}
	if err := schema.Validate("agent-status", "", []byte(body)); err != nil || !strings.Contains(body, `"runs":[]`) {
		t.Errorf("of an agent that is starting: %v: %s", err, body)
	}
}

func TestOnlyReading(t *testing.T) {
	h := ops.NewHandler(fixed(busy()), nil, ops.Options{})
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/status.json", "/"} {
		if code, _, _ := get(t, h, "POST", path); code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, code)
		}
		if code, header, _ := get(t, h, "HEAD", path); code != 200 || header.Get("Cache-Control") != "no-store" {
			t.Errorf("HEAD %s: %d %v", path, code, header)
		}
	}
	if code, _, _ := get(t, h, "GET", "/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("an unknown path: %d", code)
	}
}

func TestCountQueueErrors(t *testing.T) {
	answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var code int
		_ = json.NewDecoder(r.Body).Decode(&code)
		w.WriteHeader(code)
	}))
	defer answers.Close()
	c := new(ops.Counters)
	client := http.Client{Transport: c.CountQueueErrors(answers.Client().Transport)}
	post := func(url, code string) {
		res, err := client.Post(url, "", strings.NewReader(code))
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}
	for _, code := range []string{"200", "204", "404", "409", "503"} {
		post(answers.URL, code)
	}
	post("http://127.0.0.1:1", "200")
	_, _, body := get(t, ops.NewHandler(fixed(ops.Snapshot{}), c, ops.Options{}), "GET", "/metrics")
	for _, want := range []string{`{kind="client_error"} 2`, `{kind="server_error"} 1`, `{kind="network"} 1`} {
		if !strings.Contains(body, "upload_agent_queue_errors_total"+want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	client.CloseIdleConnections()
}

func TestNilCounters(t *testing.T) {
	var c *ops.Counters
	c.RunEnded(ops.Failed)
	c.ArtifactMissing("x")
	if c.Observer().Reclaimed != nil {
		t.Error("somebody listens")
	}
	if c.Ended(ops.Failed) != 0 || c.Missing() != 0 {
		t.Error("nothing counts")
	}
}
