package socket_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
)

func TestFolderIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	server, _ := served(t, newRun(), socket.Options{})
	dir := filepath.Dir(server.Path())
	for path, want := range map[string]fs.FileMode{
		dir: fs.ModeDir | 0o700, server.Path(): fs.ModeSocket | 0o600, filepath.Join(dir, "token"): 0o600,
	} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o750)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{open, link} {
		if server, err := socket.Listen(dir, socket.Only(newRun()), socket.Options{}); err == nil || !strings.Contains(err.Error(), "mode 0700") {
			server.Close()
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// shortDir is a private folder that is not too deep for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "socket-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// The socket of an agent that was killed is replaced; that of a living one is not.
func TestStaleSocket(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "socket")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	for _, name := range []string{"token", "token.new", "lock"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client, err := socket.Connect(path, socket.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Status(soon(t)); !errors.Is(err, socket.ErrNoAgent) || !strings.Contains(err.Error(), "the agent has ended") {
		t.Errorf("a stale socket: %v", err)
	}
	server, err := socket.Listen(dir, socket.Only(newRun()), socket.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := client.Status(soon(t)); !errors.Is(err, socket.ErrToken) {
		t.Errorf("with the token of before: %v", err)
	}
	client.Close()
	if second, err := socket.Listen(dir, socket.Only(newRun()), socket.Options{}); !errors.Is(err, socket.ErrInUse) {
		second.Close()
		t.Errorf("a second one: %v", err)
	}
	if client, err = socket.Connect(path, socket.Caller{}); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Status(soon(t)); err != nil {
		t.Errorf("after a second one has tried: %v", err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := socket.Listen(dir, socket.Only(newRun()), socket.Options{})
	if err != nil {
		t.Fatalf("once it is closed: %v", err)
	}
	again.Close()
	if _, err := socket.Connect(path, socket.Caller{}); !errors.Is(err, socket.ErrNoAgent) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestPathTooLong(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if _, err := socket.Listen(deep, socket.Only(newRun()), socket.Options{}); !errors.Is(err, socket.ErrPathTooLong) {
		t.Errorf("listen: %v", err)
	}
	if _, err := socket.Connect(filepath.Join(deep, "socket"), socket.Caller{}); !errors.Is(err, socket.ErrPathTooLong) {
		t.Errorf("connect: %v", err)
	}
	// One of our own making is never too long.
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", deep)
	server, client := served(t, newRun(), socket.Options{})
	if _, err := client.Status(soon(t)); err != nil {
		t.Errorf("at %s: %v", server.Path(), err)
	}
	if left, err := os.ReadDir(deep); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
