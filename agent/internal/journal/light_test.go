package journal_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
)

// A journal that is written forgets of artifacts what no rule asks for: it takes and refuses the same as one that forgets nothing,
// also when it is taken up in between.
func TestWhatIsForgottenMattersToNoRule(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 5))
		d := newDisk(seed)
		j := create(t, d)
		var whole journal.State
		if err := whole.Apply(claimed()); err != nil {
			t.Fatal(err)
		}
		name := func() string { return []string{"a", "b", "log"}[random.IntN(3)] }
		for range 40 {
			records := []journal.Record{
				{Step: journal.ArtifactAdded, Artifact: &journal.Artifact{Name: name()}},
				{Step: journal.ArtifactReplaced, Artifact: &journal.Artifact{Name: name()}},
				{Step: journal.ArtifactStored, Receipt: receipt(name(), "bytes")},
				{Step: journal.ArtifactMissing, Missing: &journal.Missing{Name: name(), Reason: "gone"}},
				{Step: journal.LogAdded, Log: "log"},
				{Step: journal.LogsStored, Names: []string{"log"}, Receipt: receipt("logs.json", "{}")},
				{Step: journal.OutcomeKnown, Outcome: &journal.Outcome{Logs: []journal.SealedLog{{Name: "log"}}}},
				{Step: journal.ResultFrozen, Frozen: &journal.Frozen{Size: 6, Digest: "d"}},
			}
			r := records[random.IntN(len(records))]
			r.At = start
			err, want := j.Note(r), whole.Apply(r)
			if (err == nil) != (want == nil) {
				t.Fatalf("seed %d: %s: %v, want %v", seed, r.Step, err, want)
			}
			if random.IntN(10) > 0 {
				continue
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if j, err = journal.Open(d, stateDir); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(j.Found(), whole) {
				t.Fatalf("seed %d: found %+v, want %+v", seed, j.Found(), whole)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
