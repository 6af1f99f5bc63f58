package agent_test

import (
	"context"
	"os"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// newTask posts a task to an embedded queue, which stands for the real one in the examples, and makes
// a folder to work in. Both live as long as the test process does.
func newTask() (queueURL string, id schema.TaskID, folder string) {
	dir, err := os.MkdirTemp(exampleDir, "storage")
	if err != nil {
		panic(err)
	}
	server, err := agenttest.New(dir, agenttest.Options{})
	if err != nil {
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
	return server.QueueURL(), status.TaskID, folder
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
