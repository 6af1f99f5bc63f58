//go:build unix

package agent_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	kills    = flag.Int("kills", 12, "how many agents TestKill kills at random moments")
	killSeed = flag.Uint64("kill-seed", 1, "where TestKill's random moments begin")
	killSize = flag.Int64("kill-size", 8<<20, "bytes of the large artifact and of the log in TestKill")
)

// Flags make it longer: go test ./agent -run 'TestKill$' -kills 1000 -kill-size 1073741824 -timeout 1h
//
// Whenever an agent is killed: a completed run can be read, byte for byte; a run whose command had ended is
// completed by "upload-agent resume"; of any other the queue does not hear, and its log says what happened.
func TestKill(t *testing.T) {
	t.Parallel()
	program := buildAgent(t)
	t.Run("random", func(t *testing.T) { t.Parallel(); killAtRandom(t, newKillRig(t, program, "")) })
	t.Run("faults", func(t *testing.T) {
		t.Parallel()
		killAtRandom(t, newKillRig(t, program, "put=503:0.1,put=lost:0.1,put=reset:0.05,artifact-urls=503:0.1,completed=lost:0.3"))
	})
	t.Run("points", func(t *testing.T) { t.Parallel(); killAtPoints(t, newKillRig(t, program, "")) })
	t.Run("together", func(t *testing.T) { t.Parallel(); killTogether(t, newKillRig(t, program, "")) })
	t.Run("large", func(t *testing.T) { t.Parallel(); killAmidLarge(t, newKillRig(t, program, "")) })
}

// try tries one run; how does to its agents what is to be tried, and tells whether the outcome was known when the first one ended.
func (r *killRig) try(log [][]byte, artifacts map[string][]byte, how func(*killCase) (known bool, err error)) {
	ctx, cancel := context.WithTimeout(context.Background(), patience())
	defer cancel()
	c, err := r.newKillCase(ctx, log, artifacts)
	if err != nil {
		r.t.Error(err)
		return
	}
	known, err := how(c)
	if err == nil {
		err = c.check(known)
	}
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(c.state, string(c.id)+"-0", "journal"))
		r.t.Errorf("task %s: %v\n%s\njournal:\n%s", c.id, err, strings.Join(c.history, "\n"), text)
	}
	if err := os.RemoveAll(c.dir); err != nil {
		r.t.Error(err)
	}
}

// randomText has up to most bytes.
func randomText(random *rand.Rand, most int) []byte {
	b := make([]byte, random.IntN(most))
	for i := range b {
		b[i] = "0123456789abcdef\n"[random.IntN(17)]
	}
	return b
}

// killAtRandom kills agents at moments spread over all their lives, some runs several times.
func killAtRandom(t *testing.T, r *killRig) {
	lives := lives{guess: map[string]time.Duration{"exec": 400 * time.Millisecond, "resume": 150 * time.Millisecond}}
	var number atomic.Uint64
	one := func() {
		random := rand.New(rand.NewPCG(*killSeed, number.Add(1)))
		log := [][]byte{randomText(random, 30_000), randomText(random, 60_000), randomText(random, 30_000)}
		r.try(log, map[string][]byte{"small": randomText(random, 1000), "large": randomText(random, 500_000)}, func(c *killCase) (bool, error) {
			killed, err := c.exec("", lives.moment("exec", random.Float64()))
			if err != nil {
				return false, err
			}
			lives.learn("exec", killed)
			known, err := c.known(killed)
			if err != nil || !killed {
				return known, err
			}
			for range random.IntN(4) {
				killed, err := c.resume("", lives.moment("resume", random.Float64()))
				if err != nil {
					return known, err
				}
				if lives.learn("resume", killed); !killed {
					return known, nil
				}
			}
			_, err = c.resume("", nil)
			return known, err
		})
	}
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for r.kills.Load() < int64(*kills+1)/2 && !t.Failed() {
				one()
			}
		})
	}
	workers.Wait()
	t.Logf("%d runs, %d agents killed; moments of the last %v", number.Load(), r.kills.Load(), lives.guess)
}

// lives guesses how long agents live, so that most are killed, and at any moment: three of four.
type lives struct {
	mu    sync.Mutex
	guess map[string]time.Duration // by command, a third more than that
}

func (l *lives) moment(command string, at float64) func(*agentProcess) <-chan time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	after := time.Duration(at * float64(l.guess[command]))
	return func(*agentProcess) <-chan time.Time { return time.After(after) }
}

func (l *lives) learn(command string, killed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if killed {
		l.guess[command] = l.guess[command] * 103 / 100
	} else {
		l.guess[command] = l.guess[command] * 92 / 100
	}
}
