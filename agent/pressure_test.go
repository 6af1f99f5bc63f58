package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// SIGTERM with little time left: the end of the log and the small artifacts are stored while large ones are on their
// way, nothing is reported, and whoever resumes the run stores the rest.
func TestSIGTERMWithLittleTimeLeft(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.Uploads = 3
	working := r.options.Uploader
	stuck := upload.NewTransport()
	r.options.Uploader = upload.New(upload.Options{Transport: blocking{stuck, "/large-"}, MinBackoff: time.Millisecond})
	run := r.start(t.Context())
	files := t.TempDir()
	add := func(name string, size int) {
		t.Helper()
		path := filepath.Join(files, name)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run.AddArtifact(name, upload.File(path), agent.ArtifactOptions{ContentType: "application/octet-stream"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		add(fmt.Sprintf("large-%d", i), 2<<20)
	}
	for i := range 20 {
		add(fmt.Sprintf("small-%d", i), 1000+i)
	}
	io.WriteString(run.Log("terminal.log"), "the last words\n")
	inTime, cancel := context.WithCancelCause(t.Context())
	over := errors.New("the grace is over")
	ended := make(chan error)
	go func() {
		_, err := run.Complete(inTime, agent.Outcome{Success: true})
		ended <- err
	}()
	// A test that looks at the storage alone may cut off the answer to the last of them.
	eventually(t, "the log and all small artifacts, stored and noted", func() bool {
		left, err := agent.Unfinished(r.options.StateDir)
		if err != nil || len(left) != 1 {
			t.Fatalf("Unfinished = %q, %v", left, err)
		}
		journal, _ := os.ReadFile(filepath.Join(left[0], "journal"))
		return len(smallStored.FindAll(journal, -1)) == 20 && string(r.stored("artifacts/terminal.log")) == "the last words\n"
	})
	cancel(over)
	if err := <-ended; !errors.Is(err, over) {
		t.Fatalf("Complete = %v", err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	if r.stored("result.json") != nil || r.count("completed", "") > 0 {
		t.Error("a run without its artifacts was completed")
	}

	stuck.CloseIdleConnections()
	r.options.Uploader = working
	left, err := agent.Unfinished(r.options.StateDir)
	if err != nil || len(left) != 1 {
		t.Fatalf("Unfinished = %q, %v", left, err)
	}
	resumed, err := agent.Resume(t.Context(), r.queue, left[0], r.options)
	if err != nil {
		t.Fatal(err)
	}
	defer resumed.Close()
	summary, err := resumed.Conclude(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if len(summary.Artifacts) != 25 || len(summary.Skipped) != 20 || len(summary.Missing) != 0 {
		t.Errorf("%d artifacts, %d skipped, missing %v", len(summary.Artifacts), len(summary.Skipped), summary.Missing)
	}
	r.checkHistory()
}

var smallStored = regexp.MustCompile(`"artifact stored".*"small-`)

// blocking is a network on which nothing moves for paths that contain part.
type blocking struct {
	next http.RoundTripper
	part string
}

func (b blocking) RoundTrip(r *http.Request) (*http.Response, error) {
	if contains(r.URL.Path, b.part) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	return b.next.RoundTrip(r)
}
