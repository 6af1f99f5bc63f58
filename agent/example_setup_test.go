package agent_test

import (
	"context"
	"os"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// newTask posts a task to an embedded queue, which stands for the real one in the examples, and makes
// a folder to work in. Both live as long as the test process does.
func newTask() (queueURL string, id schema.TaskID, folder string) {
	server, id, folder := newServer()
	return server.QueueURL(), id, folder
}

func newServer() (server *agenttest.Server, id schema.TaskID, folder string) {
	dir, err := os.MkdirTemp(exampleDir, "storage")
	if err != nil {
		panic(err)
	}
	if server, err = agenttest.New(dir, agenttest.Options{}); err != nil {
		panic(err)
	}
	exampleServers = append(exampleServers, server)
	status, err := server.PostTask(schema.Task{})
	if err != nil {
		panic(err)
	}
	if folder, err = os.MkdirTemp(exampleDir, "work"); err != nil {
		panic(err)
	}
	return server, status.TaskID, folder
}

// claimedTask is a task that a worker has claimed.
func claimedTask() (*queue.Client, *queue.Storage, schema.Claim) {
	server, id, _ := newServer()
	q, err := queue.New(server.QueueURL(), queue.Options{})
	if err != nil {
		panic(err)
	}
	storage, err := queue.NewStorage(server.StorageURL(), queue.Options{})
	if err != nil {
		panic(err)
	}
	claim, err := q.Claim(context.Background(), id, schema.Worker{WorkerGroup: "my-group", WorkerID: "my-worker"})
	if err != nil {
		panic(err)
	}
	return q, storage, claim
}

// linkOf waits until logs.json has a URL under name.
func linkOf(storage *queue.Storage, claim schema.Claim, name string) string {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for range poll.C {
		if logs, err := storage.Logs(context.Background(), claim.Task(), claim.RunID); err == nil && logs.Logs[name] != "" {
			return logs.Logs[name]
		}
	}
	return ""
}

// crashedWorker is a worker whose process has ended amid a run.
func crashedWorker() (q *queue.Client, stateDir string) {
	queueURL, id, stateDir := newTask()
	q, err := queue.New(queueURL, queue.Options{})
	if err != nil {
		panic(err)
	}
	claim, err := q.Claim(context.Background(), id, schema.Worker{WorkerGroup: "my-group", WorkerID: "my-worker"})
	if err != nil {
		panic(err)
	}
	run, err := agent.Start(context.Background(), q, claim, agent.Options{StateDir: stateDir})
	if err != nil {
		panic(err)
	}
	if err := run.Close(); err != nil { // leaves on the disk what a crash leaves
		panic(err)
	}
	return q, stateDir
}

var (
	exampleDir     string
	exampleServers []*agenttest.Server
)
