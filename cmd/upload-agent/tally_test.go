package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/upload"
)

// noProgress shows nothing.
func noProgress() *progress { return &progress{how: progressOff, tally: newTally()} }

// clocked is a tally with a clock of the test's own.
func clocked() (*tally, *time.Time) {
	now := time.Unix(1000, 0)
	t := newTally()
	t.now = func() time.Time { return now }
	return t, &now
}

func TestTally(t *testing.T) {
	type step struct {
		do   func(agent.Observer)
		want tallied
	}
	added := func(name string, size int64) func(agent.Observer) {
		return func(o agent.Observer) { o.ArtifactAdded(name, size) }
	}
	sent := func(name string, sent, size int64) func(agent.Observer) {
		return func(o agent.Observer) { o.ArtifactSent(name, sent, size) }
	}
	stored := func(name string, size int64) func(agent.Observer) {
		return func(o agent.Observer) { o.ArtifactStored(upload.Receipt{Name: name, Size: size}) }
	}
	missing := func(name string) func(agent.Observer) { return func(o agent.Observer) { o.ArtifactMissing(name, "") } }
	second := time.Second
	for name, steps := range map[string][]step{ // each takes a second
		"one": {
			{added("a", 10), tallied{artifacts: 1, size: 10, took: second}},
			{sent("a", 4, 10), tallied{artifacts: 1, size: 10, sent: 4, took: 2 * second}},
			{sent("a", 0, 10), tallied{artifacts: 1, size: 10, took: 3 * second}}, // tried again
			{func(o agent.Observer) { o.Retrying("a", upload.ErrStalled); o.GrantRenewed("a") }, tallied{artifacts: 1, size: 10, took: 4 * second, retries: 1, renewals: 1}},
			{sent("a", 10, 10), tallied{artifacts: 1, size: 10, sent: 10, took: 5 * second, retries: 1, renewals: 1}},
			{stored("a", 10), tallied{artifacts: 1, stored: 1, size: 10, sent: 10, took: 5 * second, retries: 1, renewals: 1}},
		},
		"gzipped": {
			{added("a", 100), tallied{artifacts: 1, size: 100, took: second}},
			{sent("a", 5, 30), tallied{artifacts: 1, size: 30, sent: 5, took: 2 * second}},
			{stored("a", 30), tallied{artifacts: 1, stored: 1, size: 30, sent: 30, took: 2 * second}},
		},
		"missing, of two": {
			{added("a", 100), tallied{artifacts: 1, size: 100, took: second}},
			{added("b", 7), tallied{artifacts: 2, size: 107, took: 2 * second}},
			{sent("a", 50, 100), tallied{artifacts: 2, size: 107, sent: 50, took: 3 * second}},
			{missing("a"), tallied{artifacts: 2, missing: 1, size: 7, took: 4 * second}},
			{missing("never added"), tallied{artifacts: 3, missing: 2, size: 7, took: 5 * second}},
			{sent("b", 7, 7), tallied{artifacts: 3, missing: 2, size: 7, sent: 7, took: 6 * second}},
			{stored("b", 7), tallied{artifacts: 3, missing: 2, stored: 1, size: 7, sent: 7, took: 6 * second}},
		},
		"stored before, and one nobody added": {
			{added("a", 100), tallied{artifacts: 1, size: 100, took: second}},
			{stored("a", 100), tallied{artifacts: 1, stored: 1, took: second}},
			{func(agent.Observer) {}, tallied{artifacts: 1, stored: 1, took: second}},
			{sent("log", 3, 9), tallied{artifacts: 2, stored: 1, size: 9, sent: 3, took: 2 * second}},
		},
		"replaced": {
			{added("a", 100), tallied{artifacts: 1, size: 100, took: second}},
			{sent("a", 60, 100), tallied{artifacts: 1, size: 100, sent: 60, took: 2 * second}},
			{added("a", 20), tallied{artifacts: 1, size: 20, took: 3 * second}},
			{sent("a", 20, 20), tallied{artifacts: 1, size: 20, sent: 20, took: 4 * second}},
			{stored("a", 20), tallied{artifacts: 1, stored: 1, size: 20, sent: 20, took: 4 * second}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tally, now := clocked()
			o := tally.observer("")
			for i, s := range steps {
				s.do(o)
				*now = now.Add(time.Second)
				if d := cmp.Diff(s.want, tally.so(), cmp.AllowUnexported(tallied{})); d != "" {
					t.Errorf("step %d (-want +got):\n%s", i, d)
				}
			}
		})
	}
}

// Worth a bar is what is large, or takes long; the oldest first.
func TestUnderWay(t *testing.T) {
	tally, now := clocked()
	o := tally.observer("run/")
	o.ArtifactAdded("waits", 1<<30)
	o.ArtifactSent("small", 1, 10)
	*now = now.Add(500 * time.Millisecond)
	o.ArtifactSent("large", 1, 1<<30)
	names := func() (names []string) {
		for _, f := range tally.underWay() {
			names = append(names, f.name)
		}
		return names
	}
	if d := cmp.Diff([]string{"run/large"}, names()); d != "" {
		t.Error(d)
	}
	*now = now.Add(500 * time.Millisecond)
	if d := cmp.Diff([]string{"run/small", "run/large"}, names()); d != "" {
		t.Error(d)
	}
}

func TestRate(t *testing.T) {
	var r rate
	at := time.Unix(1000, 0)
	if got := r.text(5); got != "" {
		t.Errorf("before anything is known: %q", got)
	}
	for i := range 100 { // 1 KiB/s, and then 100 KiB/s
		at = at.Add(time.Second)
		step := int64(1 << 10)
		if i >= 50 {
			step = 100 << 10
		}
		var sent int64
		if n := len(r.looks); n > 0 {
			sent = r.looks[n-1].sent
		}
		r.saw(at, sent+step)
	}
	if got := r.text(1 << 20); got != "100.0 KiB/s, 10s left" || len(r.looks) > 12 {
		t.Errorf("%q, of %d looks", got, len(r.looks))
	}
	r.saw(at.Add(time.Second), 0)
	if got := r.text(1 << 20); got != "" {
		t.Errorf("after it has fallen: %q", got)
	}
	for seconds, want := range map[float64]string{0.2: "0s", 59.4: "59s", 61: "1m01s", 3600: "1h00m", 7380: "2h03m", 1e9: "days"} {
		if got := formatLeft(seconds); got != want {
			t.Errorf("%v s: %q, want %q", seconds, got, want)
		}
	}
}

// There is a line where something has moved.
func TestProgressLines(t *testing.T) {
	tally, now := clocked()
	o := tally.observer("")
	lines := newLines(tally, *now)
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, ""},
		{func() { o.ArtifactAdded("a", 3<<20); o.ArtifactAdded("b", 5) }, "0 of 2 artifacts, 0 B of 3.0 MiB"},
		{func() { o.ArtifactSent("a", 1<<20, 3<<20) }, "0 of 2 artifacts, 1.0 MiB of 3.0 MiB, 102.4 KiB/s, 20s left"},
		{func() {}, ""}, // it stalls
		{func() { o.ArtifactSent("b", 5, 5); o.ArtifactStored(upload.Receipt{Name: "b", Size: 5}) }, "1 of 2 artifacts, 1.0 MiB of 3.0 MiB"},
		{func() { o.ArtifactSent("a", 2<<20, 3<<20); o.ArtifactMissing("c", "gone") }, "2 of 3 artifacts, 2.0 MiB of 3.0 MiB, 102.4 KiB/s, 10s left"},
		{func() { o.ArtifactStored(upload.Receipt{Name: "a", Size: 3 << 20}) }, ""},
	} {
		step.do()
		*now = now.Add(10 * time.Second)
		if got := lines.look(*now); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}

func TestBarName(t *testing.T) {
	for name, want := range map[string]string{
		"short": "short", "\x1b[2J": "\uFFFD[2J", "a/long/path/to/some/artifact.tar.gz": "…to/some/artifact.tar.gz",
	} {
		if got := barName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
