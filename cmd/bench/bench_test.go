package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(context.Background(), role); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A thousandth of every workload, by the peers that are always there.
func TestBench(t *testing.T) {
	var out, errs bytes.Buffer
	file := filepath.Join(t.TempDir(), "bench.json")
	args := []string{"-scale", "1000", "-n", "1", "-starts", "2", "-peers", "bare,manager,manager-tuned", "-json", file, "-dir", t.TempDir()}
	if err := bench(t.Context(), args, &out, &errs); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Workloads) != len(workloads) || got.Start == nil || got.Start.Runs != 2 {
		t.Errorf("%d workloads, start latency %+v", len(got.Workloads), got.Start)
	}
	for _, w := range got.Workloads {
		if len(w.Peers) != 4 || w.Peers[0].Peer != ours || w.Peers[0].Ratio != 1 {
			t.Errorf("%s: %+v", w.Name, w.Peers)
		}
		for _, s := range w.Peers {
			if s.Wall <= 0 || s.CPU <= 0 || s.Ratio <= 0 {
				t.Errorf("%s, %s: %+v", w.Name, s.Peer, s)
			}
		}
		if !strings.Contains(out.String(), "## "+w.Name+"\n") {
			t.Errorf("the report does not show %s", w.Name)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	for _, args := range [][]string{{"-peers", "ftp"}, {"-workloads", "1TiB"}, {"-n", "0"}, {"1GiB"}} {
		var out, errs bytes.Buffer
		if err := bench(t.Context(), append(args, "-dir", t.TempDir()), &out, &errs); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		values []int
		q      float64
		want   int
	}{
		{[]int{3}, 0.5, 3}, {[]int{2, 1}, 0.5, 1}, {[]int{5, 1, 3}, 0.5, 3}, {[]int{5, 1, 3}, 0, 1}, {[]int{5, 1, 3}, 1, 5},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0.99, 10},
	} {
		if got := quantile(test.values, test.q); got != test.want {
			t.Errorf("quantile(%v, %v) = %d, want %d", test.values, test.q, got, test.want)
		}
	}
}

func TestSummarize(t *testing.T) {
	got := summarize([]measured{
		{ours, []sample{{Wall: 30, CPU: 7, Peak: 2}, {Wall: 10, CPU: 9, Peak: 5}, {Wall: 20, CPU: 8, Peak: 1}}},
		{"curl", []sample{{Wall: 40, CPU: 1, Peak: 1}}},
	})
	want := []summary{
		{Peer: ours, Wall: 20, Fastest: 10, Slowest: 30, CPU: 8, Peak: 5, Ratio: 1},
		{Peer: "curl", Wall: 40, Fastest: 40, Slowest: 40, CPU: 1, Peak: 1, Ratio: 0.5},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTargets(t *testing.T) {
	all := []summary{{Peer: ours, CPU: time.Second, Peak: 10 << 20, Ratio: 1}, {Peer: "curl", Ratio: 0.7}}
	for _, test := range []struct {
		target target
		found  string
		holds  bool
		known  bool
	}{
		{target{workload: "w", peer: "curl", ratio: 0.8}, "0.70", true, true},
		{target{workload: "w", peer: "curl", ratio: 0.6}, "0.70", false, true},
		{target{workload: "w", cpu: time.Second / 2}, "1.00 s", false, true},
		{target{workload: "w", peak: 40 << 20}, "10.0 MiB", true, true},
		{target{workload: "w", peer: "mc", ratio: 1}, "", false, false},
		{target{workload: "other", peer: "curl", ratio: 1}, "", false, false},
	} {
		_, found, holds, known := test.target.check("w", all)
		if found != test.found || holds != test.holds || known != test.known {
			t.Errorf("%+v: found %q, holds %v, known %v", test.target, found, holds, known)
		}
	}
}
