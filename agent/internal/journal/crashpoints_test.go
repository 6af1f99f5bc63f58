//go:build crashpoints && unix

package journal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
)

// Killed at any of its points, a journal on a real disk has what was written before that point.
func TestKilledAtEveryPoint(t *testing.T) {
	const child = "JOURNAL_TEST_DIR"
	records := wholeRun()
	if dir := os.Getenv(child); dir != "" {
		j, err := journal.Create(disk.OS(), dir, records[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records[1:] {
			if err := j.Append(r); err != nil {
				t.Fatal(err)
			}
		}
		t.Fatal("the point was never reached")
	}
	states := statesOf(t, records)
	for _, point := range journal.Points() {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAtEveryPoint$")
		cmd.Env = append(os.Environ(), child+"="+dir, "UPLOAD_AGENT_CRASH_AT="+point)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("%s: %v\n%s", point, err, out)
		}
		step, when, _ := strings.Cut(point, ": ")
		want := 0
		for i, r := range records {
			if string(r.Step) == step {
				want = i + 1
				break
			}
		}
		if when == "before" {
			want--
		}
		if want == 0 {
			content, err := os.ReadFile(filepath.Join(dir, "journal"))
			if err != nil || len(content) != 0 {
				t.Errorf("%s: %v, %q", point, err, content)
			}
			continue
		}
		j, err := journal.Open(disk.OS(), dir)
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		if !reflect.DeepEqual(j.State(), states[want]) {
			t.Errorf("%s: %+v", point, j.State())
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}
