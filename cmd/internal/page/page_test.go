package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/cmd/internal/page"
	"github.com/taskcluster/upload-agent/schema"
)

const (
	id     = "YpsYjqE5Q_-NIvzSmpNnFA"
	signed = "X-Amz-Signature=CANARY"
)

// storage is a task storage of one task that a test fills.
type storage struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]string // by path below the task; STORAGE in them is the storage's URL
}

func newStorage(t *testing.T, objects map[string]string) *storage {
	t.Helper()
	s := &storage{objects: objects}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		body, ok := s.objects[strings.TrimPrefix(r.URL.Path, "/"+id+"/")]
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		body = strings.ReplaceAll(body, "STORAGE", s.URL)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *storage) put(path, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[path] = body
}

// serve serves the page of a storage.
func serve(t *testing.T, s *storage, o page.Options) *httptest.Server {
	t.Helper()
	var err error
	if o.Storage, err = queue.NewStorage(s.URL, queue.Options{MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(page.New(o))
	t.Cleanup(server.Close)
	return server
}

// get asks the page for something and gives its status and body.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func getJSON[T any](t *testing.T, url string) (value T) {
	t.Helper()
	status, body := get(t, url)
	if err := json.Unmarshal([]byte(body), &value); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d, %v: %s", url, status, err, body)
	}
	return value
}

const (
	definition = `{"version":"0.2.0","provisionerId":"p","workerType":"w","routing":"","retries":1,"timeout":60,"priority":1,
		"created":"2026-01-01T00:00:00Z","deadline":"2300-01-01T00:00:00Z","payload":{},"tags":{"k":"v"},
		"metadata":{"name":"<b>a name</b>","owner":"me@example.com","source":"https://example.com/?` + signed + `"}}`
	logsDocument   = `{"version":"0.2.0","logs":{"terminal.log":"STORAGE/` + id + `/text","live/terminal.log":"STORAGE/` + id + `/index","other.log":"STORAGE/` + id + `/other"}}`
	resultDocument = `{"version":"0.2.0","artifacts":{"a":"STORAGE/` + id + `/a","hidden":"STORAGE/` + id + `/a?` + signed + `","script":"javascript:alert(1)"},
		"statistics":{"started":"2026-01-01T00:00:00Z","finished":"2026-01-01T00:01:00Z"},
		"metadata":{"workerGroup":"g","workerId":"w","success":false},"result":{"exitCode":1,"missingArtifacts":{"gone":"no such file","terminal.log":"incomplete: 3 bytes"}}}`
	statusOfTask       = `{"taskId":"` + id + `","provisionerId":"p","workerType":"w","runs":[{"runId":0,"workerGroup":"g","workerId":"w"}],"state":"completed","reason":"none","routing":"","timeout":60,"retries":1,"priority":1,"created":"2026-01-01T00:00:00Z","deadline":"2300-01-01T00:00:00Z","takenUntil":"2026-01-01T00:00:00Z"}`
	resolutionDocument = `{"version":"0.2.0","status":` + statusOfTask + `,"runId":0,"success":false,"resultUrl":"http://x/r","logsUrl":"http://x/l","workerGroup":"g","workerId":"w"}`
	endedIndex         = `{"version":"0.2.0","size":6,"complete":true,"pollAfterMs":0,"chunks":[],"tail":"bGl2ZSEK"}` // "live!\n"
	goingIndex         = `{"version":"0.2.0","size":6,"complete":false,"pollAfterMs":100,"chunks":[],"tail":"bGl2ZSEK"}`
)

func whole() map[string]string {
	return map[string]string{
		"task.json": definition, "runs/0/logs.json": logsDocument, "runs/0/result.json": resultDocument, "resolution.json": resolutionDocument,
		"text": "text\n", "index": endedIndex, "other": "another\n", "a": "an artifact",
	}
}

// All that the storage has of a task is told, without any asking of a queue.
func TestTask(t *testing.T) {
	server := serve(t, newStorage(t, whole()), page.Options{})
	task := getJSON[page.Task](t, server.URL+"/api/tasks/"+id)
	if task.State != page.Failure || task.Name != "<b>a name</b>" || task.Tags["k"] != "v" || task.Source.Link || len(task.Runs) != 1 {
		t.Fatalf("%+v", task)
	}
	run := task.Runs[0]
	if run.State != page.Failure || run.Worker != "g/w" || run.Finished.Sub(run.Started) != time.Minute || run.Artifacts != 3 || len(run.Result) != 1 || run.Result["exitCode"] != "1" {
		t.Errorf("%+v", run)
	}
	if len(run.Missing) != 2 || run.Missing[0] != (page.Missing{Name: "gone", Reason: "no such file"}) || run.MissingAll != 2 {
		t.Errorf("missing: %+v", run.Missing)
	}
	if len(run.Logs) != 2 || run.Logs[0].Name != "other.log" || run.Logs[0].Live || run.Logs[1].Name != "terminal.log" || !run.Logs[1].Live ||
		run.Logs[1].Incomplete != "incomplete: 3 bytes" {
		t.Errorf("logs: %+v", run.Logs)
	}
	for _, document := range append(task.Documents, run.Documents...) {
		if document.State != page.Valid || document.Size == 0 {
			t.Errorf("%+v", document)
		}
	}
	list := getJSON[page.Artifacts](t, server.URL+"/api/tasks/"+id+"/runs/0/artifacts")
	if list.All != 3 || len(list.Artifacts) != 3 {
		t.Fatalf("%+v", list)
	}
	if a := list.Artifacts[0]; a.Name != "a" || a.Size != 11 || !a.URL.Link || !strings.HasPrefix(a.ContentType, "text/plain") || a.Problem != "" {
		t.Errorf("%+v", a)
	}
	if a := list.Artifacts[1]; a.URL.Link || !strings.HasSuffix(a.URL.Text, "/a?<redacted>") || a.Size != 11 {
		t.Errorf("a signed URL: %+v", a)
	}
	if a := list.Artifacts[2]; a.URL.Link || a.Problem == "" {
		t.Errorf("javascript: %+v", a)
	}
}

// What is wrong with a document is said, and it is shown all the same.
func TestDocuments(t *testing.T) {
	objects := whole()
	objects["task.json"] = strings.Replace(definition, `"retries":1`, `"retries":"x","a":1,"b":1,"c":1,"d":1,"e":1,"f":1`, 1)
	delete(objects, "resolution.json")
	server := serve(t, newStorage(t, objects), page.Options{})
	task := getJSON[page.Task](t, server.URL+"/api/tasks/"+id)
	definition, resolution := task.Documents[0], task.Documents[1]
	if definition.State != page.Invalid || len(definition.Problems) != 5 || definition.More != 2 || !strings.HasPrefix(definition.Problems[0], "/retries: want") {
		t.Errorf("%+v", definition)
	}
	if resolution.State != page.Absent {
		t.Errorf("%+v", resolution)
	}
	for path, want := range map[string]string{
		"documents/task.json":          "\"retries\": \"x\",\n",
		"runs/0/documents/result.json": "hidden",
	} {
		if text := getJSON[page.Text](t, server.URL+"/api/tasks/"+id+"/"+path); !strings.Contains(text.Text, want) || text.Cut {
			t.Errorf("%s: %+v", path, text)
		}
	}
	for _, path := range []string{"documents/resolution.json", "documents/logs.json", "runs/0/documents/task.json", "runs/7/documents/logs.json", "runs/x/documents/logs.json"} {
		if status, body := get(t, server.URL+"/api/tasks/"+id+"/"+path); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// No signed URL gets to the browser, wherever it stands.
func TestSignedURLsStayHere(t *testing.T) {
	objects := whole()
	objects["runs/0/logs.json"] = strings.Replace(logsDocument, `"terminal.log":"STORAGE`, `"x.log":"STORAGE/none?`+signed+`","terminal.log":"STORAGE`, 1)
	objects["resolution.json"] = strings.Replace(resolutionDocument, `"http://x/r"`, `"http:\/\/x\/r?X-Amz-Signature\u003dCANARY"`, 1)
	objects["runs/0/result.json"] = strings.Replace(resultDocument, `"exitCode":1`, `"http://x/?`+signed+`":"see http://x/?`+signed+`"`, 1) + "!" // it is broken, too
	storage := newStorage(t, objects)
	server := serve(t, storage, page.Options{})
	for _, path := range []string{
		"", "/documents/task.json", "/documents/resolution.json", "/runs/0/documents/logs.json", "/runs/0/documents/result.json",
		"/runs/0/artifacts", "/runs/0/log?name=x.log",
	} {
		if status, body := get(t, server.URL+"/api/tasks/"+id+path); strings.Contains(body, "CANARY") || status != 200 && path != "/runs/0/log?name=x.log" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	storage.put("runs/0/result.json", resultDocument)
	if _, body := get(t, server.URL+"/api/tasks/"+id+"/runs/0/artifacts"); strings.Contains(body, "CANARY") {
		t.Error(body)
	}
}

func TestLog(t *testing.T) {
	storage := newStorage(t, whole())
	server := serve(t, storage, page.Options{})
	for query, want := range map[string]string{
		"name=terminal.log":          "live!\n",
		"name=terminal.log&offset=4": "!\n",
		"name=terminal.log&offset=9": "",
		"name=other.log":             "another\n",
		"name=other.log&offset=3":    "ther\n",
		"name=other.log&offset=99":   "",
	} {
		response, err := http.Get(server.URL + "/api/tasks/" + id + "/runs/0/log?" + query)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != want {
			t.Errorf("%s: %q, %v, want %q", query, body, err, want)
		}
		if h := response.Header; !strings.HasPrefix(h.Get("Content-Disposition"), "attachment; filename=run-0-") || h.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: a browser would show it: %v", query, h)
		}
	}
	for _, query := range []string{"", "name=none", "name=terminal.log&offset=x", "name=terminal.log&offset=-1"} {
		if status, body := get(t, server.URL+"/api/tasks/"+id+"/runs/0/log?"+query); status != http.StatusNotFound {
			t.Errorf("%q: %d %s", query, status, body)
		}
	}
}

// A log whose run goes on is followed; when the run is lost, its log ends although nobody ended it.
func TestLogOfLostRunEnds(t *testing.T) {
	objects := whole()
	objects["index"] = goingIndex
	delete(objects, "resolution.json")
	delete(objects, "runs/0/result.json")
	var mu sync.Mutex
	state := schema.Running
	server := serve(t, newStorage(t, objects), page.Options{
		Quiet: 100 * time.Millisecond,
		Status: func(context.Context, schema.TaskID) (schema.TaskStatus, error) {
			mu.Lock()
			defer mu.Unlock()
			return schema.TaskStatus{TaskID: id, State: state, Runs: []schema.Run{{RunID: 0}}}, nil
		},
	})
	response, err := http.Get(server.URL + "/api/tasks/" + id + "/runs/0/log?name=terminal.log")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadFull(response.Body, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	state = schema.Failed
	mu.Unlock()
	rest, err := io.ReadAll(response.Body)
	if err != nil || len(rest) > 0 {
		t.Errorf("%q, %v; want the end", rest, err)
	}
}

// A log that cannot be read on must not look as if it had ended.
func TestLogThatBreaksOff(t *testing.T) {
	objects := whole()
	objects["index"] = goingIndex
	delete(objects, "resolution.json")
	delete(objects, "runs/0/result.json")
	storage := newStorage(t, objects)
	server := serve(t, storage, page.Options{})
	response, err := http.Get(server.URL + "/api/tasks/" + id + "/runs/0/log?name=terminal.log")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadFull(response.Body, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	server.CloseClientConnections()
	if rest, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("the end, after %q", rest)
	}

	// The stored text promises more than it has.
	storage.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimPrefix(r.URL.Path, "/"+id+"/") {
		case "task.json":
			io.WriteString(w, definition)
		case "runs/0/logs.json":
			io.WriteString(w, strings.ReplaceAll(logsDocument, "STORAGE", storage.URL))
		case "other":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "too short")
		default:
			http.NotFound(w, r)
		}
	})
	response, err = http.Get(server.URL + "/api/tasks/" + id + "/runs/0/log?name=other.log")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("the end, after %q", body)
	}
}

func TestTasks(t *testing.T) {
	server := serve(t, newStorage(t, whole()), page.Options{})
	if list := getJSON[page.TaskList](t, server.URL+"/api/tasks"); list.Listed || len(list.Tasks) != 0 {
		t.Errorf("%+v", list)
	}
	unknown := schema.NewTaskID()
	server = serve(t, newStorage(t, whole()), page.Options{Tasks: func(context.Context) ([]schema.TaskStatus, error) {
		return []schema.TaskStatus{{TaskID: unknown, State: schema.Failed}, {TaskID: id}}, nil
	}})
	list := getJSON[page.TaskList](t, server.URL+"/api/tasks")
	if !list.Listed || list.All != 2 || len(list.Tasks) != 2 {
		t.Fatalf("%+v", list)
	}
	if task := list.Tasks[0]; task.ID != id || task.State != page.Failure || task.Name != "<b>a name</b>" || task.Worker != "p/w" || task.Runs != 1 {
		t.Errorf("%+v", task)
	}
	if task := list.Tasks[1]; task.ID != unknown || task.State != page.Exception || task.Problem == "" {
		t.Errorf("%+v", task)
	}
}

func TestUnknown(t *testing.T) {
	server := serve(t, newStorage(t, whole()), page.Options{})
	for _, path := range []string{
		"/api/tasks/" + string(schema.NewTaskID()), "/api/tasks/x", "/api/tasks/" + id + "/runs/1/artifacts", "/api/tasks/" + id + "/runs/-1/artifacts",
		"/api/nothing", "/static/none.js", "/static/", "/nothing", "/static/..%2fpage.go",
	} {
		if status, body := get(t, server.URL+path); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// Every answer says what a browser may do with it, and only requests that are the page's own get one.
func TestOnlyThePageItself(t *testing.T) {
	server := serve(t, newStorage(t, whole()), page.Options{Hosts: []string{"build.example"}})
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, row := range []struct {
		method, path, host, site string
		status                   int
	}{
		{"GET", "/", "", "", 200},
		{"HEAD", "/", "", "", 200},
		{"GET", "/tasks/" + id, "localhost" + port, "cross-site", 200}, // a link somewhere
		{"GET", "/tasks/" + id + "/runs/0", "[::1]" + port, "", 200},
		{"GET", "/static/page.js", "Build.Example" + port, "same-origin", 200},
		{"GET", "/api/tasks/" + id, "build.example", "same-origin", 200},
		{"GET", "/api/tasks/" + id, "", "none", 200},
		{"GET", "/api/tasks/" + id, "", "cross-site", 403},
		{"GET", "/api/tasks/" + id + "/runs/0/log?name=other.log", "", "same-site", 403},
		{"HEAD", "/api/tasks/" + id + "/runs/0/log?name=other.log", "", "same-origin", 200},
		{"GET", "/", "evil.example" + port, "", 421},
		{"GET", "/", "localhost.evil.example" + port, "", 421},
		{"GET", "/api/tasks/" + id, "127.0.0.1.evil.example" + port, "", 421},
		{"GET", "/static/page.js", "192.0.2.7" + port, "", 421}, // no address of ours
		{"POST", "/api/tasks/" + id, "", "", 405},
		{"PUT", "/", "", "", 405},
		{"OPTIONS", "/api/tasks", "", "", 405},
		{"GET", "/nothing", "", "", 404},
	} {
		request, err := http.NewRequest(row.method, server.URL+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = row.host
		if row.site != "" {
			request.Header.Set("Sec-Fetch-Site", row.site)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != row.status {
			t.Errorf("%+v: %d", row, response.StatusCode)
		}
		policy := response.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
				t.Errorf("%+v: Content-Security-Policy: %s", row, policy)
			}
		}
		if h := response.Header; h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%+v: %v", row, h)
		}
	}
}

// The page needs nothing from anywhere, and its files are what they seem to be.
func TestFiles(t *testing.T) {
	server := serve(t, newStorage(t, whole()), page.Options{})
	_, index := get(t, server.URL+"/")
	for path, want := range map[string]string{"/": "text/html", "/static/page.js": "text/javascript", "/static/page.css": "text/css", "/static/favicon.svg": "image/svg+xml"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		etag := response.Header.Get("ETag")
		if got := response.Header.Get("Content-Type"); !strings.HasPrefix(got, want) || etag == "" || path != "/" && !strings.Contains(index, path) {
			t.Errorf("%s: %s, ETag %s", path, got, etag)
		}
		request, _ := http.NewRequest("GET", server.URL+path, nil)
		request.Header.Set("If-None-Match", etag)
		if response, err = http.DefaultClient.Do(request); err != nil || response.StatusCode != http.StatusNotModified {
			t.Errorf("%s with its ETag: %v %v", path, response, err)
		}
	}
	if strings.Contains(index, "http:") || strings.Contains(index, "https:") || strings.Contains(index, "<style") || strings.Contains(index, "style=") || strings.Contains(index, "onclick") {
		t.Error("index.html asks for something from elsewhere, or has something inline")
	}
}
