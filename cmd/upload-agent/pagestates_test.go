package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/cmd/internal/page"
	"github.com/taskcluster/upload-agent/schema"
)

// The page of a queue shows its tasks as they come and go, whatever becomes of them.
func TestPageShowsStates(t *testing.T) {
	b := openBrowser(t)
	server, err := agenttest.New(t.TempDir(), agenttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	storage, err := queue.NewStorage(server.StorageURL(), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	inspector := httptest.NewServer(page.New(inspectorOf(server, storage)))
	defer inspector.Close()
	b.viewport(1280, 900, "light")
	b.open(inspector.URL)
	b.sees(".empty", "No task has been posted yet")

	tasks := &taskMaker{t: t, server: server, storage: storage}
	tasks.post("one that waits", 1)
	tasks.claim(tasks.post("one that runs", 1))
	twice := tasks.post("one that was lost once", 1)
	tasks.lose(twice)
	tasks.complete(tasks.claim(twice), true)
	tasks.complete(tasks.claim(tasks.post("one that failed by itself", 1)), false)
	hopeless := tasks.post("one that nobody could run", 1)
	tasks.lose(hopeless)
	tasks.lose(hopeless)
	for name, state := range map[string]string{
		"one that waits": "Pending", "one that runs": "Running", "one that was lost once": "Succeeded",
		"one that failed by itself": "Task failed", "one that nobody could run": "Infrastructure failed",
	} {
		b.until(`[...document.querySelectorAll(".tasks tbody tr")].find((e) => e.innerText.includes("` + name + `")).innerText.includes("` + state + `")`)
	}
	b.until(`document.title.startsWith("1 running")`)
	b.shootAll("1-tasks-many")

	// A filter finds it, the keyboard opens it.
	b.press("/")
	b.types("lost once")
	b.until(`document.querySelectorAll(".tasks tbody tr").length === 1`)
	b.types(kb.Enter)
	b.until(`location.pathname === "/tasks/` + string(twice) + `"`)
	b.sees("h1", "one that was lost once")
	b.sees(".tabs [aria-current]", "Run 1")
	b.sees(".log", "of "+agent.DefaultLog)
	b.until(`document.querySelector('.tabs.small a[href="?log=other.log"]') !== null`)
	b.do(chromedp.Click(chromedp.CSS(`.tabs.small a[href="?log=other.log"]`)))
	b.sees(".log", "of other.log")
	b.shootAll("7-two-runs")
	b.press("[")
	b.sees(".tabs [aria-current]", "Run 0")
	b.sees(".tabs [aria-current]", "Worker lost")
	b.sees(".empty", "The run has declared no logs.")
	b.press("t")
	b.sees("h1", "Tasks")

	// What is not there is said.
	b.open(inspector.URL + "/tasks/" + string(hopeless))
	b.sees(".under", "retries-exhausted")
	b.shootAll("8-exception")
	b.expect(func(trouble string) bool {
		return strings.Contains(trouble, "404") || strings.Contains(trouble, "net::ERR")
	})
	b.open(inspector.URL + "/tasks/" + string(schema.NewTaskID()))
	b.sees(".empty", "There is no such task")
	b.open(inspector.URL)
	b.sees(".tasks", "one that waits")
	inspector.Listener.Close()
	inspector.CloseClientConnections()
	b.sees("#connection", "does not answer")
	b.sees(".tasks", "one that waits")
}

// taskMaker makes tasks, and lets things happen to them.
type taskMaker struct {
	t       *testing.T
	server  *agenttest.Server
	storage *queue.Storage
}

func (m *taskMaker) post(name string, retries int) schema.TaskID {
	m.t.Helper()
	status, err := m.server.PostTask(schema.Task{
		Retries: retries, Metadata: schema.TaskMetadata{Name: name, Description: "A task to be looked at."}, Tags: map[string]string{"kind": "test"},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return status.TaskID
}

func (m *taskMaker) client() *queue.Client {
	m.t.Helper()
	client, err := queue.New(m.server.QueueURL(), queue.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	return client
}

func (m *taskMaker) claim(id schema.TaskID) schema.Claim {
	m.t.Helper()
	claim, err := m.client().Claim(m.t.Context(), id, schema.Worker{WorkerGroup: "group", WorkerID: "worker"})
	if err != nil {
		m.t.Fatal(err)
	}
	return claim
}

// lose claims a task, and has its worker be lost.
func (m *taskMaker) lose(id schema.TaskID) {
	m.t.Helper()
	m.claim(id)
	if err := m.server.LoseClaim(id); err != nil {
		m.t.Fatal(err)
	}
}

// complete runs what was claimed, with two logs.
func (m *taskMaker) complete(claim schema.Claim, success bool) {
	m.t.Helper()
	run, err := agent.Start(m.t.Context(), m.client(), claim, agent.Options{Storage: m.storage})
	if err != nil {
		m.t.Fatal(err)
	}
	defer run.Close()
	for _, log := range []string{agent.DefaultLog, "other.log"} {
		if _, err := run.Log(log).Write([]byte("of " + log + "\n")); err != nil {
			m.t.Fatal(err)
		}
	}
	if _, err := run.Complete(context.WithoutCancel(m.t.Context()), agent.Outcome{Success: success}); err != nil {
		m.t.Fatal(err)
	}
}
