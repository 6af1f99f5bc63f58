package agenttest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

func TestViolations(t *testing.T) {
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
			g := start(t, agenttest.Options{})
			claim := g.claim()
			c.do(g, claim, func() answer { return g.post("/task/"+string(claim.TaskID)+"/completed", completedBody) })
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
