package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// startWorkload is the name of the measurement of start latency.
const startWorkload = "start"

// latencies are how long it took from the call of Start to the storage's answer to the PUT of logs.json, and
// how long a bare PUT of as many bytes took, in turns.
type latencies struct {
	Start []time.Duration `json:"startNs"`
	Bare  []time.Duration `json:"bareNs"`
}

// measureStart has a process of ours measure the start of runs.
func measureStart(ctx context.Context, j job) (latencies, error) {
	cmd, err := own(startWorkload, nil).command(j)
	if err != nil {
		return latencies{}, err
	}
	out, err := cmd.Output()
	if err != nil {
		return latencies{}, fmt.Errorf("measure start: %w", err)
	}
	var l latencies
	return l, json.Unmarshal(out, &l)
}

// startLatency is main of that process. The clock starts with the call of Start, when the worker has the claim; so the state
// folder, its journal and the queue's answer to where the logs will be all count.
func startLatency(ctx context.Context, j job, out io.Writer) error {
	q, err := queue.New(j.Sink.url(false)+"/v1", queue.Options{})
	if err != nil {
		return err
	}
	watch := &storedWatch{next: upload.NewTransport(), stored: make(chan time.Time, 1)}
	uploader := upload.New(upload.Options{Transport: watch})
	bare := &http.Client{Transport: upload.NewTransport()}
	var l latencies
	for i := range j.Starts + 1 {
		claim, err := q.Claim(ctx, schema.NewTaskID(), worker)
		if err != nil {
			return err
		}
		began := time.Now()
		run, err := agent.Start(ctx, q, claim, agent.Options{Uploader: uploader})
		if err != nil {
			return err
		}
		stored := (<-watch.stored).Sub(began)
		if _, err := run.Complete(ctx, agent.Outcome{Success: true}); err != nil {
			return err
		}
		began = time.Now()
		request, err := http.NewRequestWithContext(ctx, http.MethodPut, j.url(0), bytes.NewReader(make([]byte, watch.size)))
		if err != nil {
			return err
		}
		if err := exchange(bare, request); err != nil {
			return err
		}
		if i > 0 { // the first opens the connections
			l.Start, l.Bare = append(l.Start, stored), append(l.Bare, time.Since(began))
		}
	}
	return json.NewEncoder(out).Encode(l)
}

// storedWatch is a transport that tells when a logs.json was stored for the first time of its run.
type storedWatch struct {
	next   http.RoundTripper
	stored chan time.Time
	size   int64
	last   string
}

func (w *storedWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := w.next.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "/logs.json") && r.URL.Path != w.last {
		w.size, w.last = r.ContentLength, r.URL.Path // only one logs.json is under way at any time
		w.stored <- time.Now()
	}
	return response, err
}
