//go:build linux || darwin

package socket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
)

// roles are what this program does as another user.
var roles = map[string]func(){
	// It has got hold of everything but the right user.
	"caller": func() {
		client, err := socket.Connect(os.Getenv("SOCKET_TEST_PATH"), socket.Caller{})
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			_, err = client.Status(ctx)
		}
		fmt.Printf("%t %v", errors.Is(err, socket.ErrUser), err)
	},
	// It waits for somebody's secrets.
	"server": func() {
		server, err := socket.Listen(os.Getenv("SOCKET_TEST_PATH"), socket.Only(newRun()), socket.Options{})
		fmt.Println(err)
		if err == nil {
			_, _ = io.Copy(io.Discard, os.Stdin)
			server.Close()
		}
	},
}

// asNobody starts this program as another user.
func asNobody(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(openDir(t), "program")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(soon(t), copied)
	cmd.Env = []string{"SOCKET_TEST_ROLE=" + role, "SOCKET_TEST_PATH=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

func openDir(t *testing.T) string {
	t.Helper()
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Who connects, and who is connected to, is of our own user, or root. Only root can try it out.
func TestAnotherUserIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	server, _ := served(t, newRun(), socket.Options{})
	dir := filepath.Dir(server.Path())
	if text, err := asNobody(t, "caller", server.Path()).Output(); err != nil || string(text[:4]) != "true" {
		t.Errorf("behind a closed door: %s, %v", text, err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o755, server.Path(): 0o777, filepath.Join(dir, "token"): 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	// The client does not speak to root's server, as it might; to see the server's own check the client trusts root.
	if text, err := asNobody(t, "caller", server.Path()).Output(); err != nil || string(text) != "true ask for status: the agent answers: another user's socket: the caller has user id 65534, the agent 0" {
		t.Errorf("with all doors open: %s, %v", text, err)
	}

	theirs := openDir(t)
	if err := os.Chown(theirs, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := asNobody(t, "server", theirs)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 6)
	if _, err := io.ReadFull(stdout, said); err != nil || string(said) != "<nil>\n" {
		t.Errorf("their server: %q, %v", said, err)
	}
	client, err := socket.Connect(filepath.Join(theirs, "socket"), socket.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Redact(soon(t), "a secret"); !errors.Is(err, socket.ErrUser) {
		t.Errorf("a secret for another user's server: %v", err)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
