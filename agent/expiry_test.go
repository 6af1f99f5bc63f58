package agent_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// result.json says until when the artifacts are kept, as far as the storage has said so.
func TestResultSaysWhenArtifactsExpire(t *testing.T) {
	for kind, size := range map[string]int{"whole": 0, "in one part": 2 << 20, "in parts": 6 << 20} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, agenttest.Options{MultipartFrom: int64(size), PartSize: 5 << 20, Lifecycle: []agenttest.Lifecycle{
				{Path: "/kept"}, {Path: "/artifacts/", Life: 48 * time.Hour},
			}})
			run := r.start(r.ctx())
			body := bytes.Repeat([]byte("x"), max(size, 1000))
			for _, name := range []string{"kept", "let-go"} {
				if err := run.AddArtifact(name, upload.Bytes(body), agent.ArtifactOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil {
				t.Fatal(err)
			}
			result, err := schema.DecodeLenient[schema.Result]("result.json", r.stored("result.json"))
			if err != nil {
				t.Fatal(err)
			}
			end := schema.ExpiresAt(result, "let-go")
			if end.Before(began.Add(48*time.Hour-time.Minute)) || end.After(time.Now().Add(48*time.Hour)) || !end.Equal(summary.Artifacts["let-go"].Expires) {
				t.Errorf("expires %v, receipt %v", end, summary.Artifacts["let-go"].Expires)
			}
			if !schema.ExpiresAt(result, agent.DefaultLog).After(began) {
				t.Errorf("the log expires %v", schema.ExpiresAt(result, agent.DefaultLog))
			}
			if end := schema.ExpiresAt(result, "kept"); !end.IsZero() {
				t.Errorf("what is kept expires %v", end)
			}
		})
	}
}
