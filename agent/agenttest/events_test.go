package agenttest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// next waits for the next event.
func next(t *testing.T, events <-chan agenttest.Event) agenttest.Event {
	t.Helper()
	select {
	case e, open := <-events:
		if !open {
			t.Fatal("the events have ended")
		}
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
	panic("unreachable")
}

func TestEvents(t *testing.T) {
	g := start(t, agenttest.Options{})
	events := g.Events(t.Context())
	status, err := g.PostTask(schema.Task{Routing: "rig.route.a"})
	if err != nil {
		t.Fatal(err)
	}
	id := string(status.TaskID)
	claim := decodeAnswer[schema.ClaimAnswer](g, g.post("/task/"+id+"/claim", workerBody))
	done := decodeAnswer[schema.StatusAnswer](g, g.complete(schema.Claim{ClaimAnswer: claim, Worker: worker, TaskID: status.TaskID}))
	g.want(g.post("/task/"+id+"/rerun", ""), 200)

	folder := g.StorageURL() + "/" + id + "/runs/0/"
	pending, ran := id+"._._._.simulate.simulate.rig.route.a", id+".0.group.worker.simulate.simulate.rig.route.a"
	for _, want := range []struct {
		exchange, key string
		message       schema.Document // nil: not compared
	}{
		{"queue/v1/task-pending", pending, schema.PendingMessage{Version: schema.Version, Status: status}},
		{"queue/v1/task-running", ran, schema.RunningMessage{Version: schema.Version, Status: claim.Status, LogsURL: folder + "logs.json", Worker: worker}},
		{"queue/v1/task-completed", ran, schema.CompletedMessage{Version: schema.Version, Status: done.Status, Success: true,
			ResultURL: folder + "result.json", LogsURL: folder + "logs.json", Worker: worker}},
		{"queue/v1/task-pending", pending, nil},
	} {
		e := next(t, events)
		if e.Exchange != want.exchange || e.RoutingKey != want.key || e.At.IsZero() {
			t.Errorf("got %s %s, want %s %s", e.Exchange, e.RoutingKey, want.exchange, want.key)
		}
		if err := schema.Validate(e.Message.SchemaName(), "event", e.Body); err != nil {
			t.Error(err)
		}
		if want.message != nil {
			if diff := cmp.Diff(want.message, e.Message); diff != "" {
				t.Errorf("%s: %s", e.Exchange, diff)
			}
		}
	}
}

// Whoever hears of an event and asks gets the state it tells of; this is where a race would show.
func TestEventComesAfterTheChange(t *testing.T) {
	g := start(t, agenttest.Options{})
	events := g.Events(t.Context())
	for range 20 {
		claim := g.claim()
		id := string(claim.TaskID)
		g.want(g.put(claim.LogsPutURL, `{"version":"0.2.0","logs":{}}`), 200)
		g.want(g.put(claim.ResultPutURL, resultWith("")), 200)
		reported := make(chan answer, 1)
		go func() { reported <- g.post("/task/"+id+"/completed", completedBody) }()
		for {
			e := next(t, events)
			if e.Exchange == "queue/v1/task-completed" {
				break
			}
		}
		g.want(g.get(id+"/resolution.json"), 200)
		g.want(g.get(id+"/runs/0/result.json"), 200)
		if s := decodeAnswer[schema.StatusAnswer](g, g.send("GET", g.QueueURL()+"/task/"+id+"/status", "", "")); s.Status.State != schema.Completed {
			t.Fatalf("heard of a completed task that is %s", s.Status.State)
		}
		g.want(<-reported, 200)
	}
}

// A subscriber that does not read loses nothing and holds nobody up.
func TestEventsAreNeverDropped(t *testing.T) {
	g := start(t, agenttest.Options{})
	slow, fast := g.Events(t.Context()), g.Events(t.Context())
	const n = 300
	for i := range n {
		if _, err := g.PostTask(schema.Task{Routing: fmt.Sprint("n", i)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, events := range []<-chan agenttest.Event{slow, fast} {
		for i := range n {
			if e := next(t, events); !strings.HasSuffix(e.RoutingKey, fmt.Sprint(".n", i)) {
				t.Fatalf("event %d is %s", i, e.RoutingKey)
			}
		}
	}
}

func TestSubscriptionEndsWithItsContext(t *testing.T) {
	g := start(t, agenttest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	events := g.Events(ctx)
	g.claim()
	next(t, events)
	cancel()
	for range events { // at most what was on its way
	}
	g.claim()
}
