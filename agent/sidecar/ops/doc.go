// Package ops is what an operator asks of an agent that runs as a service: does it live, does it take work, what does it do, and
// what has it done.
//
// [NewHandler] answers /healthz, /readyz, /metrics (for Prometheus) and /status.json (a [schema.AgentStatus]). [Listen] serves it. A
// [Notifier] tells the same to systemd.
//
// All of it is made from two things. A [Source] takes a [Snapshot] of how things stand, at each request; [Counters] are told by whoever
// does the work of what happens, each at the price of one atomic addition. The sidecar is a Source, and so can be exec with its one run.
//
// What it promises: no label of a metric has values without a bound, so there are no names of tasks or artifacts in metrics; no
// answer holds a secret, and the URLs in the texts of a Snapshot are redacted; answers are small and are made without disk or network.
//
// What it does not do: it knows nothing of runs by itself, and it asks nobody for a password: what it tells is for those who
// reach the address, which is loopback unless somebody says otherwise.
package ops
