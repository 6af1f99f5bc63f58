package agenttest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// stream is a reader of the events of a server, as another process is one.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
	last  string // id of the last event
	close func()
}

// listen returns when the stream has begun.
func (g *rig) listen(lastEventID string) *stream {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", g.EventsURL(), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	answer, err := (&http.Client{Transport: g.client.Transport}).Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		g.t.Fatalf("%s: %s %v", g.EventsURL(), answer.Status, answer.Header)
	}
	s := &stream{t: g.t, lines: bufio.NewScanner(answer.Body), close: func() { cancel(); answer.Body.Close() }}
	g.t.Cleanup(s.close)
	s.message()
	return s
}

// message reads the lines up to an empty one.
func (s *stream) message() (lines []string) {
	for s.lines.Scan() && s.lines.Text() != "" {
		lines = append(lines, s.lines.Text())
		if id, ok := strings.CutPrefix(s.lines.Text(), "id: "); ok {
			s.last = id
		}
	}
	return lines
}

func (s *stream) next() (e agenttest.Event) {
	s.t.Helper()
	lines := s.message()
	if len(lines) != 3 {
		s.t.Fatalf("got %q, %v; want id, event and data", lines, s.lines.Err())
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(lines[2], "data: ")), &e); err != nil {
		s.t.Fatalf("%s: %v", lines[2], err)
	}
	if lines[1] != "event: "+e.Exchange {
		s.t.Errorf("%s, of exchange %s", lines[1], e.Exchange)
	}
	return e
}

// Another process hears all from now on, and after a broken connection all that it has missed; no fault hits it, and it is in no history.
func TestEventStream(t *testing.T) {
	g := start(t, agenttest.Options{})
	if err := g.Inject(agenttest.Fault{What: "any", Kind: "503"}); err != nil {
		t.Fatal(err)
	}
	post := func(routing string) {
		t.Helper()
		if _, err := g.PostTask(schema.Task{Routing: routing}); err != nil {
			t.Fatal(err)
		}
	}
	post("before")
	first := g.listen("")
	post("one")
	post("two")
	one := first.next()
	if !strings.HasSuffix(one.RoutingKey, ".one") || one.Number != 2 {
		t.Errorf("got event %d, %s; want the second", one.Number, one.RoutingKey)
	}
	first.close()
	post("three")
	second := g.listen(first.last)
	for _, routing := range []string{".two", ".three"} {
		if e := second.next(); !strings.HasSuffix(e.RoutingKey, routing) {
			t.Errorf("got %s, want %s", e.RoutingKey, routing)
		}
	}
	for _, other := range []string{"another-17", "nonsense"} {
		if e := g.listen(other).next(); e.Number != 1 {
			t.Errorf("after event %s of another server comes event %d, want all", other, e.Number)
		}
	}
	quiet := g.listen("") // a connection that is lost before the first event loses none either
	post("four")
	if e := g.listen(quiet.last).next(); !strings.HasSuffix(e.RoutingKey, ".four") {
		t.Errorf("got %s, want .four", e.RoutingKey)
	}
	all, err := g.EventsAfter(t.Context(), 0)
	if err != nil || len(all) != 5 || g.LastEvent() != 5 {
		t.Errorf("%d events, %v; the last is %d", len(all), err, g.LastEvent())
	}
	if diff := cmp.Diff(all[1], one, cmpopts.IgnoreFields(agenttest.Event{}, "Message"), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Error(diff)
	}
	if a := g.send("POST", g.EventsURL(), "", ""); a.status != 405 {
		t.Errorf("POST: %d", a.status)
	}
	if n := len(g.Requests()); n != 0 {
		t.Errorf("%d requests are in the history", n)
	}
}

// EventsAfter waits, until its context or the server ends.
func TestEventsAfter(t *testing.T) {
	g := start(t, agenttest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.EventsAfter(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	got := make(chan error)
	go func() {
		events, err := g.EventsAfter(t.Context(), 0)
		if err == nil && len(events) > 0 {
			_, err = g.EventsAfter(t.Context(), events[len(events)-1].Number)
		}
		got <- err
	}()
	if _, err := g.PostTask(schema.Task{}); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Where the broker is, is told as the protocol has it.
func TestAMQPConnectionString(t *testing.T) {
	g := start(t, agenttest.Options{AMQP: schema.NewSignedURL("amqp://u:p@127.0.0.1:5672/v")})
	a := g.send("GET", g.QueueURL()+"/settings/amqp-connection-string", "", "")
	g.want(a, 200)
	if got := decodeAnswer[schema.AMQPAnswer](g, a); got.URL.Reveal() != "amqp://u:p@127.0.0.1:5672/v" {
		t.Errorf("got %s", got.URL)
	}
}
