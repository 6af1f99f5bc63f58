package agent_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// withLimit gives the rig's runs a shared uploader that sends so many bytes per second.
func (r *rig) withLimit(bytesPerSecond int64) {
	r.options.Uploader = upload.New(upload.Options{Logger: r.options.Logger, Limiter: upload.NewLimiter(bytesPerSecond)})
	r.t.Cleanup(r.options.Uploader.CloseIdleConnections)
}

// Where the bandwidth is limited, logs and documents do not wait for artifacts that would take it for hours.
func TestLimitedArtifactsHoldUpNoLog(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{})
	r.withLimit(1 << 10)
	run := r.start(t.Context())
	for i := range 8 {
		source := upload.Section(io.NewSectionReader(bytes.NewReader(make([]byte, 10*mib)), 0, 10*mib))
		if err := run.AddArtifact(fmt.Sprint("large", i), source, agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "an artifact under way", func() bool { return r.count("put", "artifacts/large") > 0 })
	log := run.Log(agent.DefaultLog)
	eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
	logs, err := schema.Decode[schema.Logs]("logs.json", r.stored("logs.json"))
	if err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(livelog.NewReader(r.ctx(), logs.Logs["live/terminal.log"], livelog.ReaderOptions{})) // for a minute
	for i := range 3 {
		want := noise(50_000) + fmt.Sprint("flush ", i, "\n") // behind the artifacts, more than a minute
		if _, err := io.WriteString(log, want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != want {
			t.Fatalf("flush %d: %v", i, err)
		}
	}
}

// A run with many artifacts leaves other runs their share of the bandwidth.
func TestLimitIsFairBetweenRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{})
	r.withLimit(512 << 10)
	many := r.start(t.Context())
	for i := range 500 { // a hundred seconds
		if err := many.AddArtifact(fmt.Sprint("many/", i), upload.Bytes(make([]byte, 100<<10)), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "artifacts under way", func() bool { return r.count("put", "artifacts/many/") > 4 })
	claim, err := r.server.PostAndClaim(schema.Worker{WorkerGroup: "group", WorkerID: "worker"})
	if err != nil {
		t.Fatal(err)
	}
	few, err := agent.Start(t.Context(), r.queue, claim, r.options)
	if err != nil {
		t.Fatal(err)
	}
	defer few.Close()
	if err := few.AddArtifact("one", upload.Bytes(make([]byte, 100<<10)), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	summary, err := few.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil || len(summary.Missing) > 0 {
		t.Fatalf("Complete = %+v, %v", summary, err)
	}
	if n := r.count("put", "artifacts/many/"); n == 500 {
		t.Error("the run with few artifacts waited for all of the other's")
	}
}
