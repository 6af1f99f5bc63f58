package agenttest_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// network is a loopback in memory, where time may be faked.
type network struct {
	mu        sync.Mutex
	listeners map[string]*listener
}

type listener struct {
	addr   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n *network) listen(_, _ string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &listener{addr: "host" + string(rune('a'+len(n.listeners))) + ":80", conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[l.addr] = l
	return l, nil
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("no such host")
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error    { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr  { return l }
func (l *listener) Network() string { return "tcp" }
func (l *listener) String() string  { return l.addr }

// inFakeTime runs a test against a server on such a network.
func inFakeTime(t *testing.T, o agenttest.Options, test func(t *testing.T, g *rig)) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{listeners: map[string]*listener{}}
		o.Listen = n.listen
		g := start(t, o)
		g.client.Transport = &http.Transport{DialContext: n.dial, DisableKeepAlives: true}
		g.client.Timeout = 0
		test(t, g)
	})
}

func (g *rig) status(id schema.TaskID) schema.TaskStatus {
	g.t.Helper()
	return decodeAnswer[schema.StatusAnswer](g, g.send("GET", g.QueueURL()+"/task/"+string(id)+"/status", "", "")).Status
}

// A claim that is not renewed is taken away at takenUntil, not before; its worker finds the run gone.
func TestClaimExpires(t *testing.T) {
	inFakeTime(t, agenttest.Options{}, func(t *testing.T, g *rig) {
		status, err := g.PostTask(schema.Task{Retries: 1, Timeout: 60})
		if err != nil {
			t.Fatal(err)
		}
		id := status.TaskID
		task := "/task/" + string(id)
		const reclaim = `{"workerGroup":"group","workerId":"worker","runId":0}`
		claim := decodeAnswer[schema.ClaimAnswer](g, g.post(task+"/claim", workerBody))
		if want := time.Now().Add(time.Minute); !claim.Status.TakenUntil.Equal(want) {
			t.Errorf("taken until %v, want %v", claim.Status.TakenUntil, want)
		}
		<-time.After(59 * time.Second)
		claim = decodeAnswer[schema.ClaimAnswer](g, g.post(task+"/claim", reclaim))
		<-time.After(time.Minute - time.Millisecond)
		if s := g.status(id); s.State != schema.Running {
			t.Errorf("lost too early: %+v", s)
		}
		g.want(g.put(claim.LogsPutURL, "{}"), 200)

		events := g.Events(t.Context())
		<-time.After(time.Millisecond)
		synctest.Wait()
		if e := <-events; e.Exchange != "queue/v1/task-pending" || e.RoutingKey != string(id)+"._._._.simulate.simulate." {
			t.Errorf("got %s %s", e.Exchange, e.RoutingKey)
		}
		if s := g.status(id); s.State != schema.Pending || s.Retries != 0 || s.TakenUntil.Unix() != 0 || len(s.Runs) != 1 {
			t.Errorf("after the claim: %+v", s)
		}
		g.wantCode(g.put(claim.LogsPutURL, "{}"), 403, "AccessDenied") // expired with the claim
		g.want(g.post(task+"/claim", reclaim), 404)
		g.want(g.post(task+"/completed", completedBody), 404)

		// The second run is lost too, and there are no retries left.
		decodeAnswer[schema.ClaimAnswer](g, g.post(task+"/claim", workerBody))
		<-events // running
		<-time.After(time.Minute)
		e := <-events
		failed, ok := e.Message.(schema.FailedMessage)
		if !ok || e.Exchange != "queue/v1/task-failed" || e.RoutingKey != string(id)+".1.group.worker.simulate.simulate." ||
			failed.Status.Reason != schema.ReasonRetriesExhausted || *failed.RunID != 1 || failed.WorkerID != "worker" {
			t.Errorf("got %s %s %+v", e.Exchange, e.RoutingKey, e.Message)
		}
		if s := g.status(id); s.State != schema.Failed || s.Reason != schema.ReasonRetriesExhausted {
			t.Errorf("in the end: %+v", s)
		}
		// A rerun gives all retries back.
		g.want(g.post(task+"/rerun", ""), 200)
		if s := g.status(id); s.State != schema.Pending || s.Retries != 1 {
			t.Errorf("after the rerun: %+v", s)
		}
	})
}

func TestDeadline(t *testing.T) {
	inFakeTime(t, agenttest.Options{}, func(t *testing.T, g *rig) {
		events := g.Events(t.Context())
		pending, err := g.PostTask(schema.Task{Deadline: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		running, err := g.PostTask(schema.Task{Deadline: time.Now().Add(2 * time.Minute), Timeout: 600})
		if err != nil {
			t.Fatal(err)
		}
		g.want(g.post("/task/"+string(running.TaskID)+"/claim", workerBody), 200)
		for range 3 { // pending, pending, running
			<-events
		}
		began := time.Now()
		for _, want := range []struct {
			key   string
			after time.Duration
		}{
			{string(pending.TaskID) + "._._._.simulate.simulate.", time.Minute},
			{string(running.TaskID) + ".0.group.worker.simulate.simulate.", 2 * time.Minute},
		} {
			e := <-events
			failed, ok := e.Message.(schema.FailedMessage)
			if !ok || e.RoutingKey != want.key || failed.Status.Reason != schema.ReasonDeadlineExceeded || time.Since(began) != want.after {
				t.Errorf("after %v: %s %s %+v", time.Since(began), e.Exchange, e.RoutingKey, e.Message)
			}
		}
		g.want(g.post("/task/"+string(pending.TaskID)+"/claim", workerBody), 404)
		g.want(g.post("/task/"+string(running.TaskID)+"/completed", completedBody), 404)
	})
}

func TestLoseClaim(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	events := g.Events(t.Context())
	if err := g.LoseClaim(claim.TaskID); err != nil {
		t.Fatal(err)
	}
	g.want(g.post("/task/"+string(claim.TaskID)+"/claim", `{"workerGroup":"group","workerId":"worker","runId":0}`), 404)
	if s := g.status(claim.TaskID); s.State != schema.Pending || s.Retries != claim.Status.Retries-1 {
		t.Errorf("got %+v", s)
	}
	if e := next(t, events); e.Exchange != "queue/v1/task-pending" {
		t.Errorf("got %s", e.Exchange)
	}
	if err := g.LoseClaim(claim.TaskID); err == nil {
		t.Error("lost a second time")
	}
	if err := g.LoseClaim("AAAAAAAAAAAAAAAAAAAAAA"); err == nil {
		t.Error("lost an unknown one")
	}
}

// Claims of less than a second work in real time, and their URLs live at least as long.
func TestShortClaims(t *testing.T) {
	g := start(t, agenttest.Options{ClaimLength: 300 * time.Millisecond})
	events := g.Events(t.Context())
	claim := g.claim()
	g.want(g.put(claim.LogsPutURL, "{}"), 200)
	next(t, events)
	next(t, events)
	if e := next(t, events); e.Exchange != "queue/v1/task-pending" || e.At.Before(claim.Status.TakenUntil) {
		t.Errorf("%s at %v, taken until %v", e.Exchange, e.At, claim.Status.TakenUntil)
	}
}

// Faults work in faked time as well: nothing here needs a real socket.
func TestFaultsInFakeTime(t *testing.T) {
	inFakeTime(t, agenttest.Options{}, func(t *testing.T, g *rig) {
		claim := g.claim()
		for _, kind := range []string{"reset", "lost"} {
			if err := g.Inject(agenttest.Fault{What: "put", Kind: kind, Count: 1}); err != nil {
				t.Fatal(err)
			}
			if a := g.put(claim.LogsPutURL, "{}"); a.err == nil {
				t.Errorf("%s: got %d", kind, a.status)
			}
		}
		if err := g.Inject(agenttest.Fault{What: "put", Kind: "stall", Count: 1}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		began := time.Now()
		a := g.do(g.request("PUT", claim.LogsPutURL.Reveal(), jsonType, "{}").WithContext(ctx))
		if !errors.Is(a.err, context.DeadlineExceeded) || time.Since(began) != 5*time.Minute {
			t.Errorf("stall: %d %v after %v", a.status, a.err, time.Since(began))
		}
		if err := g.Inject(agenttest.Fault{What: "put", Kind: "slow", Count: 1}); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		g.want(g.put(claim.LogsPutURL, string(make([]byte, 1<<20))), 200)
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("slow: took %v, want the most it may take", d)
		}
	})
}

// A server may live by another clock than its clients: claims, URLs and the Date of its answers are by that one.
func TestClock(t *testing.T) {
	const ahead = 90 * time.Minute
	var jumped atomic.Int64 // a Duration
	o := agenttest.Options{ClaimLength: time.Minute, Clock: func() time.Time { return time.Now().Add(ahead + time.Duration(jumped.Load())) }}
	inFakeTime(t, o, func(t *testing.T, g *rig) {
		theirs := time.Now().Add(ahead)
		claim := g.claim()
		if want := theirs.Add(time.Minute); !claim.Status.TakenUntil.Equal(want) {
			t.Errorf("taken until %v, want %v", claim.Status.TakenUntil, want)
		}
		a := g.put(claim.LogsPutURL, "{}")
		g.want(a, 200)
		for what, a := range map[string]answer{"storage": a, "queue": g.post("/nothing", "")} {
			if date, err := http.ParseTime(a.header.Get("Date")); err != nil || !date.Equal(theirs) {
				t.Errorf("Date of the %s is %v, %v; want %v", what, date, err, theirs)
			}
		}
		if at := g.last().At; !at.Equal(theirs) {
			t.Errorf("the history says %v, want %v", at, theirs)
		}
		jumped.Store(int64(2 * time.Minute))
		g.wantCode(g.put(claim.LogsPutURL, "{}"), 403, "AccessDenied")
		g.want(g.post("/task/"+string(claim.TaskID)+"/completed", completedBody), 404)
		if s := g.status(claim.TaskID); s.State != schema.Pending {
			t.Errorf("after the jump: %+v", s)
		}
	})
}
