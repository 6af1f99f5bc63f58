package versitygw_test

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest/versitygw"
)

func TestStartAndClose(t *testing.T) {
	path, ok := versitygw.Find()
	if !ok {
		if os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") != "1" {
			t.Skip("NOT TESTED: versitygw is not built. To build it: UPLOAD_AGENT_REQUIRE_REAL=1 go test ./agent/agenttest/versitygw")
		}
		var err error
		if path, err = versitygw.Install(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := versitygw.Start(ctx, path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	get := func() (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	if status, err := get(); err != nil || status != http.StatusForbidden {
		t.Errorf("without credentials: %d, %v; want 403", status, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if status, err := get(); err == nil {
		t.Errorf("answers %d after Close", status)
	}
}

func TestStartOfWhatIsNoServer(t *testing.T) {
	if s, err := versitygw.Start(t.Context(), "/bin/false", t.TempDir()); err == nil {
		s.Close()
		t.Error("a program that ends at once was started")
	}
}
