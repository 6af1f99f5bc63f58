package agent_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/schema"
)

// logs.json does not wait until the disk has made the state folder last, and is not stored a second time when it has.
func TestLogsDocumentDoesNotWaitForTheDisk(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	d := disktest.New(rand.New(rand.NewPCG(1, 1)))
	stored := make(chan struct{})
	d.SetFaults(func(op disktest.Op) error {
		if op.Name != "sync" {
			return nil
		}
		select {
		case <-stored:
		case <-time.After(30 * time.Second):
			t.Error("logs.json is not stored before the first fsync has ended")
		}
		return nil
	})
	r.options.StateDir = "/state"
	r.options.SetDisk(d)
	go func() {
		defer close(stored)
		poll := time.NewTicker(time.Millisecond)
		defer poll.Stop()
		for late := time.After(30 * time.Second); ; {
			if _, err := r.server.Object(r.path("logs.json")); err == nil {
				return
			}
			select {
			case <-poll.C:
			case <-late:
				return
			}
		}
	}()
	summary, err := r.start(t.Context()).Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := schema.Decode[schema.Logs]("logs.json", r.stored("logs.json"))
	if err != nil || doc.Logs[agent.DefaultLog] == "" || doc.Logs["live/"+agent.DefaultLog] == "" {
		t.Errorf("%v, %v", doc, err)
	}
	if n := r.count("put", "logs.json"); n != 1 || summary.Logs.Size != int64(len(r.stored("logs.json"))) {
		t.Errorf("stored %d times, and the receipt is %+v", n, summary.Logs)
	}
	r.checkHistory()
}

// A logs.json that was put at once and is not all, or was refused, is put again.
func TestLogsDocumentIsPutAgain(t *testing.T) {
	for name, logs := range map[string][]string{"refused": {"a"}, "another log": {"a"}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, agenttest.Options{})
			r.options.Logs = logs
			if name == "refused" {
				r.inject(agenttest.Fault{What: "put", Kind: "400", Path: "logs.json", Count: 1})
			}
			run := r.start(t.Context())
			want := []string{"a"}
			if name == "another log" {
				run.Log("b")
				want = append(want, "b")
			}
			if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
				t.Fatal(err)
			}
			doc, err := schema.Decode[schema.Logs]("logs.json", r.stored("logs.json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, log := range want {
				if doc.Logs[log] == "" || len(doc.Logs) != 2*len(want) {
					t.Errorf("logs.json names %v, want %q", doc.Logs, want)
				}
			}
			r.checkHistory()
		})
	}
}
