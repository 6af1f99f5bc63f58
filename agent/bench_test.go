package agent_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// BenchmarkLogsStored measures how soon after Start logs.json is stored, against one bare PUT of
// the same bytes to the same storage, turn by turn. The agent also asks the queue where the logs will be.
func BenchmarkLogsStored(b *testing.B) {
	server, err := agenttest.New(b.TempDir(), agenttest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	q, err := queue.New(server.QueueURL(), queue.Options{})
	if err != nil {
		b.Fatal(err)
	}
	stored := make(chan struct{}, 1)
	uploader := upload.New(upload.Options{Transport: tellsOf{"logs.json", upload.NewTransport(), stored}})
	defer uploader.CloseIdleConnections()
	client := &http.Client{Transport: upload.NewTransport()}
	defer client.CloseIdleConnections()

	var agents, bares []time.Duration
	for b.Loop() {
		claim, err := server.PostAndClaim(schema.Worker{})
		if err != nil {
			b.Fatal(err)
		}
		run, err := agent.Start(b.Context(), q, claim, agent.Options{Uploader: uploader})
		if err != nil {
			b.Fatal(err)
		}
		<-stored // nothing else goes on meanwhile
		summary, err := run.Finish(context.Background(), agent.Outcome{})
		if err != nil {
			b.Fatal(err)
		}
		if err := run.Close(); err != nil {
			b.Fatal(err)
		}
		agents = append(agents, summary.LogsAfter)
		bares = append(bares, barePut(b, client, claim.LogsPutURL, int(summary.Logs.Size)))
	}
	slices.Sort(agents)
	slices.Sort(bares)
	for name, of := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		at := int(of * float64(len(agents)-1))
		b.ReportMetric(float64(agents[at].Microseconds()), "agent-µs-"+name)
		b.ReportMetric(float64(bares[at].Microseconds()), "bare-µs-"+name)
	}
}

// tellsOf is a transport that tells when an object of a name was stored.
type tellsOf struct {
	name   string
	next   http.RoundTripper
	stored chan struct{}
}

func (t tellsOf) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, t.name) {
		t.stored <- struct{}{}
	}
	return response, err
}

func barePut(b *testing.B, client *http.Client, to schema.SignedURL, size int) time.Duration {
	request, err := http.NewRequest(http.MethodPut, to.Reveal(), bytes.NewReader(make([]byte, size)))
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	start := time.Now()
	response, err := client.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		b.Fatal(response.Status)
	}
	return time.Since(start)
}
