package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
	"github.com/taskcluster/upload-agent/schema"
)

// withListen is a command that has been given --listen ADDRESS.
func withListen(t *testing.T, address string) *cli.Command {
	t.Helper()
	cmd := &cli.Command{Flags: operationsFlags(), Action: func(context.Context, *cli.Command) error { return nil }}
	if err := cmd.Run(context.Background(), []string{"x", "--listen", address}); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestOperations(t *testing.T) {
	var manager *net.UnixConn
	if runtime.GOOS != "windows" {
		dir, err := os.MkdirTemp("", "ops") // the path of a socket may not be long
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		socket := filepath.Join(dir, "s")
		if manager, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"}); err != nil {
			t.Fatal(err)
		}
		defer manager.Close()
		t.Setenv("NOTIFY_SOCKET", socket)
	}
	source := ops.SourceFunc(func() ops.Snapshot { return ops.Snapshot{State: schema.AgentReady} })
	o, err := startOperations(withListen(t, "0"), source, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + o.server.Address() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 200 || !strings.Contains(string(body), `upload_agent_build_info{`) || !strings.Contains(string(body), "upload_agent_ready 1") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	hear := func(want string) {
		t.Helper()
		if manager == nil {
			return
		}
		buffer := make([]byte, 1000)
		_ = manager.SetReadDeadline(time.Now().Add(30 * time.Second))
		if n, err := manager.Read(buffer); err != nil || !strings.Contains(string(buffer[:n]), want) {
			t.Errorf("the service manager hears %q, %v; want %s", buffer[:n], err, want)
		}
	}
	hear("READY=1")
	if err := o.close(); err != nil {
		t.Error(err)
	}
	hear("STOPPING=1")
	if _, err := client.Get("http://" + o.server.Address() + "/healthz"); err == nil {
		t.Error("it serves still")
	}
}

func TestOperationsRefuseAnAddress(t *testing.T) {
	if _, err := startOperations(withListen(t, "nowhere:at:all"), ops.SourceFunc(func() ops.Snapshot { return ops.Snapshot{} }), nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Error(err)
	}
}
