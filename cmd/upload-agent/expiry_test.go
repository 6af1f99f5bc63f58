package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/cmd/internal/page"
)

var (
	storedDay = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // when all that a run has left was stored
	lookedAt  = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
)

const aDay = 24 * time.Hour

// stated has result.json say until when its artifacts are stored.
func stated(until string) func(map[string]string) {
	return func(docs map[string]string) {
		docs["runs/0/result.json"] = strings.NewReplacer(
			`"result":{}`, `"result":{"artifactsExpire":{"a":"`+until+`","terminal.log":"`+until+`"}}`,
		).Replace(docs["runs/0/result.json"])
	}
}

// without takes documents away.
func without(names ...string) func(map[string]string) {
	return func(docs map[string]string) {
		for _, name := range names {
			delete(docs, name)
		}
	}
}

// What readers say of a task whose objects expire: when, where they can know; that it is gone, where they know that it was there; and else
// no more than that it is not found.
func TestReadersTellExpiredFromNotFound(t *testing.T) {
	gone := func(paths ...string) (rules []agenttest.Lifecycle) {
		for _, path := range paths {
			rules = append(rules, agenttest.Lifecycle{Path: path, Life: aDay})
		}
		return rules
	}
	var got strings.Builder
	for _, row := range []struct {
		name      string
		lifecycle []agenttest.Lifecycle
		change    func(map[string]string)
		fault     string // a path that is answered with 403
	}{
		{name: "everything lives, and nobody says for how long"},
		{name: "everything lives, artifacts for a known time", change: stated("2026-02-01T00:00:00Z")},
		{name: "the artifacts have expired, as result.json has said", lifecycle: gone("/artifacts/"), change: stated("2026-01-02T00:00:00Z")},
		{name: "the artifacts are gone before their time", lifecycle: gone("/artifacts/"), change: stated("2026-02-01T00:00:00Z")},
		{name: "the artifacts are gone, and nobody has said when", lifecycle: gone("/artifacts/")},
		{name: "result.json is gone", lifecycle: gone("/result.json")},
		{name: "all of the run is gone", lifecycle: gone("/runs/")},
		{name: "only the resolution is left", lifecycle: gone("/runs/", "/task.json")},
		{name: "everything is gone", lifecycle: gone("")},
		{name: "the run is not completed", change: without("resolution.json", "runs/0/result.json")},
		{name: "a log that no result names is not there", lifecycle: gone("/artifacts/"), change: without("resolution.json", "runs/0/result.json")},
		{name: "who may not read is told 403", fault: "/result.json"},
		{name: "who may not read artifacts is told 403", fault: "/artifacts/"},
		{name: "artifacts that have expired are answered with 403", fault: "/artifacts/", change: stated("2026-01-02T00:00:00Z")},
	} {
		fmt.Fprintf(&got, "== %s\n%s", row.name, sayOfExpired(t, row.lifecycle, row.change, row.fault))
	}
	const golden = "testdata/expired.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if diff := cmp.Diff(string(want), got.String()); err != nil || diff != "" {
		t.Errorf("%v: -want +got (-update takes it over)\n%s", err, diff)
	}
}

// sayOfExpired is what inspect, tail and the page say of a run.
func sayOfExpired(t *testing.T, lifecycle []agenttest.Lifecycle, change func(map[string]string), fault string) string {
	t.Helper()
	dir := t.TempDir()
	server, err := agenttest.New(dir, agenttest.Options{Lifecycle: lifecycle, Clock: func() time.Time { return lookedAt }})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if fault != "" {
		if err := server.Inject(agenttest.Fault{What: "get", Kind: "403", Path: fault}); err != nil {
			t.Fatal(err)
		}
	}
	docs := completedRun(server.StorageURL())
	docs["runs/0/logs.json"] = logsOf(`"terminal.log":"` + server.StorageURL() + "/" + goodID + `/runs/0/artifacts/terminal.log"`)
	docs["runs/0/result.json"] = strings.Replace(docs["runs/0/result.json"], `"artifacts":{`,
		`"artifacts":{"terminal.log":"`+server.StorageURL()+"/"+goodID+`/runs/0/artifacts/terminal.log",`, 1)
	if change != nil {
		change(docs)
	}
	store(t, dir, docs)
	storage, err := queue.NewStorage(server.StorageURL(), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(page.New(page.Options{Storage: storage}))
	defer served.Close()

	var b strings.Builder
	for _, args := range [][]string{{"inspect", goodID}, {"tail", goodID}, {"tail", "-f", "--give-up-after", "10ms", goodID + "/0"}} {
		var stdout, stderr bytes.Buffer
		status := run(append([]string{"upload-agent", args[0], "--storage", server.StorageURL()}, args[1:]...), nil, &stdout, &stderr)
		fmt.Fprintf(&b, "$ %s\n%s%s[%d]\n", strings.Join(args, " "), stdout.String(), stderr.String(), status)
	}
	task := pageSays[page.Task](t, &b, served.URL+"/api/tasks/"+goodID)
	documents := task.Documents
	for _, run := range task.Runs {
		documents = append(documents, run.Documents...)
	}
	for _, d := range documents {
		fmt.Fprintf(&b, "page: %s is %s %s\n", d.Name, d.State, strings.Join(d.Problems, "; "))
	}
	for _, a := range pageSays[page.Artifacts](t, &b, served.URL+"/api/tasks/"+goodID+"/runs/0/artifacts").Artifacts {
		fmt.Fprintf(&b, "page: artifact %s, %d bytes %s\n", a.Name, a.Size, a.Problem)
	}
	return strings.ReplaceAll(b.String(), server.StorageURL(), "STORAGE") + "\n"
}

// store writes what a run has left, as of the first day.
func store(t *testing.T, dir string, docs map[string]string) {
	t.Helper()
	for path, body := range docs {
		file := filepath.Join(dir, goodID, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(file, []byte(body), 0o644), os.Chtimes(file, storedDay, storedDay)); err != nil {
			t.Fatal(err)
		}
	}
}

// pageSays is an answer of the page; a refusal goes to b.
func pageSays[T any](t *testing.T, b *strings.Builder, url string) (value T) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		var said struct{ Error string }
		json.NewDecoder(answer.Body).Decode(&said)
		fmt.Fprintf(b, "page: %d: %s\n", answer.StatusCode, said.Error)
		return value
	}
	if err := json.NewDecoder(answer.Body).Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
