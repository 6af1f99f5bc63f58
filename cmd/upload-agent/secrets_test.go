package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
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
