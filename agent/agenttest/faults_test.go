package agenttest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/agenttest"
)

func TestParseFaults(t *testing.T) {
	const kinds = "want a status from 400 to 599, reset, stall, slow, expired, redirect, lost, rot or late"
	const whats = "want any, put, get, create, part, complete, abort, claim, reclaim, artifact-urls or completed"
	for spec, want := range map[string]string{
		"":                              "",
		"any=503:0.33":                  "",
		" put=503:0.3 , completed=lost": "",
		"put=400,get=599:1,claim=stall,reclaim=slow,artifact-urls=redirect,any=expired:0.00001": "",
		"part=503,complete=late,abort=reset,create=expired,put=rot,complete=rot":                "",
		"put=late":          `fault "put=late": what "put": want complete: nothing else is answered before it is done`,
		"get=rot":           `fault "get=rot": what "get": want put or complete: nothing else makes an object`,
		"put=5o3":           `fault "put=5o3": kind "5o3": ` + kinds,
		"put=399":           `fault "put=399": kind "399": ` + kinds,
		"put=600":           `fault "put=600": kind "600": ` + kinds,
		"put=0503":          `fault "put=0503": kind "0503": ` + kinds,
		"put=+503":          `fault "put=+503": kind "+503": ` + kinds,
		"put=":              `fault "put=": kind "": ` + kinds,
		"head=503":          `fault "head=503": what "head": ` + whats,
		"=503":              `fault "=503": what "": ` + whats,
		"put":               `fault "put": entry "put": want WHAT=KIND[:PROBABILITY]`,
		"put=503,":          `fault "": entry "": want WHAT=KIND[:PROBABILITY]`,
		"put=503:0":         `fault "put=503:0": probability "0": want a number above 0, up to 1`,
		"put=503:1.1":       `fault "put=503:1.1": probability "1.1": want a number above 0, up to 1`,
		"put=503:NaN":       `fault "put=503:NaN": probability "NaN": want a number above 0, up to 1`,
		"put=503:":          `fault "put=503:": probability "": want a number above 0, up to 1`,
		"completed=expired": `fault "completed=expired": what "completed": want put, get, create, part, complete, abort or any: only URLs of the storage expire`,
	} {
		plan, err := agenttest.ParseFaults(spec, 1)
		if want == "" {
			if err != nil || plan == nil {
				t.Errorf("%q: %v", spec, err)
			}
			continue
		}
		var typed *agenttest.FaultError
		if !errors.As(err, &typed) || err.Error() != want {
			t.Errorf("%q: got %v, want %s", spec, err, want)
		}
	}
}

func TestInjectChecksTheFault(t *testing.T) {
	for _, f := range []agenttest.Fault{{}, {What: "put"}, {What: "put", Kind: "503", Count: -1}, {What: "put", Kind: "503", After: -1},
		{What: "put", Kind: "503", Probability: 2}, {What: "claim", Kind: "expired"}} {
		var typed *agenttest.FaultError
		if err := new(agenttest.FaultPlan).Inject(f); !errors.As(err, &typed) {
			t.Errorf("%+v: got %v", f, err)
		}
	}
}

// Whatever is accepted has only the words that are allowed, and every refusal is typed and says something.
func FuzzParseFaults(f *testing.F) {
	for _, seed := range []string{"", "any=503:0.33", "put=reset,get=302", "a=b:c,d", "completed=lost:1e-3", "put=503:0x1p-2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		_, err := agenttest.ParseFaults(spec, 0)
		var typed *agenttest.FaultError
		switch {
		case err != nil && (!errors.As(err, &typed) || typed.Want == "" || !strings.Contains(spec, typed.Got)):
			t.Errorf("%q: %v", spec, err)
		case err == nil && strings.TrimSpace(spec) != "":
			for part := range strings.SplitSeq(spec, ",") {
				if !strings.Contains(part, "=") {
					t.Errorf("%q was accepted", spec)
				}
			}
		}
	})
}

// pattern sends n GETs and tells which were hit.
func pattern(t *testing.T, spec string, seed uint64, n int) string {
	t.Helper()
	plan, err := agenttest.ParseFaults(spec, seed)
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, agenttest.Options{Faults: plan})
	var b strings.Builder
	for range n {
		g.get("x")
		b.WriteString(g.last().Fault + " ")
	}
	return b.String()
}

func TestSameSeedSameFaults(t *testing.T) {
	const spec = "get=503:0.3,any=429:0.3"
	first := pattern(t, spec, 7, 60)
	if again := pattern(t, spec, 7, 60); again != first {
		t.Errorf("the same seed gave\n%s\nand\n%s", first, again)
	}
	if other := pattern(t, spec, 8, 60); other == first {
		t.Error("another seed gave the same faults")
	}
	// 60 draws: 18 of the first and 12.6 of the second are expected.
	if n := strings.Count(first, "503"); n < 5 || n > 35 {
		t.Errorf("hit %d of 60 with a probability of 0.3", n)
	}
	if n := strings.Count(first, "429"); n < 2 || n > 30 {
		t.Errorf("the second entry hit %d of 60", n)
	}
}

func TestTheFirstEntryThatHitsCounts(t *testing.T) {
	if got := pattern(t, "put=500,get=501,any=502", 0, 2); got != "501 501 " {
		t.Errorf("got %s", got)
	}
}

func TestInjectedFaultsCountAndCome(t *testing.T) {
	plan, err := agenttest.ParseFaults("get=500", 0)
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, agenttest.Options{Faults: plan})
	if err := g.Inject(agenttest.Fault{What: "get", Kind: "503", Path: "result", After: 1, Count: 2}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, path := range []string{"result", "logs", "result", "result", "result"} {
		g.get(path)
		got = append(got, g.last().Fault)
	}
	if want := "500 500 503 503 500"; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestClear(t *testing.T) {
	plan, err := agenttest.ParseFaults("get=500", 0)
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, agenttest.Options{Faults: plan})
	if err := g.Inject(agenttest.Fault{What: "any", Kind: "503", Count: 1}); err != nil {
		t.Fatal(err)
	}
	g.want(g.get("x"), 503)
	g.want(g.get("x"), 500)
	plan.Clear()
	g.want(g.get("x"), 404)
}
