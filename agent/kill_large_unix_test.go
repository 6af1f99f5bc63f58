//go:build unix

package agent_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
)

// killAmidLarge kills an agent whose command has ended while its large artifact and the rest of its log are on their
// way, and then the one that resumes the run, at the same place.
func killAmidLarge(t *testing.T, r *killRig) {
	random := rand.NewChaCha8([32]byte{byte(*killSeed)})
	log, large := make([]byte, *killSize), make([]byte, *killSize)
	random.Read(log)
	random.Read(large)
	copy(large, largeMagic)
	artifacts := map[string][]byte{"small": []byte("small\n"), "large": large}
	hit := false
	for try := 1; !hit && try <= 20 && !t.Failed(); try++ {
		r.try([][]byte{log}, artifacts, func(c *killCase) (bool, error) {
			killed, err := c.exec("", c.amidLarge)
			if err != nil || !killed {
				return true, err
			}
			c.begun, c.logged = true, true
			state, err := c.journal()
			if err != nil {
				return true, err
			}
			again, err := c.resume("", c.amidLarge)
			if err != nil {
				return true, err
			}
			if again {
				_, err = c.resume("", nil)
			}
			_, stored := state.Stored["large"]
			hit = again && !stored
			if hit && err == nil {
				t.Logf("try %d: %d of %d bytes of the log and %d artifacts were stored when the agent was killed; resume says %+v", try, chunked(state), len(log), len(state.Stored), c.said)
				err = c.skipped(state)
			}
			return true, err
		})
	}
	if !hit && !t.Failed() {
		t.Error("no agent could be killed in time")
	}
}

// largeMagic is how the large artifact begins.
const largeMagic = "the large artifact"

// amidLarge tells when the outcome is known and the log is not yet stored, but parts of it and of the large artifact are.
func (c *killCase) amidLarge(p *agentProcess) <-chan time.Time {
	now := make(chan time.Time, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-p.ended:
				return
			case <-tick.C:
			}
			state, err := c.journal()
			if err == nil && state.Outcome != nil && chunked(state) < *killSize && c.partOfLarge() {
				now <- time.Now()
				return
			}
		}
	}()
	return now
}

// partOfLarge tells whether the storage is taking in the large artifact.
func (c *killCase) partOfLarge() bool {
	open, err := filepath.Glob(filepath.Join(c.killRig.dir, "storage", ".storage", "tmp", "*"))
	if err != nil {
		return false
	}
	for _, path := range open {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		head := make([]byte, len(largeMagic))
		file.ReadAt(head, 0)
		info, err := file.Stat()
		file.Close()
		if err == nil && string(head) == largeMagic && info.Size() > *killSize/16 {
			return true
		}
	}
	return false
}

func chunked(s journal.State) int64 {
	if len(s.Logs) == 0 || len(s.Logs[0].Chunks) == 0 {
		return 0
	}
	last := s.Logs[0].Chunks[len(s.Logs[0].Chunks)-1]
	return last.Offset + last.Size
}

// skipped says whether resume has told what it did not do again.
func (c *killCase) skipped(was journal.State) error {
	last := c.said[len(c.said)-1]
	if _, stored := was.Stored["small"]; stored && !slices.Contains(last.AlreadyStored, "small") {
		return fmt.Errorf("resume does not say that it left a stored artifact alone: %+v", last)
	}
	if at := chunked(was); at > 0 && last.Continued["terminal.log"] < at {
		return fmt.Errorf("the log was published up to byte %d, but resume says %+v", at, last)
	}
	return nil
}
