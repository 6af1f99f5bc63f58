package agenttest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

func TestViolations(t *testing.T) {
	t.Run("folder", func(t *testing.T) { testViolations(t, agenttest.Options{}) })
	t.Run("bucket", func(t *testing.T) {
		bucket := newBucket(t)
		testViolations(t, agenttest.Options{Bucket: &bucket})
	})
}

func testViolations(t *testing.T, o agenttest.Options) {
	const logs = `{"version":"0.2.0","logs":{}}`
	for _, c := range []struct {
		name string
		do   func(g *rig, claim schema.Claim, completed func() answer)
		want []string // one for each violation: what it must say
	}{
		{"all in order", func(g *rig, claim schema.Claim, completed func() answer) {
			grant := g.grant(claim.TaskID, "a b", "text/plain")
			g.want(g.send("PUT", grant.ArtifactPutURL.Reveal(), "text/plain", "x"), 200)
			g.want(g.put(claim.LogsPutURL, logs), 200)
			g.want(g.put(claim.ResultPutURL, resultWith(fmt.Sprintf(`"a b":%q,"elsewhere":"https://example.com/x"`, grant.ArtifactURL))), 200)
			g.want(completed(), 200)
			g.want(completed(), 404)
		}, nil},
		{"nothing stored", func(g *rig, claim schema.Claim, completed func() answer) {
			g.want(completed(), 200)
		}, []string{"result.json was not stored", "logs.json was not stored"}},
		{"no logs", func(g *rig, claim schema.Claim, completed func() answer) {
			g.want(g.put(claim.ResultPutURL, resultWith("")), 200)
			g.want(completed(), 200)
		}, []string{"logs.json was not stored"}},
		{"hidden by a fault", func(g *rig, claim schema.Claim, completed func() answer) {
			g.want(g.put(claim.LogsPutURL, logs), 200)
			if err := g.Inject(agenttest.Fault{What: "completed", Kind: "503"}); err != nil {
				g.t.Fatal(err)
			}
			g.want(completed(), 503)
		}, []string{"result.json was not stored"}},
		{"refused by the queue", func(g *rig, claim schema.Claim, completed func() answer) {
			g.want(g.put(claim.ResultPutURL, resultWith("")), 200)
			if err := g.LoseClaim(claim.TaskID); err != nil {
				g.t.Fatal(err)
			}
			g.want(completed(), 404)
		}, []string{"logs.json was not stored"}},
		{"invalid result", func(g *rig, claim schema.Claim, completed func() answer) {
			g.want(g.put(claim.LogsPutURL, logs), 200)
			g.want(g.put(claim.ResultPutURL, "{}"), 200)
			g.want(completed(), 200)
		}, []string{"invalid result.json"}},
		{"artifact missing", func(g *rig, claim schema.Claim, completed func() answer) {
			g.want(g.put(claim.LogsPutURL, logs), 200)
			grant := g.grant(claim.TaskID, "x", "text/plain")
			g.want(g.put(claim.ResultPutURL, resultWith(fmt.Sprintf(`"x":%q`, grant.ArtifactURL))), 200)
			g.want(completed(), 200)
		}, []string{`artifact "x" was not stored`}},
		{"the same result again", func(g *rig, claim schema.Claim, completed func() answer) {
			g.want(g.complete(claim), 200)
			g.want(g.put(claim.ResultPutURL, resultWith("")), 200)
		}, []string{"a PUT arrived after"}},
		{"another result afterwards", func(g *rig, claim schema.Claim, completed func() answer) {
			g.want(g.complete(claim), 200)
			g.want(g.put(claim.ResultPutURL, "{}"), 200)
		}, []string{"a PUT arrived after", "result.json: changed after"}},
		{"new artifact afterwards", func(g *rig, claim schema.Claim, completed func() answer) {
			grant := g.grant(claim.TaskID, "x", "text/plain")
			g.want(g.complete(claim), 200)
			g.want(g.send("PUT", grant.ArtifactPutURL.Reveal(), "text/plain", "x"), 200)
		}, []string{"a PUT arrived after", "artifacts/x: changed after"}},
		{"refused PUT afterwards", func(g *rig, claim schema.Claim, completed func() answer) {
			g.want(g.complete(claim), 200)
			g.want(g.send("PUT", claim.ResultPutURL.Reveal(), "text/plain", "x"), 403)
		}, []string{"a PUT arrived after"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if o.Bucket != nil { // whose server tells us of no PUT
				c.want = slices.DeleteFunc(c.want, func(want string) bool { return want == "a PUT arrived after" })
			}
			g := start(t, o)
			claim := g.claim()
			c.do(g, claim, func() answer { return g.post("/task/"+string(claim.TaskID)+"/completed", completedBody) })
			g.Violations() // says it once
			got := g.Violations()
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) || !strings.Contains(got[i], string(claim.TaskID)+"/runs/0/") {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}

// A worker whose claim is over must not report, once it can know.
func TestLateReports(t *testing.T) {
	const reclaim = `{"workerGroup":"group","workerId":"worker","runId":0}`
	for _, c := range []struct {
		name string
		do   func(g *rig, id schema.TaskID)
		want string
	}{
		{"in time", func(g *rig, id schema.TaskID) { pass(59 * time.Second) }, ""},
		{"on its way when the claim lapsed", func(g *rig, id schema.TaskID) { pass(61 * time.Second) }, ""},
		{"after the claim has lapsed", func(g *rig, id schema.TaskID) { pass(62 * time.Second) }, "2s after its claim had lapsed"},
		{"after a claim that was extended", func(g *rig, id schema.TaskID) {
			pass(30 * time.Second)
			g.want(g.post("/task/"+string(id)+"/claim", reclaim), 200)
			pass(40 * time.Second)
		}, ""},
		{"after the claim was taken away, unheard of", func(g *rig, id schema.TaskID) {
			g.LoseClaim(id)
			pass(50 * time.Second)
		}, ""},
		{"after the worker was told", func(g *rig, id schema.TaskID) {
			g.LoseClaim(id)
			g.want(g.post("/task/"+string(id)+"/claim", reclaim), 404)
			pass(2 * time.Second)
		}, "2s after its worker was told that the claim is lost"},
		{"on its way when the worker was told", func(g *rig, id schema.TaskID) {
			g.LoseClaim(id)
			g.want(g.post("/task/"+string(id)+"/claim", reclaim), 404)
			pass(time.Second)
		}, ""},
		{"told, but nobody heard it", func(g *rig, id schema.TaskID) {
			g.LoseClaim(id)
			g.Inject(agenttest.Fault{What: "reclaim", Kind: "lost"})
			g.post("/task/"+string(id)+"/claim", reclaim)
			pass(2 * time.Second)
		}, ""},
		{"repeated", func(g *rig, id schema.TaskID) {
			g.want(g.post("/task/"+string(id)+"/completed", completedBody), 200)
			pass(time.Hour)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inFakeTime(t, agenttest.Options{ClaimLength: time.Minute}, func(t *testing.T, g *rig) {
				claim := g.claim()
				g.want(g.put(claim.LogsPutURL, `{"version":"0.2.0","logs":{}}`), 200)
				g.want(g.put(claim.ResultPutURL, resultWith("")), 200)
				c.do(g, claim.TaskID)
				g.post("/task/"+string(claim.TaskID)+"/completed", completedBody)
				got := g.Violations()
				if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

func pass(d time.Duration) { <-time.After(d) }
