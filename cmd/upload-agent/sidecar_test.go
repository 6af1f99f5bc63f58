package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// readmeWorker is the worker that the README shows.
func readmeWorker(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, found := strings.Cut(string(readme), "\n    #!/bin/sh\n")
	if !found {
		t.Fatal("the README shows no worker")
	}
	var lines []string
	for line := range strings.Lines("    #!/bin/sh\n" + script) {
		code, indented := strings.CutPrefix(line, "    ")
		if !indented && strings.TrimSpace(line) != "" {
			break
		}
		lines = append(lines, code)
	}
	path := filepath.Join(t.TempDir(), "work")
	if err := os.WriteFile(path, []byte(strings.TrimRight(strings.Join(lines, ""), " \n")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// The worker of the README takes runs to their ends through a folder.
func TestWorkerOfTheReadme(t *testing.T) {
	server, err := agenttest.New(t.TempDir(), agenttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	runs, state := t.TempDir(), t.TempDir()
	var said sharedBuffer
	sidecar := exec.Command("upload-agent", "sidecar", "--queue", server.QueueURL(), "--storage", server.StorageURL(), "--runs", runs, "--state", state)
	sidecar.Stdout, sidecar.Stderr = &said, &said
	if err := sidecar.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sidecar.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := sidecar.Wait(); err != nil || t.Failed() {
			t.Errorf("sidecar: %v\n%s", err, said.String())
		}
	}()
	worker := readmeWorker(t)
	for command, success := range map[string]bool{"echo compiling; mkdir public; echo built > public/out.txt": true, "echo no; exit 3": false} {
		status, err := server.PostTask(schema.Task{})
		if err != nil {
			t.Fatal(err)
		}
		work := exec.Command(worker, string(status.TaskID), "sh", "-c", command)
		work.Env = append(os.Environ(), "QUEUE="+server.QueueURL(), "RUNS="+runs)
		output, err := work.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		if !strings.Contains(string(output), `"phase":"completed"`) {
			t.Errorf("the worker prints %s", output)
		}
		read := func(name string) string {
			data, err := server.Object(fmt.Sprintf("%s/runs/0/%s", status.TaskID, name))
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		result, err := schema.Decode[schema.Result]("result.json", []byte(read("result.json")))
		if err != nil || result.Metadata.Success != success {
			t.Errorf("result %+v, %v", result, err)
		}
		wantLog := "no\n"
		if success {
			wantLog = "compiling\n"
			if got := read("artifacts/public/out.txt"); got != "built\n" {
				t.Errorf("artifact %q", got)
			}
		}
		if got := read("artifacts/terminal.log"); got != wantLog {
			t.Errorf("log %q, want %q", got, wantLog)
		}
		if _, err := os.Lstat(filepath.Join(runs, string(status.TaskID))); !os.IsNotExist(err) {
			t.Errorf("the run folder: %v", err)
		}
	}
	if v := server.Violations(); len(v) > 0 {
		t.Error(v)
	}
}
