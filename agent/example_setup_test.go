package agent_test

import (
	"os"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// newTask posts a task to an embedded queue, which stands for the real one in the examples.
// It lives as long as the test process does.
func newTask() (queueURL string, id schema.TaskID) {
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
	return server.QueueURL(), status.TaskID
}

var (
	exampleDir     string
	exampleServers []*agenttest.Server
)
