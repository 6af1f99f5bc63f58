package ops

import "github.com/taskcluster/upload-agent/upload"

// Tally counts one run by how far it has come, as [agent.Run.Progress] says: what is new since the last look is added to the counters; what it has done on the way, an
// [Counters.Observer] counts. It is
// for one goroutine. Look at the end of a run too, or what came last is not counted.
type Tally struct {
	c       *Counters
	logs    int64
	stored  map[string]bool
	missing map[string]bool
}

// NewTally counts a run that begins now. For one that an earlier process has begun, call [Tally.Skip] first.
func (c *Counters) NewTally() *Tally {
	return &Tally{c: c, stored: map[string]bool{}, missing: map[string]bool{}}
}

// Skip takes for granted what there is already: somebody else has counted it.
func (t *Tally) Skip(logs map[string]int64, stored map[string]upload.Receipt, missing map[string]string) {
	c := t.c
	t.c = nil
	t.Look(logs, stored, missing)
	t.c = c
}

// Look counts what is new: bytes of the logs by their names, receipts of the artifacts by theirs, and reasons of those that are missing.
func (t *Tally) Look(logs map[string]int64, stored map[string]upload.Receipt, missing map[string]string) {
	var size int64
	for _, n := range logs {
		size += n
	}
	if t.c != nil {
		t.c.LogBytes.Add(size - t.logs)
	}
	t.logs = max(t.logs, size)
	for name := range stored {
		if !t.stored[name] {
			t.stored[name] = true
			if t.c != nil {
				t.c.Artifacts.Inc()
			}
		}
	}
	for name, reason := range missing {
		if !t.missing[name] {
			t.missing[name] = true
			t.c.ArtifactMissing(reason)
		}
	}
}
