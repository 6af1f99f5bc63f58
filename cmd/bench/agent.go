package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

var (
	worker = schema.Worker{WorkerGroup: "bench", WorkerID: "bench"}
	// partsWorker is one to whom the queue offers grants in parts.
	partsWorker = schema.Worker{WorkerGroup: "bench", WorkerID: "parts"}
)

// uploadThroughAgent is a whole run, whose artifacts are the files.
func uploadThroughAgent(ctx context.Context, j job) error {
	transport := upload.NewTransport()
	transport.TLSClientConfig = trust(j.Sink)
	q, err := queue.New(j.Sink.url(false)+"/v1", queue.Options{})
	if err != nil {
		return err
	}
	who := worker
	if j.Workload.Parts {
		who = partsWorker
	}
	claim, err := q.Claim(ctx, schema.NewTaskID(), who)
	if err != nil {
		return err
	}
	run, err := agent.Start(ctx, q, claim, agent.Options{Uploads: j.Workload.AtOnce, Uploader: upload.New(upload.Options{Transport: transport})})
	if err != nil {
		return err
	}
	defer run.Close() // a second time, unless something went wrong
	prefix := "public/"
	if j.Workload.TLS {
		prefix = tlsPrefix
	}
	for i := range j.Workload.Files {
		path := j.path(i)
		if err := run.AddArtifact(prefix+filepath.Base(path), upload.File(path), agent.ArtifactOptions{}); err != nil {
			return err
		}
	}
	summary, err := run.Complete(ctx, agent.Outcome{Success: true})
	if err != nil {
		return err
	}
	for name, reason := range summary.Missing {
		return fmt.Errorf("%d artifacts are missing, %s because %s", len(summary.Missing), name, reason)
	}
	if stored := len(summary.Artifacts); stored != j.Workload.Files+1 {
		return fmt.Errorf("%d artifacts are stored, want %d and the log", stored, j.Workload.Files)
	}
	for _, receipt := range summary.Artifacts {
		if j.Workload.Parts && receipt.Size > partSize && receipt.Attempts == 1 {
			return fmt.Errorf("%s was not stored in parts", receipt.Name)
		}
	}
	return nil
}

// trust accepts the certificate of the sink.
func trust(sink sinkAddress) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(sink.Certificate)
	return &tls.Config{RootCAs: roots}
}

// tunedTransport keeps a connection for each upload, as everybody does who cares.
func tunedTransport(j job) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = max(j.Workload.AtOnce, 16)
	t.TLSClientConfig, t.ForceAttemptHTTP2 = trust(j.Sink), false
	return t
}
