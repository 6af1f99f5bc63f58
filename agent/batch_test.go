package agent_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// Signed URLs of many artifacts are asked for together. One bad name among them is missing, and the only one.
func TestManyArtifactsInFewCalls(t *testing.T) {
	const count = 1200
	for _, bad := range []string{"", "one bad name"} {
		t.Run(bad, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{})
			old := &oldQueue{status: 400}
			r.between(old.handle)
			r.options.Uploads = 16
			run := r.start(t.Context())
			add := func(name string) {
				t.Helper()
				if err := run.AddArtifact(name, upload.Bytes([]byte(name)), agent.ArtifactOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			for i := range count {
				if add(fmt.Sprintf("many/%04d", i)); i == count/2 && bad != "" {
					add(bad)
				}
			}
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil {
				t.Fatal(err)
			}
			wantMissing := 0
			if bad != "" {
				wantMissing = 1
			}
			if len(summary.Artifacts) != count+1 || len(summary.Missing) != wantMissing || (summary.Missing[bad] != "") != (bad != "") {
				t.Errorf("%d stored, missing %v; want %d and the log", len(summary.Artifacts), summary.Missing, count)
			}
			for _, i := range []int{0, count / 2, count - 1} {
				name := fmt.Sprintf("many/%04d", i)
				if got := string(r.stored("artifacts/" + name)); got != name {
					t.Errorf("%s: stored %q", name, got)
				}
			}
			if calls := r.count("artifact-urls", ""); calls > count/10 {
				t.Errorf("%d calls for %d artifacts", calls, count)
			}
			r.checkHistory()
		})
	}
}

// While the queue is asked again and again because of a bad name, other artifacts do not wait for that.
func TestTroubleWithANameHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{})
	old := &oldQueue{status: 500}
	r.between(old.handle)
	r.options.GiveUpAfter = time.Hour // so long the bad name is asked for, as nothing was granted with it
	run := r.start(t.Context())
	eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
	for _, name := range []string{"bad name", "good"} {
		if err := run.AddArtifact(name, upload.Bytes([]byte(name)), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
		if name == "bad name" {
			eventually(t, "the bad name", func() bool { return old.count("1 bad") > 0 })
		}
	}
	eventually(t, "the good artifact", func() bool { return r.stored("artifacts/good") != nil })
}
