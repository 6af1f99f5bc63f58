package ops_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
)

func TestListen(t *testing.T) {
	for _, test := range []struct {
		address, at string
		warns       bool
	}{
		{"0", "127.0.0.1:", false}, {":0", "127.0.0.1:", false}, {"127.0.0.1:0", "127.0.0.1:", false}, {"localhost:0", "127.0.0.1:", false},
		{"0.0.0.0:0", "", true},
	} {
		var log bytes.Buffer
		s, err := ops.Listen(test.address, ops.NewHandler(fixed(busy()), nil, ops.Options{}), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(s.Address(), test.at) && !strings.HasPrefix(s.Address(), "[::1]:") {
			t.Errorf("%s: listens at %s", test.address, s.Address())
		}
		_, port, _ := net.SplitHostPort(s.Address())
		client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		host, _, _ := net.SplitHostPort(s.Address())
		if test.warns {
			host = "127.0.0.1"
		}
		for name, wanted := range map[string]int{"": 200, "localhost": 200, "evil.example.com": http.StatusMisdirectedRequest} {
			req, _ := http.NewRequest("GET", "http://"+net.JoinHostPort(host, port)+"/healthz", nil)
			req.Host = name
			if name == "evil.example.com" && test.warns {
				wanted = 200 // whoever listens beyond loopback is known by any name
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != wanted {
				t.Errorf("%s asked as %q: %d %s", test.address, name, res.StatusCode, body)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(log.String(), "without a password"); got != test.warns {
			t.Errorf("%s: warns %t: %s", test.address, got, log.String())
		}
		if _, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), time.Second); err == nil {
			t.Errorf("%s: still listens after Close", test.address)
		}
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, address := range []string{"", ":", "no port", "127.0.0.1:", "a:b:c", taken.Addr().String()} {
		if s, err := ops.Listen(address, http.NotFoundHandler(), nil); err == nil {
			t.Errorf("%q: listens at %s", address, s.Address())
			_ = s.Close()
		}
	}
	var none *ops.Server
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}
