package queue_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

func ExampleClient_Claim() {
	dir, err := os.MkdirTemp("", "queue")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	srv, err := agenttest.New(dir, agenttest.Options{}) // in earnest, the queue's address is given
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	posted, err := srv.PostTask(schema.Task{})
	if err != nil {
		panic(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // how long to wait for a queue in trouble
	defer cancel()
	c, err := queue.New(srv.QueueURL(), queue.Options{})
	if err != nil {
		panic(err)
	}
	claim, err := c.Claim(ctx, posted.TaskID, schema.Worker{WorkerGroup: "laptop", WorkerID: "me"})
	if err != nil {
		panic(err)
	}
	fmt.Println("run", claim.RunID, "of the task is ours:", claim.TaskID == posted.TaskID)
	// Output: run 0 of the task is ours: true
}
