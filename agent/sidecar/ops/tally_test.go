package ops_test

import (
	"testing"

	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
	"github.com/taskcluster/upload-agent/upload"
)

func TestTally(t *testing.T) {
	c := new(ops.Counters)
	check := func(logs, stored, missing int64) {
		t.Helper()
		got := [...]int64{c.LogBytes.Load(), c.Artifacts.Load(), c.Missing()}
		if want := [...]int64{logs, stored, missing}; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	a, b := upload.Receipt{Size: 10, Attempts: 1}, upload.Receipt{Size: 20, Attempts: 4}
	run := c.NewTally()
	run.Look(map[string]int64{"x": 5}, nil, nil)
	check(5, 0, 0)
	run.Look(map[string]int64{"x": 7, "y": 1}, map[string]upload.Receipt{"a": a}, map[string]string{"m": "gone"})
	check(8, 1, 1)
	for range 2 {
		run.Look(map[string]int64{"x": 7, "y": 2}, map[string]upload.Receipt{"a": a, "b": b}, map[string]string{"m": "gone"})
		check(9, 2, 1)
	}
	resumed := c.NewTally()
	resumed.Skip(map[string]int64{"x": 1000}, map[string]upload.Receipt{"a": a}, map[string]string{"m": "gone"})
	check(9, 2, 1)
	resumed.Look(map[string]int64{"x": 1001}, map[string]upload.Receipt{"a": a, "b": b}, map[string]string{"m": "gone", "n": "gone"})
	check(10, 3, 2)
	(*ops.Counters)(nil).NewTally().Look(map[string]int64{"x": 1}, map[string]upload.Receipt{"a": a}, map[string]string{"m": ""})
}
