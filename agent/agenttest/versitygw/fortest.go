package versitygw

import (
	"context"
	"os"
	"testing"
	"time"
)

// StartFor starts a server of its own for a test, which ends with it, and makes the buckets. Where the program was not built, the test is skipped, and says how
// to build it; with UPLOAD_AGENT_REQUIRE_REAL=1 it is built, and what is missing is a failure.
func StartFor(t testing.TB, buckets ...string) *Server {
	t.Helper()
	path, ok := Find()
	if !ok {
		if os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") != "1" {
			t.Skip("NOT TESTED against a real S3 server: there is none. To build versitygw: UPLOAD_AGENT_REQUIRE_REAL=1 go test ./agent/agenttest/versitygw")
		}
		var err error
		if path, err = Install(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := Start(ctx, path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, name := range buckets {
		if err := s.MakeBucket(name); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
