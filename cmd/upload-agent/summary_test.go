package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/upload"
)

// What a run's summary looks like.
func TestSummary(t *testing.T) {
	summary := func(artifacts map[string]upload.Receipt) *agent.Summary {
		return &agent.Summary{
			TaskID: goodID, Success: true, LogsAfter: 8300 * time.Microsecond, Artifacts: artifacts, Missing: map[string]string{},
			Logs: upload.Receipt{Size: 235}, Result: upload.Receipt{Size: 315},
		}
	}
	many := map[string]upload.Receipt{}
	for i := range 10_000 {
		many[fmt.Sprintf("dist/%05d.o", i)] = upload.Receipt{Size: int64(i), Attempts: 1}
	}
	some := summary(map[string]upload.Receipt{
		agent.DefaultLog:       {Size: 15, Attempts: 1},
		"public/disk.img":      {Size: 3 << 30, Attempts: 52, Parts: 48, Retries: 3, Renewals: 1, Duration: 12340 * time.Millisecond},
		"public/report.html":   {Size: 5000, Attempts: 2, Retries: 1, Duration: 300 * time.Millisecond},
		"quick\x1b[2Jbell\a":   {Size: 70_000, Attempts: 1, Duration: 30 * time.Millisecond},
		"slow but at once.txt": {Size: 90_000, Attempts: 1, Renewals: 2, Duration: 2 * time.Second},
	})
	some.Success, some.RunID = false, 2
	some.Missing = map[string]string{"gone.txt": "read artifact \"gone.txt\": no such file", "bell\a": "clear\x1b[2J"}
	some.Incomplete = map[string]string{agent.DefaultLog: "incomplete: 1000 bytes of it were given up"}
	lost := summary(many)
	for i := range 25 {
		lost.Missing[fmt.Sprintf("lost/%02d", i)] = "given up"
	}
	for name, r := range map[string]runReport{
		"nothing": {Summary: summary(map[string]upload.Receipt{}), worked: time.Second, took: 1018 * time.Millisecond, moved: tallied{took: time.Minute}},
		"log":     {Summary: summary(map[string]upload.Receipt{agent.DefaultLog: {Size: 15, Attempts: 1}}), stored: "out", worked: time.Second, took: 1018 * time.Millisecond, moved: tallied{artifacts: 1, stored: 1, took: time.Minute}},
		"some":    {Summary: some, worked: 61 * time.Second, took: 75 * time.Second, moved: tallied{sent: 3 << 30, took: 13 * time.Second, retries: 4, renewals: 3}},
		"many":    {Summary: lost, worked: time.Second, took: 2 * time.Second, moved: tallied{sent: 49995000, took: 420 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			r.print(&out)
			if strings.ContainsAny(out.String(), "\a\x1b") {
				t.Errorf("it steers the terminal: %q", out.String())
			}
			path := "testdata/summary/" + name + ".txt"
			if *update {
				if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), out.String()); d != "" {
				t.Errorf("summary (-want +got):\n%s", d)
			}
		})
	}
}
