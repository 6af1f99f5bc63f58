package agent_test

import (
	"context"
	"fmt"
	"log"
	"os/exec"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// A worker: it claims a task, runs its command, and completes the run.
func Example() {
	queueURL, taskID, folder := newTask() // of your queue
	ctx := context.Background()
	q, err := queue.New(queueURL, queue.Options{})
	if err != nil {
		log.Fatal(err)
	}
	claim, err := q.Claim(ctx, taskID, schema.Worker{WorkerGroup: "my-group", WorkerID: "my-worker"})
	if err != nil {
		log.Fatal(err)
	}
	run, err := agent.Start(ctx, q, claim, agent.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer run.Close()
	build := exec.CommandContext(run.Context(), "sh", "-c", "echo building; echo done > built.txt")
	build.Stdout, build.Stderr, build.Dir = run.Log("terminal.log"), run.Log("terminal.log"), folder
	buildErr := build.Run()
	_ = run.AddArtifact("public/built.txt", upload.File(folder+"/built.txt"), agent.ArtifactOptions{})

	summary, err := run.Complete(ctx, agent.Outcome{Success: buildErr == nil})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(summary.Success, summary.Artifacts["public/built.txt"].Size)
	// Output: true 5
}
