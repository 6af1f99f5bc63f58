package journal_test

import (
	"testing"

	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
)

// A process is killed between a write and its fsync. What the next one reads, and acts upon, outlives a power cut.
func TestWhatWasTakenUpSurvivesAPowerCut(t *testing.T) {
	for seed := range uint64(20) {
		d := newDisk(seed)
		j := create(t, d)
		d.SetFaults(func(op disktest.Op) error {
			if op.Name == "sync" {
				d.Crash()
			}
			return nil
		})
		if err := j.Note(addLog(1)); err != nil {
			t.Fatal(err)
		}
		_ = j.Close() // its process is dead

		d = d.Restart(false)
		d.SetFaults(nil)
		j, err := journal.Open(d, stateDir)
		if err != nil {
			t.Fatal(err)
		}
		known := len(j.State().Logs)
		after := d.Restart(true)
		_ = j.Close() // and so is this one
		if s, err := journal.Read(after, stateDir); err != nil || known != 1 || len(s.Logs) != known {
			t.Fatalf("seed %d: %d logs were taken up, %d are left: %v", seed, known, len(s.Logs), err)
		}
	}
}
