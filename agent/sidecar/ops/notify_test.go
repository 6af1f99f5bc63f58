package ops_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
	"github.com/taskcluster/upload-agent/schema"
)

// manager is a service manager that is told things.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func told(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buffer := make([]byte, 4096)
	n, err := conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n])
}

func environment(all map[string]string) func(string) string {
	return func(name string) string { return all[name] }
}

// socketPath is a short one: a socket's path may have a hundred bytes.
func socketPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "ops")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func TestNotify(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no service manager of this kind")
	}
	sockets := []string{socketPath(t)}
	if runtime.GOOS == "linux" {
		sockets = append(sockets, fmt.Sprintf("@upload-agent-test-%d", os.Getpid()))
	}
	for _, socket := range sockets {
		conn := manager(t, socket)
		n := ops.NewNotifier(environment(map[string]string{"NOTIFY_SOCKET": socket}))
		if err := n.Notify("READY=1", "STATUS=a b"); err != nil {
			t.Fatal(err)
		}
		if got := told(t, conn); got != "READY=1\nSTATUS=a b" {
			t.Errorf("%s: got %q", socket, got)
		}
		_ = conn.Close()
	}
	if err := ops.NewNotifier(environment(map[string]string{"NOTIFY_SOCKET": sockets[0]})).Notify("X=1"); err == nil {
		t.Error("nobody listens, and that is no error")
	}
}

func TestNobodyToNotify(t *testing.T) {
	for _, socket := range []string{"", "relative", "vsock:2:1"} {
		n := ops.NewNotifier(environment(map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "1000000"}))
		if err := n.Notify("READY=1"); n != nil || err != nil || n.Watchdog() != 0 {
			t.Errorf("%q: %v, %v", socket, n, err)
		}
		ops.NewHandler(fixed(ops.Snapshot{}), nil, ops.Options{}).Supervise(context.Background(), n, nil) // returns
	}
}

func TestWatchdogTime(t *testing.T) {
	for _, test := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"30000000", "", 30 * time.Second}, {"30000000", fmt.Sprint(os.Getpid()), 30 * time.Second}, {"30000000", "1", 0},
		{"", "", 0}, {"0", "", 0}, {"-5", "", 0}, {"x", "", 0}, {"99999999999999999999", "", 0}, {"9223372036854775807", "", 0},
	} {
		n := ops.NewNotifier(environment(map[string]string{"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": test.usec, "WATCHDOG_PID": test.pid}))
		if got := n.Watchdog(); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

// The agent is ready once, and gives a sign of life only while it is healthy.
func TestSupervise(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no service manager of this kind")
	}
	socket := socketPath(t)
	conn := manager(t, socket)
	n := ops.NewNotifier(environment(map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "2000"}))
	ready := ops.Snapshot{State: schema.AgentReady, Open: 1}
	stuck := ready
	stuck.Problem = "stuck at\n" + secret
	life := []ops.Snapshot{{}, ready, ready, stuck, stuck, stuck, ready, {State: schema.AgentStopping}}
	source := ops.SourceFunc(func() ops.Snapshot {
		s := life[0]
		if len(life) > 1 {
			life = life[1:]
		}
		return s
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ops.NewHandler(source, nil, ops.Options{}).Supervise(ctx, n, nil)
	}()
	want := []string{
		"STATUS=starting; 0 runs open\nWATCHDOG=1",
		"READY=1\nSTATUS=1 run open\nWATCHDOG=1",
		"WATCHDOG=1",
		"STATUS=stuck at https://storage.example.com/x?<redacted>", // and no sign of life, three times
		"STATUS=1 run open\nWATCHDOG=1",
		"STATUS=stopping; 0 runs open\nWATCHDOG=1", "STOPPING=1",
		"WATCHDOG=1",
	}
	var got []string
	for range want {
		got = append(got, told(t, conn))
	}
	cancel()
	<-done
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
