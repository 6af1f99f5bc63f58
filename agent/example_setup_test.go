package agent_test

import (
	"os"

	"github.com/taskcluster/upload-agent/agent/agenttest"
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

var (
	exampleDir     string
	exampleServers []*agenttest.Server
)
