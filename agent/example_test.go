package agent_test

import (
	"context"
	"errors"
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

// A worker that starts again after a crash ends the runs that it finds.
func ExampleResume() {
	ctx := context.Background()
	q, stateDir := crashedWorker()
	left, err := agent.Unfinished(stateDir)
	if err != nil {
		log.Fatal(err)
	}
	for _, dir := range left {
		run, err := agent.Resume(ctx, q, dir, agent.Options{})
		if err != nil {
			fmt.Println(err) // the claim is lost, for one
			continue
		}
		summary, err := run.Conclude(ctx)
		switch {
		case errors.Is(err, agent.ErrNoOutcome):
			fmt.Println("its task died as well")
		case err != nil:
			fmt.Println(err) // it is kept, for another try
		default:
			fmt.Println("completed:", summary.Success)
		}
		run.Close()
	}
	// Output: its task died as well
}
