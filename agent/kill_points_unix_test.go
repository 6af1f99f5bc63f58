//go:build unix

package agent_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
)

// crashPair is where the first agent of a run dies, and where those that resume the run do.
type crashPair struct{ exec, resume string }

// crashPairs have every crash point in them; with many kills, most pairs of two.
func crashPairs() []crashPair {
	var all []crashPair
	points := agent.CrashPoints()
	for _, at := range points {
		first := at
		if strings.HasPrefix(at, string(journal.Renewed)) { // which exec does only after half a minute, and resume at once
			first = "outcome known: durable"
		}
		if strings.HasPrefix(at, string(journal.LogsEnded)) { // which is for runs without an outcome
			first = "log added: written"
		}
		all = append(all, crashPair{first, at})
	}
	if *kills < 100 {
		return all
	}
	for _, first := range []string{"log added: written", "chunk stored: before", "artifact stored: before", "outcome known: durable", "result frozen: durable", "result stored: before", "completed sent: durable"} {
		for _, at := range points {
			all = append(all, crashPair{first, at})
		}
	}
	return all
}

// killAtPoints kills an agent at each crash point, and those that resume its run at the same or another.
func killAtPoints(t *testing.T, r *killRig) {
	random := rand.New(rand.NewPCG(*killSeed, 0))
	log := [][]byte{append(randomText(random, 1000), bytes.Repeat([]byte("more than a tail\n"), 3000)...)}
	artifacts := map[string][]byte{"small": randomText(random, 100), "large": randomText(random, 50_000)}
	var mu sync.Mutex
	reached := map[string]bool{}
	todo := make(chan crashPair)
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for at := range todo {
				if t.Failed() {
					continue
				}
				text := log
				limited := strings.HasPrefix(at.exec, string(journal.LogLoss)) || strings.HasPrefix(at.resume, string(journal.LogLoss))
				if limited {
					text = append(slices.Clip(log), bytes.Repeat([]byte("more than the limit\n"), 5000))
				}
				r.try(text, artifacts, func(c *killCase) (bool, error) {
					c.limited = limited
					if strings.HasPrefix(at.exec, string(journal.ArtifactReplaced)) {
						c.early = "small"
					}
					known, points, err := c.killAt(at)
					mu.Lock()
					defer mu.Unlock()
					for _, point := range points {
						reached[point] = true
					}
					return known, err
				})
			}
		})
	}
	all := crashPairs()
	for _, at := range all {
		todo <- at
	}
	close(todo)
	workers.Wait()

	t.Logf("%d runs, %d agents killed at %d points", len(all), r.kills.Load(), len(reached))
	for _, point := range agent.CrashPoints() {
		step, ok := strings.CutSuffix(point, ": durable")
		if ok && !slices.Contains(awaited, journal.Step(step)) {
			continue // what is only noted is not waited for
		}
		if !reached[point] {
			t.Errorf("no agent was killed at the point %q", point)
		}
	}
}

// awaited are the steps that have to be durable before the next thing is done.
var awaited = []journal.Step{journal.Claimed, journal.LogLoss, journal.LogsEnded, journal.OutcomeKnown, journal.ResultFrozen, journal.ResultStored, journal.CompletedSent, journal.CompletedKnown}

// killAt kills the run's agents, and tells at which points.
func (c *killCase) killAt(at crashPair) (known bool, points []string, err error) {
	killed, err := c.exec(at.exec, nil)
	if err != nil {
		return false, nil, err
	}
	if known, err = c.known(killed); err != nil || !killed {
		return known, nil, err
	}
	points = append(points, at.exec)
	for range 2 {
		killed, err := c.resume(at.resume, nil)
		if err != nil || !killed {
			return known, points, err
		}
		points = append(points, at.resume)
	}
	_, err = c.resume("", nil)
	return known, points, err
}
