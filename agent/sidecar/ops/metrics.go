package ops

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/taskcluster/upload-agent/schema"
)

const namespace = "upload_agent_"

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+name, help, labels, nil)
}

var (
	runsOpen        = describe("runs_open", "Runs that are not over.")
	runsEnded       = describe("runs_ended_total", "Runs that are over, by how they ended; success and failure are reported completed.", "outcome")
	logBytes        = describe("log_bytes_total", "Bytes of logs taken in.")
	logFlushes      = describe("log_flushes_total", "How often readers of a live log could see more of it.")
	artifactsStored = describe("artifacts_stored_total", "Artifacts stored.")
	artifactsGone   = describe("artifacts_missing_total", "Artifacts that could not be stored, by the kind of the reason.", "reason")
	bytesUploaded   = describe("uploaded_bytes_total", "Bytes of all objects stored.")
	uploadRetries   = describe("upload_retries_total", "Attempts at an upload after its first.")
	grantRenewals   = describe("grant_renewals_total", "Fresh signed URLs for uploads that had one already.")
	reclaims        = describe("reclaims_total", "Claims that the queue has renewed.")
	claimRemaining  = describe("claim_remaining_seconds", "Time until the first claim of all runs ends, negative once it has; absent without runs.")
	queueFailures   = describe("queue_errors_total", "Requests that the queue refused (client_error), could not answer (server_error) or did not answer (network).", "kind")
	journalErrors   = describe("journal_errors_total", "Runs that ended because their journal could not be kept.")
	ready           = describe("ready", "Whether runs are taken (1) or not (0).")
	healthy         = describe("healthy", "Whether the agent works as it should (1) or a restart may help (0).")
	buildInfo       = describe("build_info", "What the program is, as labels; the value is 1.", "version", "goversion")
)

// newRegistry has all metrics of an agent, of the process and of Go's runtime.
func newRegistry(h *Handler) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(agentCollector{h}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// agentCollector makes metrics of a Snapshot and the Counters when they are asked for.
type agentCollector struct{ *Handler }

// Describe lists the metrics.
func (c agentCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		runsOpen, runsEnded, logBytes, logFlushes, artifactsStored, artifactsGone, bytesUploaded, uploadRetries, grantRenewals,
		reclaims, claimRemaining, queueFailures, journalErrors, ready, healthy, buildInfo,
	} {
		to <- d
	}
}

// Collect gives their values.
func (c agentCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	count := func(d *prometheus.Desc, n *Counter, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n.Load()), labels...)
	}
	now, s := time.Now(), c.source.Snapshot()
	gauge(runsOpen, float64(s.Open))
	if until := s.takenUntil(); !until.IsZero() {
		gauge(claimRemaining, until.Sub(now).Seconds())
	}
	gauge(ready, one(s.State == schema.AgentReady))
	gauge(healthy, one(s.problem(now, c.o.HangsAfter) == ""))
	gauge(buildInfo, 1, c.o.Version, runtime.Version())
	for i, label := range outcomes {
		count(runsEnded, &c.counters.ended[i], label)
	}
	for i, reason := range reasons {
		count(artifactsGone, &c.counters.missing[i], reason.label)
	}
	for i, label := range queueErrors {
		count(queueFailures, &c.counters.queue[i], label)
	}
	count(logBytes, &c.counters.LogBytes)
	count(logFlushes, &c.counters.LogFlushes)
	count(artifactsStored, &c.counters.Artifacts)
	count(bytesUploaded, &c.counters.BytesUploaded)
	count(uploadRetries, &c.counters.UploadRetries)
	count(grantRenewals, &c.counters.GrantRenewals)
	count(reclaims, &c.counters.Reclaims)
	count(journalErrors, &c.counters.JournalErrors)
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
