package amqp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/agenttest/amqp"
	"github.com/taskcluster/upload-agent/agent/agenttest/amqp/rabbit"
	"github.com/taskcluster/upload-agent/schema"
)

// The four messages as PROTOCOL has them: exchange, routing key, type, persistence, body. Those from before Publish, too.
func TestMessages(t *testing.T) {
	t.Parallel()
	url := broker(t).URL()
	server := start(t, agenttest.Options{})
	publish(t, start(t, agenttest.Options{}), url) // declares the exchanges
	s := subscribe(t, url, everything("#.rig.route.a"))
	before, err := server.PostTask(schema.Task{ProvisionerID: "prov", WorkerType: "type", Routing: "rig.route.a"})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, server, url)
	id := string(before.TaskID)
	post(t, server.QueueURL()+"/task/"+id+"/claim", `{"workerGroup":"group","workerId":"worker"}`)
	post(t, server.QueueURL()+"/task/"+id+"/completed", `{"runId":0,"success":true,"workerGroup":"group","workerId":"worker"}`)
	late := schema.Timestamp(time.Now().Add(-time.Second))
	if _, err := server.PostTask(schema.Task{Routing: "rig.route.a", Deadline: late}); err != nil {
		t.Fatal(err)
	}
	var got []amqp.Message
	for range 5 {
		m, err := s.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	events, err := server.EventsAfter(within(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []amqp.Message
	for _, e := range events {
		want = append(want, amqp.Message{Exchange: e.Exchange, RoutingKey: e.RoutingKey, ContentType: "application/json", Persistent: true, Body: e.Body})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	ran := id + ".0.group.worker.prov.type.rig.route.a"
	for i, row := range [][2]string{{"pending", id + "._._._.prov.type.rig.route.a"}, {"running", ran}, {"completed", ran}, {"pending", ""}, {"failed", ""}} {
		if got[i].Exchange != "queue/v1/task-"+row[0] || row[1] != "" && got[i].RoutingKey != row[1] {
			t.Errorf("message %d is %s %s, want %s", i, got[i].Exchange, got[i].RoutingKey, row)
		}
	}

	conn, err := amqp091.Dial(url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, name := range amqp.Exchanges() {
		channel, err := conn.Channel()
		if err == nil {
			err = channel.ExchangeDeclare(name, "topic", true, false, false, false, nil) // refused if it is of another kind
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func post(t *testing.T, url, body string) {
	t.Helper()
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if answer.StatusCode != 200 {
		t.Fatalf("POST %s: %s", url, answer.Status)
	}
}

// read reads messages until complete says so, and gives them by their tasks.
func read(t *testing.T, s *amqp.Subscription, complete func(arrived map[string][]string) bool) map[string][]string {
	t.Helper()
	arrived := map[string][]string{}
	ctx := within(t)
	for !complete(arrived) {
		m, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("%v; arrived: %v", err, arrived)
		}
		task, _, _ := strings.Cut(m.RoutingKey, ".")
		arrived[task] = append(arrived[task], string(m.Body))
	}
	return arrived
}

// wantAll checks that, but for repeats, every task's messages arrived in the order of its events. A repeat is of the message just before it or, where
// the reader's connection broke too, of several.
func wantAll(t *testing.T, server *agenttest.Server, arrived map[string][]string) {
	t.Helper()
	events, err := server.EventsAfter(within(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for _, e := range events {
		task, _, _ := strings.Cut(e.RoutingKey, ".")
		want[task] = append(want[task], string(e.Body))
	}
	for task, bodies := range want {
		var first []string
		for _, body := range arrived[task] {
			if !slices.Contains(first, body) {
				first = append(first, body)
			}
		}
		if diff := cmp.Diff(bodies, first); diff != "" {
			t.Errorf("task %s: %s", task, diff)
		}
	}
}

// Whatever breaks between the queue and the broker, and however often: every message arrives, in the order of its task.
func TestConnectionBreaks(t *testing.T) {
	t.Parallel()
	direct := broker(t).URL()
	server := start(t, agenttest.Options{})
	line := newLine(t, broker(t).Addr())
	publish(t, start(t, agenttest.Options{}), direct)
	s := subscribe(t, direct, everything("#.breaks"))
	p := publish(t, server, line.url(direct))
	const tasks, reruns = 8, 12
	for range tasks {
		if _, err := server.PostTask(schema.Task{Routing: "breaks"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range reruns {
		switch i % 3 {
		case 0:
			line.cut()
		case 1:
			line.refuse(true)
			line.cut()
		case 2:
			line.refuse(false)
		}
		for _, task := range server.Tasks() {
			id := string(task.TaskID)
			post(t, server.QueueURL()+"/task/"+id+"/claim", `{"workerGroup":"group","workerId":"worker"}`)
			post(t, server.QueueURL()+"/task/"+id+"/completed", fmt.Sprintf(`{"runId":%d,"success":true,"workerGroup":"group","workerId":"worker"}`, i))
			post(t, server.QueueURL()+"/task/"+id+"/rerun", ``)
		}
	}
	if err := p.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	wantAll(t, server, read(t, s, func(arrived map[string][]string) bool {
		whole := 0
		for _, bodies := range arrived {
			if len(distinct(bodies)) == 1+3*reruns {
				whole++
			}
		}
		return whole == tasks
	}))
}

func distinct(texts []string) []string {
	sorted := slices.Sorted(slices.Values(texts))
	return slices.Compact(sorted)
}

// What was sent and never confirmed is sent again: it may be lost, as here.
func TestUnconfirmedIsSentAgain(t *testing.T) {
	t.Parallel()
	direct := broker(t).URL()
	server := start(t, agenttest.Options{})
	line := newLine(t, broker(t).Addr())
	publish(t, start(t, agenttest.Options{}), direct)
	s := subscribe(t, direct, everything("#.swallowed"))
	p := publish(t, server, line.url(direct))
	swallowed := line.swallow()
	for range 3 {
		if _, err := server.PostTask(schema.Task{Routing: "swallowed"}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-swallowed:
	case <-within(t).Done():
		t.Fatal("nothing was sent")
	}
	line.cut()
	if err := p.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	marker := start(t, agenttest.Options{}) // its message comes after all that was confirmed
	publish(t, marker, direct)
	last, err := marker.PostTask(schema.Task{Routing: "swallowed"})
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, server, read(t, s, func(arrived map[string][]string) bool { return len(arrived[string(last.TaskID)]) > 0 }))
}

// A broker that is killed and comes back has kept what it confirmed, and gets the rest; queue and reader connect again by themselves.
func TestBrokerIsKilled(t *testing.T) {
	t.Parallel()
	own, err := rabbit.Start(within(t), t.TempDir())
	needs(t, err)
	t.Cleanup(own.Stop)
	server := start(t, agenttest.Options{})
	publish(t, server, own.URL())
	s := subscribe(t, own.URL(), everything("#"))
	const tasks = 50
	postTasks := func() {
		for range tasks {
			if _, err := server.PostTask(schema.Task{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	postTasks()
	if _, err := s.Next(within(t)); err != nil {
		t.Fatal(err)
	}
	own.Stop()
	postTasks() // nobody waits for the broker
	if err := own.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	postTasks()
	arrived := map[string]bool{}
	for ctx := within(t); len(arrived) < 3*tasks-1; { // the first was handled, or is repeated
		m, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("%v, with %d messages", err, len(arrived))
		}
		arrived[m.RoutingKey] = true
	}
}

// Who cannot wait for the broker any longer is told how much it has not taken.
func TestCloseWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	url := broker(t).URL()
	server := start(t, agenttest.Options{})
	line := newLine(t, broker(t).Addr())
	p, err := amqp.Publish(within(t), server, line.url(url), options(t, url))
	if err != nil {
		t.Fatal(err)
	}
	line.refuse(true)
	line.cut()
	for range 3 {
		if _, err := server.PostTask(schema.Task{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = p.Close(ctx)
	var left *amqp.Unconfirmed
	if !errors.As(err, &left) || left.Events != 3 || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want 3 events unconfirmed", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	b := broker(t)
	server := start(t, agenttest.Options{})
	for name, raw := range map[string]string{
		"wrong password":       "amqp://agent:CANARY1@" + b.Addr(),
		"unknown user":         "amqp://nobody:CANARY1@" + b.Addr(),
		"no such virtual host": b.URL().Reveal() + "nowhere",
		"no URL":               "amqp://agent:CAN%ARY1@" + b.Addr(),
		"of another kind":      "https://agent:CANARY1@" + b.Addr(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := schema.NewSignedURL(raw)
			_, err := amqp.Publish(within(t), server, url, options(t, url))
			if !errors.Is(err, amqp.ErrRefused) {
				t.Errorf("Publish: %v, want ErrRefused", err)
			}
			noPassword(t, url, fmt.Sprint(err))
			_, err = amqp.Subscribe(within(t), url, everything("#"), options(t, url))
			if !errors.Is(err, amqp.ErrRefused) {
				t.Errorf("Subscribe: %v, want ErrRefused", err)
			}
			noPassword(t, url, fmt.Sprint(err))
		})
	}
}

// A broker that is not there yet is waited for, as long as the caller likes.
func TestNotThereYet(t *testing.T) {
	t.Parallel()
	url := broker(t).URL()
	server := start(t, agenttest.Options{})
	line := newLine(t, broker(t).Addr())
	line.refuse(true)
	ctx, cancel := context.WithCancel(t.Context())
	line.whenRefused(cancel) // after the first attempt
	if _, err := amqp.Publish(ctx, server, line.url(url), options(t, url)); err == nil || errors.Is(err, amqp.ErrRefused) {
		t.Errorf("Publish: %v", err)
	}
	line.whenRefused(func() { line.refuse(false) })
	p, err := amqp.Publish(within(t), server, line.url(url), options(t, url))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(within(t)); err != nil {
		t.Error(err)
	}
}
