package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// sharedBuffer is a buffer for many writers, as a file is: the command's output and the agent's log go there at once.
type sharedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sharedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sharedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Whatever goes wrong and however much is logged: no signed URL is printed.
func TestNoSignedURLIsPrinted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, fault := range []string{"any=503:0.3", "put=reset:0.3", "put=expired:0.2", "any=redirect:0.5", "put=404"} {
		for _, format := range []string{"text", "json"} {
			var output sharedBuffer
			run([]string{"upload-agent", "simulate", "--dir", t.TempDir(), "--fault", fault, "--log-level", "debug", "--log-format", format, "--", "sh", "-c", "env; echo a line"},
				strings.NewReader(""), &output, &output)
			if !strings.Contains(output.String(), "/runs/0/") {
				t.Errorf("--fault %s: nothing of a URL is logged, so this test looks at nothing", fault)
			}
			if strings.Contains(output.String(), "Signature") {
				t.Errorf("--fault %s --log-format %s: a signed URL is printed:\n%s", fault, format, output.String())
			}
		}
	}
}

// A claim from outside holds two signed URLs: neither is handed to the child, printed or kept.
func TestClaimFileStaysSecret(t *testing.T) {
	state := t.TempDir()
	signed := func(name string) string {
		return fmt.Sprintf("http://127.0.0.1:1/%s/runs/0/%s?AWSAccessKeyId=K&Expires=%d&Signature=CANARY", goodID, name, time.Now().Unix()+3)
	}
	claim := strings.NewReplacer("http://127.0.0.1:1/logs.json?X=1", signed("logs.json"), "http://127.0.0.1:1/result.json?X=1", signed("result.json")).Replace(goodClaim)
	var output sharedBuffer
	status := run([]string{"upload-agent", "exec", "--queue", "http://127.0.0.1:1/v1", "--storage", "http://127.0.0.1:1", "--claim", "-", "--state", state,
		"--log-level", "debug", "--", "sh", "-c", "env; grep -r CANARY " + state + "; tr '\\0' '\\n' </proc/$PPID/cmdline; sleep 60"},
		strings.NewReader(claim), &output, &output)
	if status != statusClaimLost {
		t.Errorf("status %d, want %d: the queue cannot be reached\n%s", status, statusClaimLost, output.String())
	}
	if strings.Contains(output.String(), "CANARY") {
		t.Errorf("a signed URL is shown:\n%s", output.String())
	}
	if left, _ := os.ReadDir(state); len(left) > 0 {
		t.Errorf("the state folder still holds %v", left)
	}
}

// lookAround waits for the file that it is given, and shows what a task can see of itself and of the agent that started it.
const lookAround = `until [ -e "$0" ]; do sleep 0.02; done
env; ps -o args= -p $$ 2>&1; ps -o args= -p $PPID 2>&1
[ -d /proc/self ] || exit 0
for id in $$ $PPID; do tr '\0' '\n' </proc/$id/cmdline; tr '\0' '\n' </proc/$id/environ; done`

// A command that the program runs sees no signature, neither in its own arguments and environment nor in the agent's;
// and there is none below the state folder. However the agent came to its claim.
func TestChildSeesNoSignedURL(t *testing.T) {
	for name, row := range map[string]struct{ args, env string }{ // FILE stands for the claim's, ID for the task's
		"task id":                  {args: "--task-id ID"},
		"task id from a variable":  {env: "UPLOAD_AGENT_TASK_ID=ID"},
		"claim in a file":          {args: "--claim FILE"},
		"claim file by a variable": {env: "UPLOAD_AGENT_CLAIM=FILE"},
		"claim on stdin":           {args: "--claim -"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := agenttest.New(t.TempDir(), agenttest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			var answers sharedBuffer // all that the queue hands out
			dir, state := t.TempDir(), t.TempDir()
			fill := strings.NewReplacer("FILE", filepath.Join(dir, "claim.json"))
			var claim []byte
			if strings.Contains(row.args+row.env, "ID") {
				posted, err := server.PostTask(schema.Task{})
				if err != nil {
					t.Fatal(err)
				}
				fill = strings.NewReplacer("=ID", "="+string(posted.TaskID), " ID", " "+string(posted.TaskID))
			} else {
				made, err := server.PostAndClaim(schema.Worker{})
				if err != nil {
					t.Fatal(err)
				}
				if claim, err = schema.Encode(made); err != nil {
					t.Fatal(err)
				}
				answers.Write(claim)
				if err := os.WriteFile(filepath.Join(dir, "claim.json"), claim, 0o600); err != nil {
					t.Fatal(err)
				}
			}

			args := []string{"exec", "--queue", recording(t, server.QueueURL(), &answers), "--storage", server.StorageURL(), "--state", state, "--log-level", "debug"}
			args = append(append(args, strings.Fields(fill.Replace(row.args))...), "--", "sh", "-c", lookAround, filepath.Join(dir, "go"))
			cmd := exec.Command("upload-agent", args...)
			cmd.Env = append(os.Environ(), "UPLOAD_AGENT_WORKER_GROUP=of-the-agent")
			cmd.Env = append(cmd.Env, strings.Fields(fill.Replace(row.env))...)
			cmd.Stdin = bytes.NewReader(claim)
			var output sharedBuffer
			cmd.Stdout, cmd.Stderr = &output, &output
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			defer cmd.Process.Kill()
			stored := func(name string) bool {
				for _, request := range server.Requests() {
					if request.What == "put" && request.Stored && strings.HasSuffix(request.Path, name) {
						return true
					}
				}
				return false
			}
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			deadline := time.After(30 * time.Second)
			for !stored("/logs.json") || len(stateFiles(state)) == 0 { // the one need not wait for the other
				select {
				case <-tick.C:
				case err := <-ended:
					t.Fatalf("the agent: %v\n%s", err, output.String())
				case <-deadline:
					t.Fatalf("no logs.json, or nothing in the state folder\n%s", output.String())
				}
			}
			var kept strings.Builder
			for _, path := range stateFiles(state) {
				text, err := os.ReadFile(path)
				if err != nil && !errors.Is(err, fs.ErrNotExist) { // a file may have had another name for a moment
					t.Error(err)
				}
				fmt.Fprintf(&kept, "%s\n%s\n", path, text)
			}
			if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			select {
			case err = <-ended:
			case <-deadline:
				t.Fatal("the agent does not end")
			}
			if err != nil {
				t.Errorf("the agent: %v", err)
			}

			shown := output.String()
			for _, want := range []string{"RUN_ID=0", "--queue", lookAround[:20]} {
				if !strings.Contains(shown, want) {
					t.Errorf("no %q is shown, so this test looks at too little:\n%s", want, shown)
				}
			}
			if _, err := os.Stat("/proc/self/environ"); err == nil && strings.Count(shown, "UPLOAD_AGENT_WORKER_GROUP=of-the-agent") != 1 {
				t.Errorf("the agent's own environment is to be shown once, in its process:\n%s", shown)
			}
			handedOut := regexp.MustCompile(`X-Amz-Signature=([0-9a-f]{16})`).FindAllStringSubmatch(answers.String(), -1)
			if len(handedOut) < 4 { // two documents, the log and its index
				t.Errorf("%d signatures were handed out, so this test looks for too little", len(handedOut))
			}
			for _, secret := range append(handedOut, []string{"", "Signature="}) {
				if strings.Contains(shown+kept.String(), secret[1]) {
					t.Errorf("%s is shown:\n%s\n%s", secret[1], shown, kept.String())
				}
			}
		})
	}
}

// stateFiles are the files below a folder in which an agent is at work.
func stateFiles(dir string) (paths []string) {
	filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			paths = append(paths, path)
		}
		return nil
	})
	return paths
}

// recording is the URL of a queue by way of a proxy that writes down its answers.
func recording(t *testing.T, queueURL string, answers io.Writer) string {
	t.Helper()
	to, err := url.Parse(queueURL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	transport := &http.Transport{}
	proxy.Transport = transport
	proxy.ModifyResponse = func(answer *http.Response) error {
		body, err := io.ReadAll(answer.Body)
		answers.Write(body)
		answer.Body = io.NopCloser(bytes.NewReader(body))
		return err
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(func() { front.Close(); transport.CloseIdleConnections() })
	return front.URL + to.Path
}
