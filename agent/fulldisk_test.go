package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// workerVariable makes the test binary a worker that runs the claim on its stdin, for the queue that the variable names.
const (
	workerVariable = "AGENT_TEST_WORKER"
	pieceVariable  = "AGENT_TEST_PIECE" // bytes of each of its writes
)

// worker logs a megabyte in pieces of that many bytes, without looking whether that works, as many a command does, and completes its run.
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
	size, err := strconv.Atoi(os.Getenv(pieceVariable))
	exitOn(err)
	for i := range 1 << 20 / size {
		run.Log("terminal.log").Write(bytes.Repeat([]byte{byte('a' + i%26)}, size))
	}
	summary, err := run.Complete(context.Background(), agent.Outcome{Success: true})
	exitOn(err)
	fmt.Println(summary.Missing["terminal.log"] + summary.Incomplete["terminal.log"])
}

func exitOn(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// A full disk under the spool (here: no file may be larger than 100 KiB): what is kept is readable, and says how much is missing.
// Where it has no room left even for that, the result says that the log is not whole.
func TestFullDiskUnderTheSpool(t *testing.T) {
	for _, piece := range []int{15_000, 4 << 10} { // with the second one there is no room left for a mark
		r := newRig(t, agenttest.Options{})
		claim, err := schema.Encode(r.claim)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("bash", "-c", `ulimit -f 100; exec "$0"`, os.Args[0])
		cmd.Env = append(os.Environ(), workerVariable+"="+r.server.QueueURL(), pieceVariable+"="+fmt.Sprint(piece), "TMPDIR="+t.TempDir())
		cmd.Stdin = bytes.NewReader(claim)
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("the worker: %v\n%s", err, output)
		}
		text := r.stored("artifacts/terminal.log")
		if len(text) == 0 || len(text) > 100<<10 {
			t.Errorf("%d bytes of the log are stored, want what the disk has kept", len(text))
		}
		written, mark := 1<<20/piece*piece, simMark.Find(text)
		result, reason := r.result(), fmt.Sprint(r.missing()["terminal.log"])
		want := fmt.Sprintf("incomplete: %d bytes of it could not be kept", written-len(text))
		if mark != nil { // some systems write what fits, and leave no room
			lost, _ := markedBytes(text)
			reason, want = members(result, "incompleteLogs")["terminal.log"], fmt.Sprintf("incomplete: %d bytes (0 lines) are missing: the disk did not take them: file too large", lost)
			if written-lost != len(text)-len(mark)-1 { // the mark is a line of its own
				t.Errorf("the log says that %d bytes of %d are missing, and has %d with a mark of %d", lost, written, len(text), len(mark))
			}
		}
		if !contains(reason, want) || string(output) != reason+"\n" {
			t.Errorf("%v, and the worker was told %q; want %q", result.Result, output, want)
		}
		if _, listed := result.Artifacts["terminal.log"]; listed != (mark != nil) || listed && piece == 4<<10 {
			t.Errorf("result.json names the log: %t, and its mark is %q", listed, mark)
		}
		r.checkHistory()
	}
}

// A disk that is full until somebody makes room: the run goes on and is completed, and the log says what is missing in it.
func TestFullDiskThatRecovers(t *testing.T) {
	m := newMortal(t, 1)
	run := m.start(t.Context())
	log := run.Log("terminal.log")
	write := func(format string, args ...any) {
		t.Helper()
		if _, err := fmt.Fprintf(log, format, args...); err != nil {
			t.Error(err)
		}
	}
	write("kept\n")
	m.disk.SetFaults(func(op disktest.Op) error {
		if op.Name == "write" && strings.Contains(op.Path, "/logs/") {
			return &fs.PathError{Op: op.Name, Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	})
	for i := range 3000 {
		write("line %d %s\n", i, strings.Repeat("x", 90))
	}
	m.disk.SetFaults(nil)
	for i := range 400 {
		write("behind %d %s\n", i, strings.Repeat("y", 90))
	}
	summary, err := run.Complete(m.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	text := m.stored("artifacts/terminal.log")
	lost, _ := markedBytes(text)
	if want := fmt.Sprintf("incomplete: %d bytes (", lost); lost < 100_000 || !strings.HasPrefix(summary.Incomplete["terminal.log"], want) || members(m.result(), "incompleteLogs")["terminal.log"] != summary.Incomplete["terminal.log"] || len(summary.Missing) > 0 || m.result().Artifacts["terminal.log"] == "" {
		t.Errorf("%d bytes marked as missing; %v, %v", lost, summary.Incomplete, summary.Missing)
	}
	if !bytes.HasPrefix(text, []byte("kept\n")) || bytes.Count(text, []byte("\nbehind ")) != 400 || bytes.Count(text, []byte("missing here")) != 1 {
		t.Errorf("the log begins with %.200q, and has %d lines from behind the gap", text, bytes.Count(text, []byte("\nbehind ")))
	}
	m.checkHistory()
}
