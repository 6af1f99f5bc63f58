package main

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A plan is what runs cost, times how many of them begin and end each second.
func TestPlan(t *testing.T) {
	p := profile{Name: "one line", Length: 100 * time.Second, Line: 1000, Artifacts: 3, ArtifactBytes: 10_000, AtEnd: true, Weight: 1}
	silent := profile{Name: "silent", Length: 50 * time.Second, Line: 0, Weight: 3}
	known := map[string]sizes{"one line": {Index: 500, Document: 600}}
	at := prices{Put: 0.005, Get: 0.0004, Storage: 0.023, Months: 2}
	// Of 4000 runs a quarter are of the first profile, and a hundredth of those begins each second: 10. Of the others, 60.
	d := plan(crowd{Runs: 4000, Mix: []profile{p, silent}, Readers: 2}, defaultKnobs, known, at)
	looks := 10*predict(p, defaultKnobs, 1).Requests["look"]*2 + 60*predict(silent, defaultKnobs, 1).Requests["look"]*2
	want := demand{
		RunsPerSecond: 70,
		PerSecond: counts{
			"claim": 70, "reclaim": 0, "completed": 70, "logs.json": 70, "result.json": 70,
			"artifact-urls": 10*3 + 60, // the log, the first artifact, the other two
			"index":         10*2 + 60, "chunk": 0, "text": 10*2 + 60, "artifact": 30, "look": looks, "read": 0,
		},
		Queue: 230, Put: 330, Get: looks, Partitions: 1,
		Sent:   10 * (2*500 + 2*1000 + 600 + 30_000),
		Stored: 10 * (500 + 1000 + 600 + 30_000),
	}
	want.PutCost, want.GetCost = 330*3.6*0.005, looks*3.6*0.0004
	want.StorageCost = want.Stored * 3600 / (1 << 30) * 0.023 * 2
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) })
	if diff := cmp.Diff(want, d, near); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if d := plan(crowd{Runs: 400_000, Mix: []profile{p, silent}}, defaultKnobs, known, at); d.Partitions != 10 {
		t.Errorf("%.0f partitioned prefixes for %.0f PUTs a second, want 10", d.Partitions, d.Put)
	}
}

// Each knob that is said to help does, where it is said to.
func TestKnobs(t *testing.T) {
	all := variants(crowd{Runs: 1000, Mix: profiles, Readers: 0.1}, defaultKnobs, nil, prices{Put: 1, Get: 1})
	base := all[0].Demand
	for _, v := range all[1:] {
		d := v.Demand
		switch fewer := d.Put < 0.9*base.Put; {
		case strings.Contains(v.Where, "flush") || v.Where == "all three":
			if !fewer || d.Get >= base.Get {
				t.Errorf("%s: %.0f PUTs and %.0f GETs a second, want fewer than %.0f and %.0f", v.Name, d.Put, d.Get, base.Put, base.Get)
			}
		case strings.Contains(v.Where, "stream"):
			if d.Get != 0 {
				t.Errorf("%s: %.0f GETs a second, want none", v.Name, d.Get)
			}
		case strings.Contains(v.Where, "settle"):
			if d.Queue >= base.Queue/2 {
				t.Errorf("%s: %.0f requests a second to the queue, want less than half of %.0f", v.Name, d.Queue, base.Queue)
			}
		case strings.Contains(v.Where, "limit"):
			if !fewer {
				t.Errorf("%s: %.0f PUTs a second, want fewer than %.0f", v.Name, d.Put, base.Put)
			}
		default:
			if d.Queue <= base.Queue {
				t.Errorf("%s: %.0f requests a second to the queue, want more than %.0f", v.Name, d.Queue, base.Queue)
			}
		}
	}
}

func TestRenewals(t *testing.T) {
	every := func(distance, length time.Duration) (ages []time.Duration) {
		for age := time.Duration(0); age < length; age += distance {
			ages = append(ages, age)
		}
		return ages
	}
	for _, c := range []struct {
		name string
		ages []time.Duration
		life time.Duration
		want int
	}{
		{"never used", nil, time.Minute, 0},
		{"within its life", every(time.Second, 19*time.Minute), 20 * time.Minute, 0},
		{"half a minute before its end", every(time.Second, 20*time.Minute), 20 * time.Minute, 1},
		{"again and again", every(time.Second, time.Hour), 20 * time.Minute, 3},
		{"a tenth before the end of a short one", every(time.Second, 100*time.Second), 100 * time.Second, 1},
		{"only when it is used", every(time.Hour, 5*time.Hour), 20 * time.Minute, 4},
	} {
		if got := renewals(c.ages, c.life); got != c.want {
			t.Errorf("%s: %d renewals, want %d", c.name, got, c.want)
		}
	}
}

func TestFit(t *testing.T) {
	line := fit([]crowded{{Runs: 10, Live: 150}, {Runs: 100, Live: 600}, {Runs: 300, Live: 1600}}, func(c crowded) float64 { return float64(c.Live) })
	if line != (perRun{Base: 100, Slope: 5}) || line.at(20) != 200 {
		t.Errorf("fit gives %+v, want 100 and 5 more each", line)
	}
	if one := fit([]crowded{{Runs: 4, Live: 100}}, func(c crowded) float64 { return float64(c.Live) }); one != (perRun{Slope: 25}) {
		t.Errorf("of one point: %+v, want 25 each", one)
	}
}

func TestMixed(t *testing.T) {
	mix, err := mixed("chatty=3,quiet=0.5")
	if err != nil || len(mix) != 2 || mix[0].Name != "quiet" || mix[0].Weight != 0.5 || mix[1].Weight != 3 {
		t.Errorf("mixed gives %v, %v", mix, err)
	}
	if mix, err := mixed(defaultMix()); err != nil || cmp.Diff(profiles, mix) != "" {
		t.Errorf("the default is %v, %v", mix, err)
	}
	for _, bad := range []string{"", "quiet", "quiet=", "quiet=-1", "quiet=NaN", "loud=1", "quiet=0"} {
		if mix, err := mixed(bad); err == nil {
			t.Errorf("mixed(%q) gives %v, want an error", bad, mix)
		}
	}
}

func TestNumbers(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.0333: "0.033", 6.66: "6.7", 12: "12", 133.4: "130", 999: "1,000", 1234: "1,230", 66_249: "66,200", 1234567: "1,230,000"} {
		if got := number(x); got != want {
			t.Errorf("number(%v) = %q, want %q", x, got, want)
		}
	}
	for x, want := range map[float64]string{0: "0 B", 999: "999 B", 1460: "1.46 kB", 999_900: "1 MB", 2.01e12: "2.01 TB"} {
		if got := size(x); got != want {
			t.Errorf("size(%v) = %q, want %q", x, got, want)
		}
	}
	if got := partRequests(1<<30, 64<<20); got != 18 {
		t.Errorf("1 GiB in parts of 64 MiB is %d requests, want 18", got)
	}
}

func TestKindOf(t *testing.T) {
	const artifacts = "http://storage/x/runs/0/artifacts/"
	for _, c := range []struct{ method, url, body, want string }{
		{"POST", "http://queue/v1/task/x/claim", `{"workerId":"w"}`, "claim"},
		{"POST", "http://queue/v1/task/x/claim", `{"runId":0,"workerId":"w"}`, "reclaim"},
		{"POST", "http://queue/v1/task/x/artifact-urls", `{}`, "artifact-urls"},
		{"PUT", "http://storage/x/runs/0/logs.json?secret", "{}", "logs.json"},
		{"PUT", artifacts + "live/terminal.log/index.json", "{}", "index"},
		{"PUT", artifacts + "live/terminal.log/0-20000.gz", "x", "chunk"},
		{"PUT", artifacts + "terminal.log", "x", "text"},
		{"PUT", artifacts + "public/index.json", "x", "artifact"},
		{"GET", artifacts + "live/terminal.log/index.json", "", "look"},
		{"GET", artifacts + "live/terminal.log/0-20000.gz", "", "read"},
		{"DELETE", artifacts + "public/x", "", "DELETE /x/runs/0/artifacts/public/x"},
	} {
		r, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if got := kindOf(r); got != c.want {
			t.Errorf("%s %s is %q, want %q", c.method, c.url, got, c.want)
		}
	}
}
