//go:build unix

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// A sidecar as a service: what its manager hears, and what operators see of a run.
func TestSidecarAsAService(t *testing.T) {
	server, err := agenttest.New(t.TempDir(), agenttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	dir, err := os.MkdirTemp("", "ops") // the path of a socket may not be long
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	program, err := os.Executable() // TestMain makes it the program itself, when it is called by this name
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "upload-agent")); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(filepath.Join(dir, "upload-agent"), "sidecar", "--queue", server.QueueURL(), "--storage", server.StorageURL(),
		"--runs", filepath.Join(dir, "runs"), "--state", filepath.Join(dir, "state"), "--listen", "0", "--log-level", "info",
		"--socket-dir", filepath.Join(dir, "sock"))
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=2000000")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() // if it has not ended
	address, logged := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(logged)
		collectLog(stderr, &log, address)
	}()

	hear := func(want string) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		_ = manager.SetReadDeadline(deadline)
		buffer := make([]byte, 1000)
		for {
			n, err := manager.Read(buffer)
			if err != nil {
				t.Fatalf("the service manager does not hear %s: %v", want, err)
			}
			if strings.Contains(string(buffer[:n]), want) {
				return
			}
		}
	}
	hear("READY=1")
	hear("WATCHDOG=1")
	base := "http://" + <-address
	claimRun(t, server, filepath.Join(dir, "runs", "one"))
	awaitMetric(t, base, "upload_agent_runs_open 1")
	awaitMetric(t, base, "upload_agent_log_bytes_total 6")
	awaitMetric(t, base, "upload_agent_claim_remaining_seconds")
	tell(t, filepath.Join(dir, "upload-agent"), filepath.Join(dir, "sock", "socket"))
	if err := os.WriteFile(filepath.Join(dir, "runs", "one", "finish.json"), []byte(`{"success": true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	awaitMetric(t, base, `upload_agent_runs_ended_total{outcome="success"} 1`)
	awaitMetric(t, base, "upload_agent_runs_open 0")
	awaitMetric(t, base, "upload_agent_artifacts_stored_total 3") // and the log
	for _, never := range []string{"upload_agent_log_flushes_total 0", "upload_agent_uploaded_bytes_total 0"} {
		if strings.Contains(fetch(t, base+"/metrics"), never) {
			t.Errorf("a run is over, and it says %s", never)
		}
	}
	status := fetch(t, base+"/status.json")
	doc, err := schema.Decode[schema.AgentStatus]("status.json", []byte(status))
	if err != nil || doc.State != schema.AgentReady || len(doc.Runs) != 1 || doc.Runs[0].Phase != "completed" || doc.Totals.RunsSucceeded != 1 {
		t.Errorf("%v: %s", err, status)
	}
	if strings.Contains(status, "Signature") {
		t.Errorf("a signed URL in %s", status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hear("STOPPING=1")
	<-logged
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &log)
	}
}

// tell has the commands of a task speak with a sidecar: they need not say which run, as there is one.
func tell(t *testing.T, program, socket string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "said.txt"), []byte("said"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args        []string
		stdin, want string
	}{
		{[]string{"artifact", "upload", "--socket", socket, "said=said.txt"}, "", "said"},
		{[]string{"redact", "add", "--socket", socket}, "a secret to keep", ""},
		{[]string{"status", "--socket", socket}, "", "terminal.log"},
	} {
		cmd := exec.Command(program, row.args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(row.stdin)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), row.want) {
			t.Errorf("%s: %v: %s", row.args, err, out)
		}
	}
}

// collectLog reads the log of a service, and tells the address that it serves at.
func collectLog(from io.Reader, log *strings.Builder, address chan<- string) {
	serving := regexp.MustCompile(`serving health.* address=(\S+)`)
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		log.Write(buffer[:n])
		if found := serving.FindStringSubmatch(log.String()); found != nil {
			select {
			case address <- found[1]:
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

// claimRun makes a run folder of a new task, with a log and an artifact.
func claimRun(t *testing.T, server *agenttest.Server, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	q, err := queue.New(server.QueueURL(), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	status, err := q.CreateTask(ctx, schema.Task{
		Version: schema.Version, ProvisionerID: "p", WorkerType: "w", Retries: 1, Timeout: 60,
		Created: schema.Timestamp(now), Deadline: schema.Timestamp(now.Add(time.Hour)), Payload: map[string]any{},
		Metadata: schema.TaskMetadata{Name: "served", Owner: "owner@example.com", Source: "https://example.com/"}, Tags: map[string]string{},
	})
	if err != nil {
		t.Fatal(err)
	}
	claim, err := q.Claim(ctx, status.TaskID, schema.Worker{WorkerGroup: "g", WorkerID: "w"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := schema.Encode(claim)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"logs/terminal.log": "hello\n", "artifacts/a.txt": "a", ".claim": string(data)} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(dir, ".claim"), filepath.Join(dir, "claim.json")); err != nil {
		t.Fatal(err)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: %d %v %s", url, res.StatusCode, err, body)
	}
	return string(body)
}

// awaitMetric waits until the metrics have a line that begins so.
func awaitMetric(t *testing.T, base, want string) {
	t.Helper()
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-ticks.C {
		metrics := fetch(t, base+"/metrics")
		if strings.Contains(metrics, "\n"+want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s:\n%s\n%s", want, metrics, fetch(t, base+"/status.json"))
		}
	}
}
