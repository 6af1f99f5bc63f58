package sidecar_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

func TestRunFolder(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.start()
	w := r.worker("one")
	w.append("logs/terminal.log", lines(0, 10))
	w.write("artifacts/public/early.txt", "early")
	eventually(t, func() string {
		if got := w.stored("artifacts/public/early.txt"); got != "early" {
			return "the artifact is not stored before the end: " + got
		}
		if got := w.stored("artifacts/terminal.log"); got != lines(0, 10) {
			return "the log is not live: " + got
		}
		return ""
	})
	w.append("logs/terminal.log", lines(10, 20))
	w.write("artifacts/late.txt", "late")
	w.finish()
	s := w.awaitPhase(schema.PhaseCompleted)
	if s.Stored["late.txt"] != 4 || s.Stored["public/early.txt"] != 5 || s.Stored["terminal.log"] != int64(len(lines(0, 20))) || len(s.Problems) != 0 || s.Waiting != 0 {
		t.Errorf("status %+v", s)
	}
	w.wantArtifact("terminal.log", lines(0, 20))
	w.wantArtifact("late.txt", "late")
	result := w.result()
	if len(result.Artifacts) != 3 || !result.Metadata.Success {
		t.Errorf("result %+v", result)
	}
	// A folder of that name is a new one, however fast that goes, and the record of a folder goes with it.
	for range 5 {
		if err := os.RemoveAll(w.dir); err != nil {
			t.Fatal(err)
		}
		w = r.worker("one")
		w.append("logs/terminal.log", "fast\n")
		w.finish()
		w.await("the end of its own run", func(s schema.Status) bool { return s.Phase == schema.PhaseCompleted && s.TaskID == w.claim.Task() })
		w.wantArtifact("terminal.log", "fast\n")
	}
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		left, err := filepath.Glob(filepath.Join(r.state, "sidecar", "*", "*"))
		if err != nil || len(left) > 0 {
			return strings.Join(left, " ") + " is left"
		}
		return ""
	})
	again := r.worker("one")
	again.append("logs/terminal.log", "again\n")
	again.finish()
	again.awaitPhase(schema.PhaseCompleted)
	again.wantArtifact("terminal.log", "again\n")
}

// The worker notices nothing of a restart, and a run that is over is not begun again.
func TestRestart(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.start()
	w, over := r.worker("open"), r.worker("over")
	over.append("logs/a.log", "x\n")
	over.finish()
	was := over.awaitPhase(schema.PhaseCompleted)
	w.append("logs/terminal.log", lines(0, 1000))
	w.awaitLog("terminal.log", len(lines(0, 1000)))
	for i := range 3 {
		r.restart(func() { w.append("logs/terminal.log", lines(1000+i, 1001+i)) })
	}
	before := len(r.server.Requests())
	w.finish()
	w.awaitPhase(schema.PhaseCompleted)
	w.wantArtifact("terminal.log", lines(0, 1003))
	if got := over.awaitPhase(schema.PhaseCompleted); got.Updated != was.Updated {
		t.Errorf("the status of a run that was over was written again: %+v", got)
	}
	for _, request := range r.server.Requests()[before:] {
		if strings.Contains(request.Path, string(over.claim.Task())) {
			t.Errorf("a run that was over: %+v", request)
		}
	}
}

func TestWorkerReports(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.WorkerReports = true
	r.start()
	w := r.worker("one")
	w.append("logs/terminal.log", "x\n")
	w.finish()
	w.awaitPhase(schema.PhaseResultStored)
	if status, err := r.server.Status(w.claim.Task()); err != nil || status.State != schema.Running {
		t.Fatalf("status %+v, %v", status, err)
	}
	w.wantArtifact("terminal.log", "x\n")
	w.result()
	r.restart(func() {})
	w.awaitPhase(schema.PhaseResultStored)
}

func TestClaimLost(t *testing.T) {
	r := newRig(t, agenttest.Options{ClaimLength: 2e9})
	r.start()
	w := r.worker("one")
	w.append("logs/terminal.log", "x\n")
	w.awaitLog("terminal.log", 2)
	if err := r.server.LoseClaim(w.claim.Task()); err != nil {
		t.Fatal(err)
	}
	s := w.awaitPhase(schema.PhaseClaimLost)
	said, err := os.ReadFile(w.path("claim-lost"))
	if err != nil || !strings.Contains(string(said), "lost") || s.Reason == "" {
		t.Errorf("claim-lost: %q, %v; status %+v", said, err, s)
	}
	w.finish()
	r.restart(func() {})
	eventually(t, func() string {
		for _, f := range r.serving.Status().Folders {
			if f.Phase == schema.PhaseClaimLost {
				return ""
			}
		}
		return "a lost run is begun again"
	})
	if got := w.stored("result.json"); got != "(not stored)" {
		t.Errorf("result %s", got)
	}
}

// A worker that says what cannot be may say it again.
func TestFinishThatCannotBe(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.start()
	w := r.worker("one")
	for _, bad := range []string{`{"success": tru`, `{"success": "yes"}`, `{}`, `{"success": true, "result": {"missingArtifacts": {}}}`} {
		w.document("finish.json", []byte(bad))
		w.await("a problem with "+bad, func(s schema.Status) bool { return s.Problems["finish.json"] != "" && s.Phase == schema.PhaseRunning })
		if err := os.Remove(w.path("finish.json")); err != nil {
			t.Fatal(err)
		}
		w.await("no problem", func(s schema.Status) bool { return len(s.Problems) == 0 })
	}
	w.append("logs/terminal.log", "x\n")
	w.finish()
	w.awaitPhase(schema.PhaseCompleted)
	w.wantArtifact("terminal.log", "x\n")
}

func TestMaxRuns(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.MaxRuns = 1
	r.start()
	first := r.worker("first")
	first.awaitPhase(schema.PhaseRunning)
	second := r.worker("second")
	second.append("logs/a.log", "x\n")
	second.finish()
	second.await("that it waits", func(s schema.Status) bool {
		return s.Phase == schema.PhaseWaiting && strings.Contains(s.Reason, "1 runs are open")
	})
	first.finish()
	first.awaitPhase(schema.PhaseCompleted)
	second.awaitPhase(schema.PhaseCompleted)
	second.wantArtifact("a.log", "x\n")
}

// A run whose folder goes while nobody looks comes to its end all the same.
func TestFolderGoneMeanwhile(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.start()
	w, served := r.worker("one"), r.worker("two")
	for _, w := range []*worker{w, served} {
		w.append("logs/terminal.log", "x\n")
		w.awaitLog("terminal.log", 2)
	}
	if err := os.RemoveAll(served.dir); err != nil {
		t.Fatal(err)
	}
	r.restart(func() { w.must(os.RemoveAll(w.dir)) })
	eventually(t, func() string {
		left, err := filepath.Glob(filepath.Join(r.state, "*-0"))
		if err != nil || len(left) > 0 {
			return strings.Join(left, " ") + " is left"
		}
		return ""
	})
	for _, w := range []*worker{w, served} {
		if got := w.stored("artifacts/terminal.log"); !strings.HasPrefix(got, "x\nupload-agent: ") || w.stored("result.json") != "(not stored)" {
			t.Errorf("log %q", got)
		}
	}
}

// An artifact that is written again after it was uploaded is uploaded again.
func TestArtifactIsWrittenAgain(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.start()
	w := r.worker("one")
	for _, text := range []string{"first", "second", "", "fourth and last"} {
		w.write("artifacts/a.txt", text)
		eventually(t, func() string {
			if got := w.stored("artifacts/a.txt"); got != text {
				return "stored: " + got + ", want " + text
			}
			return ""
		})
	}
	w.write("artifacts/a.txt", "right before the end")
	w.finish()
	w.awaitPhase(schema.PhaseCompleted)
	w.wantArtifact("a.txt", "right before the end")
}

// A claim that is not renamed into place is taken once it is whole.
func TestClaimInPieces(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.start()
	w := r.worker("aside")
	w.must(os.RemoveAll(w.dir))
	w.dir = filepath.Join(r.runs, "pieces")
	w.must(os.MkdirAll(w.path("logs"), 0o755))
	claim := string(w.claimJSON())
	for _, piece := range []string{claim[:100], claim[100:300]} {
		w.append("claim.json", piece)
		w.await("what is wrong with it", func(s schema.Status) bool {
			return s.Phase == schema.PhaseRefused && strings.Contains(s.Reason, "claim.json: ")
		})
	}
	w.append("claim.json", claim[300:])
	w.awaitPhase(schema.PhaseRunning)
	w.finish()
	w.awaitPhase(schema.PhaseCompleted)
}

// While the artifacts of one run take all turns, and get nowhere, another one's logs and documents are stored.
func TestArtifactsDoNotHoldUpAnotherRun(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.options.Uploads = 2
	r.start()
	large, small := r.worker("large"), r.worker("small")
	if err := r.server.Inject(agenttest.Fault{What: "put", Kind: "stall", Path: string(large.claim.Task()) + "/runs/0/artifacts/many/"}); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		large.write(fmt.Sprintf("artifacts/many/%d", i), "artifact")
	}
	large.await("a thousand that wait", func(s schema.Status) bool { return s.Waiting == 1000 })
	small.append("logs/terminal.log", lines(0, 10))
	large.append("logs/terminal.log", lines(0, 10))
	eventually(t, func() string {
		for _, w := range []*worker{large, small} {
			if got := w.stored("artifacts/terminal.log"); got != lines(0, 10) {
				return "a log is held up: " + got
			}
		}
		return ""
	})
	small.finish()
	small.awaitPhase(schema.PhaseCompleted)
	if s := large.status(); s.Waiting != 1000 {
		t.Errorf("%+v", s)
	}
}

// A storm of events, more than the system keeps for us perhaps: nothing is missed.
func TestStormOfEvents(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.start()
	w := r.worker("one")
	var stormed sync.WaitGroup
	for i := range 4 {
		stormed.Go(func() {
			for n := range 1500 {
				name := w.path(fmt.Sprintf("artifacts/storm-%d-%d", i, n))
				if os.WriteFile(name, nil, 0o600) != nil || os.Remove(name) != nil {
					t.Error("no storm")
					return
				}
			}
		})
	}
	for i := range 100 {
		w.append("logs/terminal.log", lines(i, i+1))
		w.append(fmt.Sprintf("logs/%d.log", i), "x\n")
	}
	stormed.Wait()
	w.write("artifacts/a", "a")
	w.finish()
	w.awaitPhase(schema.PhaseCompleted)
	w.wantArtifact("terminal.log", lines(0, 100))
	w.wantArtifact("a", "a")
	w.wantArtifact("99.log", "x\n")
}

// A folder that has gone, and another one of the same name, are two.
func TestAnotherFolderOfTheSameName(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.start()
	first := r.worker("one")
	first.append("logs/terminal.log", "first\n")
	first.awaitLog("terminal.log", 6)
	var second *worker
	r.restart(func() {
		first.must(os.RemoveAll(first.dir))
		second = r.worker("one")
		second.append("logs/terminal.log", "second\n")
	})
	second.await("its own run", func(s schema.Status) bool { return s.TaskID == second.claim.Task() && s.Phase == schema.PhaseRunning })
	second.finish()
	second.awaitPhase(schema.PhaseCompleted)
	second.wantArtifact("terminal.log", "second\n")
	if got := first.stored("artifacts/terminal.log"); !strings.HasPrefix(got, "first\nupload-agent: ") || first.stored("result.json") != "(not stored)" {
		t.Errorf("the first log is %q", got)
	}
	third := r.worker("elsewhere")
	data := third.claimJSON()
	third.must(os.RemoveAll(third.dir))
	second.document("claim.json", data)
	r.restart(func() {})
	second.await("that the folder was another run's", func(s schema.Status) bool {
		return s.Phase == schema.PhaseRefused && strings.Contains(s.Reason, "make a folder for each run")
	})
}
