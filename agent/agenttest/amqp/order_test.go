package amqp_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/agenttest/amqp"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

var completions = flag.Int("completions", 1000, "how many runs are completed in TestWhoHearsOfACompletedRunCanReadIt")

const (
	orderFaults = "any=503:0.04,any=reset:0.03,any=lost:0.03,any=redirect:0.03"
	orderAtOnce = 48
	orderCut    = 100 // so often is the line between the queue and the broker cut: after so many messages
)

// The one promise, seen by somebody else: whoever receives the message of a completed run can read its result.json and logs.json, at once. Real runs of the real
// agent, a queue, a storage and a line to the broker that fail in every way; readers that bind by worker group and by routing.
func TestWhoHearsOfACompletedRunCanReadIt(t *testing.T) {
	t.Parallel()
	testOrder(t, "order", agenttest.Options{}, orderFaults+",put=expired:0.02", *completions)
}

// The same where objects live in a bucket: the queue then knows no more of them than anybody else.
func TestWhoHearsOfACompletedRunCanReadItInABucket(t *testing.T) {
	t.Parallel()
	testOrder(t, "order-in-bucket", agenttest.Options{Bucket: realBucket(t)}, orderFaults, *completions/10)
}

// testOrder tells its messages from those of others by the type of its workers.
func testOrder(t *testing.T, workerType string, o agenttest.Options, faults string, completions int) {
	url := broker(t).URL()
	var err error
	if o.Faults, err = agenttest.ParseFaults(faults, 1); err != nil {
		t.Fatal(err)
	}
	server := start(t, o)
	line := newLine(t, broker(t).Addr())
	publisher := publish(t, server, line.url(url))

	completed := func(pattern string) *amqp.Subscription {
		return subscribe(t, url, []amqp.Binding{{Exchange: "queue/v1/task-completed", Pattern: pattern}})
	}
	r := &orderReader{t: t, transport: &http.Transport{MaxIdleConnsPerHost: orderAtOnce}, read: map[string]int{}}
	t.Cleanup(r.transport.CloseIdleConnections)
	var readers sync.WaitGroup
	for _, group := range []string{"even", "odd"} {
		s := completed("*.*." + group + ".*.prov." + workerType + ".#")
		readers.Go(func() { r.follow(s, completions/2, func() { r.cutSometimes(line) }) })
	}
	tenth := completed("#." + workerType + ".tree.*.tenth")
	readers.Go(func() { r.follow(tenth, completions/10, func() {}) })

	work(t, server, workerType, completions)
	if err := publisher.Close(within(t)); err != nil {
		t.Error(err)
	}
	readers.Wait()
	for task, times := range r.read {
		if times < 1 {
			t.Errorf("task %s was never heard of", task)
		}
	}
	if len(r.read) != completions {
		t.Errorf("%d runs were heard of, want %d", len(r.read), completions)
	}
	if broken := server.Violations(); len(broken) > 0 {
		t.Errorf("order of reports violated: %q", broken)
	}
	hit := 0
	for _, request := range server.Requests() {
		if request.Fault != "" {
			hit++
		}
	}
	t.Logf("%d runs, %d requests, %d of them hit by a fault", len(r.read), len(server.Requests()), hit)
	if hit < completions/4 {
		t.Errorf("only %d requests were hit by a fault", hit)
	}
}

// work completes the runs, many side by side.
func work(t *testing.T, server *agenttest.Server, workerType string, completions int) {
	uploader := upload.New(upload.Options{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	defer uploader.CloseIdleConnections()
	transport := &http.Transport{MaxIdleConnsPerHost: orderAtOnce}
	defer transport.CloseIdleConnections()
	q, err := queue.New(server.QueueURL(), queue.Options{Transport: transport, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range orderAtOnce {
		workers.Go(func() {
			for n := range numbers {
				if err := workOn(within(t), server, q, workerType, n, agent.Options{StateDir: state, Uploader: uploader}); err != nil {
					t.Errorf("run %d: %v", n, err)
				}
			}
		})
	}
	for n := range completions {
		numbers <- n
	}
	close(numbers)
	workers.Wait()
}

// workOn completes one run: it logs a line, and every other time stores an artifact.
func workOn(ctx context.Context, server *agenttest.Server, q *queue.Client, workerType string, n int, o agent.Options) error {
	routing, group := fmt.Sprintf("tree.%d.other", n), "even"
	if n%10 == 0 {
		routing = fmt.Sprintf("tree.%d.tenth", n)
	}
	if n%2 == 1 {
		group = "odd"
	}
	posted, err := server.PostTask(schema.Task{ProvisionerID: "prov", WorkerType: workerType, Routing: routing})
	if err != nil {
		return err
	}
	claim, err := q.Claim(ctx, posted.TaskID, schema.Worker{WorkerGroup: group, WorkerID: "worker"})
	if err != nil {
		return err
	}
	run, err := agent.Start(ctx, q, claim, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(run.Log(agent.DefaultLog), "this is run %d\n", n)
	if n%2 == 0 {
		err = run.AddArtifact("public/n.txt", upload.Bytes(fmt.Appendln(nil, n)), agent.ArtifactOptions{})
	}
	_, complete := run.Complete(ctx, agent.Outcome{Success: n%3 != 0})
	return errors.Join(err, complete, run.Close())
}

// orderReader fetches what messages name.
type orderReader struct {
	t         *testing.T
	transport *http.Transport

	mu   sync.Mutex
	read map[string]int // how many messages of a task arrived, over all readers
	cuts int
}

// follow receives messages of so many tasks, and reads what each names the moment it arrives.
func (r *orderReader) follow(s *amqp.Subscription, tasks int, arrived func()) {
	seen := map[schema.TaskID]bool{}
	var fetching sync.WaitGroup
	defer fetching.Wait()
	ctx := within(r.t)
	for len(seen) < tasks {
		m, err := s.Next(ctx)
		if err != nil {
			r.t.Errorf("%v, after messages of %d tasks of %d", err, len(seen), tasks)
			return
		}
		message, err := schema.Decode[schema.CompletedMessage]("message", m.Body)
		if err != nil {
			r.t.Error(err)
			continue
		}
		seen[message.Status.TaskID] = true
		fetching.Go(func() { r.check(ctx, message) })
		arrived()
	}
}

func (r *orderReader) check(ctx context.Context, m schema.CompletedMessage) {
	r.mu.Lock()
	r.read[string(m.Status.TaskID)]++
	r.mu.Unlock()
	body, err := r.fetch(ctx, m.ResultURL)
	if err != nil {
		r.t.Error(err)
		return
	}
	result, err := schema.Decode[schema.Result]("result.json", body)
	if err != nil || result.Metadata.Success != m.Success {
		r.t.Errorf("%s: success %t, and %t in the message: %v", m.ResultURL, result.Metadata.Success, m.Success, err)
	}
	if body, err = r.fetch(ctx, m.LogsURL); err == nil {
		_, err = schema.Decode[schema.Logs]("logs.json", body)
	}
	if err != nil {
		r.t.Error(err)
	}
}

// fetch reads an object. Whatever fails on the way is tried again; but that it is not there is an answer.
func (r *orderReader) fetch(ctx context.Context, url string) ([]byte, error) {
	client := &http.Client{Transport: r.transport}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		answer, err := client.Do(request)
		if err == nil {
			var body []byte
			body, err = io.ReadAll(answer.Body)
			answer.Body.Close()
			switch {
			case answer.StatusCode == http.StatusNotFound:
				return nil, fmt.Errorf("%s: %s, although the message says that the run is completed", url, answer.Status)
			case answer.StatusCode == http.StatusOK && err == nil:
				return body, nil
			}
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", url, errors.Join(ctx.Err(), err))
		}
	}
}

// cutSometimes cuts the line of the queue's messages.
func (r *orderReader) cutSometimes(l *line) {
	r.mu.Lock()
	r.cuts++
	cut := r.cuts%orderCut == 0
	r.mu.Unlock()
	if cut {
		l.cut()
	}
}
