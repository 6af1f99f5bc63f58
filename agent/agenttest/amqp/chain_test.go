package amqp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/agenttest/amqp"
	"github.com/taskcluster/upload-agent/agent/agenttest/versitygw"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// realBucket is an empty bucket of a real S3 server.
func realBucket(t *testing.T) *agenttest.Bucket {
	t.Helper()
	s := versitygw.StartFor(t, "tasks")
	return &agenttest.Bucket{
		Endpoint: s.Endpoint, Name: "tasks", Prefix: "ci/", Region: s.Region, AccessKeyID: s.AccessKeyID, SecretAccessKey: schema.NewSecret(s.SecretAccessKey),
	}
}

// The whole chain, by way of an S3 server and a broker that nobody here wrote: a task is posted and claimed, its log is read while it is written, it leaves
// artifacts, one of them in parts, and who is told that it is completed fetches all of it, at once.
func TestChainOfRealSystems(t *testing.T) {
	t.Parallel()
	url, bucket := broker(t).URL(), realBucket(t)
	server := start(t, agenttest.Options{Bucket: bucket, MultipartFrom: 6 << 20, PartSize: 5 << 20})
	publisher := publish(t, server, url)
	c := &chain{t: t, ctx: within(t), transport: new(http.Transport), want: map[string][]byte{
		"public/small.txt": []byte("small\n"), "public/ä b+c%20": bytes.Repeat([]byte("text "), 1000), "public/empty": {}, "large": largeBytes(),
	}}
	t.Cleanup(c.transport.CloseIdleConnections)
	running := subscribe(t, url, []amqp.Binding{{Exchange: "queue/v1/task-running", Pattern: "*.*.group.worker.prov.chain.#"}})
	completed := subscribe(t, url, []amqp.Binding{{Exchange: "queue/v1/task-completed", Pattern: "#.chain.tree.*.release"}})

	storage, err := queue.NewStorage(server.StorageURL(), queue.Options{Transport: c.transport})
	if err != nil {
		t.Fatal(err)
	}
	c.storage = storage
	run := c.begin(server)
	defer run.Close()
	c.followLog(run, running)
	for name, data := range c.want {
		if err := run.AddArtifact(name, c.source(name, data), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	fetched := make(chan struct{})
	go func() { // so that nobody is later than need be
		defer close(fetched)
		c.fetchAll(completed)
	}()
	summary, err := run.Complete(c.ctx, agent.Outcome{Success: true, Result: map[string]any{"exitCode": 0}})
	if err != nil || len(summary.Missing) > 0 || summary.Artifacts["large"].Parts != 3 {
		t.Errorf("summary %+v, error %v", summary, err)
	}
	<-fetched
	if broken := server.Violations(); len(broken) > 0 {
		t.Errorf("order of reports violated: %q", broken)
	}
	if open := server.Uploads(); len(open) > 0 {
		t.Errorf("uploads left behind: %+v", open)
	}
	if err := publisher.Close(c.ctx); err != nil {
		t.Error(err)
	}
	if status, _, err := c.get(bucket.URL() + "/" + string(c.task) + "/task.json"); status != http.StatusForbidden || err != nil {
		t.Errorf("the bucket is open to everybody: %d, %v", status, err)
	}
}

// largeBytes are some that no storage can guess; they take three parts.
func largeBytes() []byte {
	data := make([]byte, 11<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

// chain is one task on its way.
type chain struct {
	t         *testing.T
	ctx       context.Context
	transport *http.Transport
	storage   *queue.Storage
	task      schema.TaskID
	want      map[string][]byte // artifacts
	log       []byte
}

// begin posts the task and claims it, as others would.
func (c *chain) begin(server *agenttest.Server) *agent.Run {
	c.t.Helper()
	q, err := queue.New(server.QueueURL(), queue.Options{Transport: c.transport})
	if err != nil {
		c.t.Fatal(err)
	}
	task := schema.Task{
		Version: schema.Version, ProvisionerID: "prov", WorkerType: "chain", Routing: "tree.1.release", Retries: 5, Timeout: 1200, Payload: map[string]any{},
		Tags: map[string]string{}, Metadata: schema.TaskMetadata{Name: "chain", Owner: "a@example.com", Source: "https://example.com/"},
	}
	task.Created = schema.Timestamp(time.Now())
	task.Deadline = task.Created.Add(patience * 10)
	posted, err := q.CreateTask(c.ctx, task)
	if err != nil {
		c.t.Fatal(err)
	}
	c.task = posted.TaskID
	claim, err := q.ClaimWork(c.ctx, "prov", "chain", schema.Worker{WorkerGroup: "group", WorkerID: "worker"})
	if err != nil || claim.Status.TaskID != c.task {
		c.t.Fatalf("claimed %s, %v; want %s", claim.Status.TaskID, err, c.task)
	}
	uploader := upload.New(upload.Options{})
	c.t.Cleanup(uploader.CloseIdleConnections)
	run, err := agent.Start(c.ctx, q, claim, agent.Options{StateDir: c.t.TempDir(), Uploader: uploader, Storage: c.storage})
	if err != nil {
		c.t.Fatal(err)
	}
	return run
}

// source is an artifact's; what is large is a file.
func (c *chain) source(name string, data []byte) upload.Source {
	if len(data) < 1<<20 {
		return upload.Bytes(data)
	}
	path := filepath.Join(c.t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return upload.File(path)
}

// followLog reads the log of a run that has just begun, and writes the next line when the one before was read: nothing of it waits for the end.
func (c *chain) followLog(run *agent.Run, running *amqp.Subscription) {
	c.t.Helper()
	m, err := running.Next(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	message, err := schema.Decode[schema.RunningMessage]("message", m.Body)
	if err != nil || message.Status.TaskID != c.task {
		c.t.Fatalf("message %+v, %v", message, err)
	}
	log := run.Log(agent.DefaultLog)
	line := func(n int) {
		c.log = fmt.Appendf(c.log, "line %d: ä\n", n)
		fmt.Fprintf(log, "line %d: ä\n", n)
	}
	line(0)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	logs, err := c.storage.Logs(c.ctx, c.task, message.RunID)
	for ; errors.Is(err, queue.ErrNotFound); logs, err = c.storage.Logs(c.ctx, c.task, message.RunID) { // it is put at once, but nobody waits for it
		<-tick.C
	}
	if err != nil {
		c.t.Fatal(err)
	}
	reader := livelog.NewReader(c.ctx, logs.Logs["live/"+agent.DefaultLog], livelog.ReaderOptions{Transport: c.transport})
	defer reader.Close()
	for n := 1; n <= 3; n++ {
		got := make([]byte, len(c.log))
		from := len(c.log) - len(fmt.Sprintf("line %d: ä\n", n-1))
		if _, err := io.ReadFull(reader, got[from:]); err != nil || !bytes.Equal(got[from:], c.log[from:]) {
			c.t.Fatalf("line %d is %q, %v", n-1, got[from:], err)
		}
		line(n)
	}
}

// fetchAll waits for the message of the completion and fetches what it leads to.
func (c *chain) fetchAll(completed *amqp.Subscription) {
	m, err := completed.Next(c.ctx)
	if err != nil {
		c.t.Error(err)
		return
	}
	message, err := schema.Decode[schema.CompletedMessage]("message", m.Body)
	if err != nil || message.Status.TaskID != c.task || !message.Success || m.RoutingKey != string(c.task)+".0.group.worker.prov.chain.tree.1.release" {
		c.t.Errorf("message %s %+v, %v", m.RoutingKey, message, err)
	}
	result, err := schema.Decode[schema.Result]("result.json", c.fetch(message.ResultURL))
	if err != nil || !result.Metadata.Success || len(result.Artifacts) != len(c.want)+1 {
		c.t.Errorf("result %+v, %v", result, err)
	}
	logs, err := schema.Decode[schema.Logs]("logs.json", c.fetch(message.LogsURL))
	if err != nil {
		c.t.Error(err)
	}
	for name, want := range c.want {
		if got := c.fetch(result.Artifacts[name]); !bytes.Equal(got, want) {
			c.t.Errorf("artifact %s: %d bytes, not the %d that were stored", name, len(got), len(want))
		}
	}
	for _, url := range []string{logs.Logs[agent.DefaultLog], result.Artifacts[agent.DefaultLog]} {
		if got := c.fetch(url); !bytes.Equal(got, c.log) {
			c.t.Errorf("the log at %s is %q, want %q", url, got, c.log)
		}
	}
	reader := livelog.NewReader(c.ctx, logs.Logs["live/"+agent.DefaultLog], livelog.ReaderOptions{Transport: c.transport})
	defer reader.Close()
	whole, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(whole, c.log) {
		c.t.Errorf("the live log is %q, %v; want %q", whole, err, c.log)
	}
}

// fetch reads what is at a URL, as a plain client does, once: what is not there now is missing.
func (c *chain) fetch(url string) []byte {
	status, body, err := c.get(url)
	if status != http.StatusOK || err != nil {
		c.t.Errorf("%s: %d, %v", url, status, err)
	}
	return body
}

func (c *chain) get(url string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(c.ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	answer, err := (&http.Client{Transport: c.transport}).Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}
