package queue_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// files is a storage: it answers with the file of that path, or with a status.
func files(t *testing.T, missing int, content map[string]string) *server {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, ok := content[strings.TrimPrefix(r.URL.Path, "/"+string(taskID)+"/")]
		if !ok {
			answer(missing, "application/xml", "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")(w, r)
			return
		}
		jsonAnswer(200, body)(w, r)
	})
}

func resolution(run string, w schema.Worker) string {
	return fmt.Sprintf(`{"version":"0.2.0","status":%s,"runId":%s,"success":true,"resultUrl":"http://s.example/r","logsUrl":"http://s.example/l","workerGroup":%q,"workerId":%q}`,
		statusBody(taskID, "completed", ""), run, w.WorkerGroup, w.WorkerID)
}

// readers are the methods that read a document, and its path in the storage.
var readers = map[string]func(context.Context, *queue.Storage) (any, error){
	"task.json":          func(ctx context.Context, s *queue.Storage) (any, error) { return s.Task(ctx, taskID) },
	"runs/3/logs.json":   func(ctx context.Context, s *queue.Storage) (any, error) { return s.Logs(ctx, taskID, 3) },
	"runs/3/result.json": func(ctx context.Context, s *queue.Storage) (any, error) { return s.Result(ctx, taskID, 3) },
	"resolution.json":    func(ctx context.Context, s *queue.Storage) (any, error) { return s.Resolution(ctx, taskID) },
}

func TestDocuments(t *testing.T) {
	const logs = `{"version":"0.2.0","logs":{"terminal.log":"http://s.example/t"}}`
	for path, read := range readers {
		t.Run(path, func(t *testing.T) {
			object := string(taskID) + "/" + path
			for _, status := range []int{403, 404, 410} {
				srv := files(t, status, nil)
				_, err := read(deadline(t), storage(t, srv.URL, options(t)))
				var e *queue.Error
				if !errors.As(err, &e) || !errors.Is(err, queue.ErrNotFound) || e.Status != status || e.Object != object || len(srv.seen()) != 1 {
					t.Errorf("%d: %v", status, err)
				}
				if want := fmt.Sprintf("read %s: %d %s: AccessDenied: Access Denied", object, status, http.StatusText(status)); err.Error() != want {
					t.Errorf("error %q, want %q", err, want)
				}
			}
			srv := files(t, 404, map[string]string{path: `{"version":"0.2.0"`})
			_, err := read(deadline(t), storage(t, srv.URL, options(t)))
			var d *schema.Error
			if !errors.As(err, &d) || d.File != object || len(srv.seen()) != 4 {
				t.Errorf("damaged: %v after %d requests", err, len(srv.seen()))
			}
			srv = serve(t, reset, jsonAnswer(503, ""), cut, answer(401, "", ""))
			if _, err = read(deadline(t), storage(t, srv.URL, options(t))); !errors.Is(err, queue.ErrDenied) || len(srv.seen()) != 4 {
				t.Errorf("trouble: %v after %d requests", err, len(srv.seen()))
			}
		})
	}
	there := files(t, 404, map[string]string{"runs/0/logs.json": logs})
	here := serve(t, func(w http.ResponseWriter, r *http.Request) { redirect(302, there.URL+r.URL.Path)(w, r) })
	got, err := storage(t, here.URL+"/", options(t)).Logs(deadline(t), taskID, 0)
	want := schema.Logs{Version: "0.2.0", Logs: map[string]string{"terminal.log": "http://s.example/t"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("through a redirect: %v %s", err, diff)
	}
	if _, err := storage(t, here.URL, options(t)).Task(deadline(t), "../short"); !errors.Is(err, queue.ErrNotFound) || len(here.seen()) != 1 {
		t.Errorf("a bad id: %v", err)
	}
}

func TestCompletedBy(t *testing.T) {
	other := schema.Worker{WorkerGroup: "rig-group", WorkerID: "rig-w2"}
	for _, tt := range []struct {
		name       string
		file       map[string]string
		status     int
		yes, known bool
		err        error
	}{
		{"ours", map[string]string{"resolution.json": resolution("3", worker)}, 404, true, true, nil},
		{"another run", map[string]string{"resolution.json": resolution("4", worker)}, 404, false, true, nil},
		{"another worker", map[string]string{"resolution.json": resolution("3", other)}, 404, false, true, nil},
		{"none", nil, 404, false, false, nil},
		{"hidden", nil, 403, false, false, nil},
		{"refused", nil, 401, false, false, queue.ErrDenied},
	} {
		srv := files(t, tt.status, tt.file)
		yes, known, err := storage(t, srv.URL, options(t)).CompletedBy(deadline(t), taskID, 3, worker)
		if yes != tt.yes || known != tt.known || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, %v, %v", tt.name, yes, known, err)
		}
	}
}

func TestRuns(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files string
		want  []schema.RunID
	}{
		{"from 0", "0/logs.json 1/logs.json", []schema.RunID{0, 1}},
		{"from 1", "1/logs.json 2/logs.json 2/result.json", []schema.RunID{1, 2}},
		{"a hole of one", "0/logs.json 2/logs.json", []schema.RunID{0, 2}},
		{"a hole of two", "0/logs.json 3/logs.json 6/logs.json", []schema.RunID{0, 3, 6}},
		{"a hole of three ends it", "0/logs.json 4/logs.json", []schema.RunID{0}},
		{"only a result", "0/result.json", []schema.RunID{0}},
		{"none", "", nil},
	} {
		for _, missing := range []int{403, 404} {
			content := map[string]string{}
			for _, f := range strings.Fields(tt.files) {
				content["runs/"+f] = `{"anything": "else"}`
			}
			srv := files(t, missing, content)
			got, err := storage(t, srv.URL, options(t)).Runs(deadline(t), taskID)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v %s", tt.name, err, diff)
			}
		}
	}
	srv := serve(t, reset, jsonAnswer(503, ""), jsonAnswer(200, "{}"), jsonAnswer(401, ""))
	if _, err := storage(t, srv.URL, options(t)).Runs(deadline(t), taskID); !errors.Is(err, queue.ErrDenied) || len(srv.seen()) != 4 {
		t.Errorf("%v after %d requests", err, len(srv.seen()))
	}
	srv = serve(t, answer(200, "text/html", htmlPage))
	if runs, err := storage(t, srv.URL, options(t)).Runs(deadline(t), taskID); err == nil || len(srv.seen()) != 4 {
		t.Errorf("%d runs behind a proxy's login page, after %d requests", len(runs), len(srv.seen()))
	}
	srv = serve(t, jsonAnswer(200, "{}"))
	if runs, err := storage(t, srv.URL, options(t)).Runs(deadline(t), taskID); len(runs) != 1001 || err != nil {
		t.Errorf("%d runs of a storage that has everything, %v", len(runs), err)
	}
}

// A document can be had as it is, whatever it says.
func TestDocumentAsItIs(t *testing.T) {
	const broken = `{"version": 7, "broken"`
	s := storage(t, files(t, 404, map[string]string{"runs/3/logs.json": broken}).URL, options(t))
	if data, err := s.Document(deadline(t), taskID, "runs/3/logs.json"); err != nil || string(data) != broken {
		t.Errorf("%q, %v", data, err)
	}
	for _, id := range []schema.TaskID{taskID, "no id"} {
		var e *queue.Error
		if _, err := s.Document(deadline(t), id, "task.json"); !errors.Is(err, queue.ErrNotFound) || !errors.As(err, &e) || e.Object != string(id)+"/task.json" {
			t.Errorf("%s: %v", id, err)
		}
	}
}
