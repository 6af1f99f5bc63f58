//go:build unix

package agent_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// killTogether kills several agents that share a folder for their state, and has two others resume all their runs at once.
func killTogether(t *testing.T, r *killRig) {
	random := rand.New(rand.NewPCG(*killSeed, 1))
	ctx, cancel := context.WithTimeout(context.Background(), patience())
	defer cancel()
	lives := lives{guess: map[string]time.Duration{"exec": 400 * time.Millisecond}}
	shared := filepath.Join(t.TempDir(), "state")
	cases, known := make([]*killCase, 4), make([]bool, 4)
	var agents sync.WaitGroup
	for i := range cases {
		moment := lives.moment("exec", random.Float64())
		c, err := r.newKillCase(ctx, [][]byte{randomText(random, 50_000), randomText(random, 50_000)}, map[string][]byte{"small": randomText(random, 1000), "large": randomText(random, 200_000)})
		if err != nil {
			t.Fatal(err)
		}
		cases[i], c.state = c, shared
		agents.Go(func() {
			killed, err := c.exec("", moment)
			if err == nil {
				known[i], err = c.known(killed)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	agents.Wait()
	for range 2 {
		agents.Go(func() {
			resumer := &killCase{killRig: r, id: cases[0].id, dir: cases[0].dir, state: shared}
			if _, err := resumer.resume("", nil); err != nil { // each run is taken by one of them, and the other is told so
				t.Error(err)
			}
		})
	}
	agents.Wait()
	for i, c := range cases {
		if err := c.check(known[i]); err != nil {
			t.Error(errors.Join(err, errors.New(c.first.stderr.String())))
		}
	}
	t.Logf("%d of %d agents killed", r.kills.Load(), len(cases))
}
