package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// workerVariable makes the test binary a worker that runs the claim on its stdin, for the queue that the variable names.
const workerVariable = "AGENT_TEST_WORKER"

// worker logs a megabyte without looking whether that works, as many a command does, and completes its run.
func worker(queueURL string) {
	claim, err := io.ReadAll(os.Stdin)
	exitOn(err)
	decoded, err := schema.Decode[schema.Claim]("claim.json", claim)
	exitOn(err)
	q, err := queue.New(queueURL, queue.Options{})
	exitOn(err)
	run, err := agent.Start(context.Background(), q, decoded, agent.Options{})
	exitOn(err)
	defer run.Close()
	for i := range 64 {
		run.Log("terminal.log").Write(bytes.Repeat([]byte{byte('a' + i%26)}, 16<<10))
	}
	summary, err := run.Complete(context.Background(), agent.Outcome{Success: true})
	exitOn(err)
	fmt.Println(summary.Missing["terminal.log"])
}

func exitOn(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// A full disk under the spool (here: no file may be larger than 100 KiB): what is kept is readable, and the
// result says that the log is not whole.
func TestFullDiskUnderTheSpool(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	claim, err := schema.Encode(r.claim)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", `ulimit -f 100; exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), workerVariable+"="+r.server.QueueURL(), "TMPDIR="+t.TempDir())
	cmd.Stdin = bytes.NewReader(claim)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the worker: %v\n%s", err, output)
	}
	kept := len(r.stored("artifacts/terminal.log"))
	if kept == 0 || kept > 100<<10 {
		t.Errorf("%d bytes of the log are stored, want what the disk has kept", kept)
	}
	reason, _ := r.missing()["terminal.log"].(string)
	if want := fmt.Sprintf("incomplete: %d bytes of it could not be kept", 1<<20-kept); !contains(reason, want) || string(output) != reason+"\n" {
		t.Errorf("missing: %v, and the worker was told %q; want %q", r.missing(), output, want)
	}
	if _, listed := r.result().Artifacts["terminal.log"]; listed {
		t.Error("result.json names a log that is not whole")
	}
	r.checkHistory()
}
