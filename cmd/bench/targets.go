package main

import "time"

// target is what ours may take at most with a workload.
type target struct {
	workload string
	peer     string        // whose wall time Ratio is of; "" for the other two
	ratio    float64       // of our wall time to the peer's
	cpu      time.Duration // our CPU time
	peak     int64         // our memory
}

const mostMemory = 40 << 20

// targets are the goals that the report checks, where it has measured what they are about.
var targets = []target{
	{workload: "1GiB", peer: "curl", ratio: 0.8},
	{workload: "1GiB", peer: "bare", ratio: 1.15},
	{workload: "1GiB", peer: "manager", ratio: 0.65},
	{workload: "1GiB", cpu: 600 * time.Millisecond},
	{workload: "1GiB", peak: mostMemory},
	{workload: "1GiB-tls", peer: "curl", ratio: 1},
	{workload: "1GiB-tls", peak: mostMemory},
	{workload: "1GiB-parts", peer: "bare", ratio: 1.15},
	{workload: "1GiB-parts", peer: "manager", ratio: 0.55},
	{workload: "1GiB-parts", peak: mostMemory},
	{workload: "10000x4KiB", peer: "curl", ratio: 1},
	{workload: "10000x4KiB", peer: "manager-tuned", ratio: 0.4},
	{workload: "10000x4KiB", peer: "rclone", ratio: 0.3},
	{workload: "10000x4KiB", peak: mostMemory},
	{workload: "200x5MiB", peer: "curl", ratio: 0.9},
	{workload: "200x5MiB", peer: "manager", ratio: 0.55},
	{workload: "200x5MiB", peak: mostMemory},
}

// mostLatency is how much longer than a bare PUT it may take from Start to logs.json stored, both at the 99th percentile.
const mostLatency = time.Millisecond

// check says how a target stands; known is false where it was not measured.
func (t target) check(workload string, all []summary) (limit, found string, holds, known bool) {
	if t.workload != workload {
		return "", "", false, false
	}
	for _, s := range all {
		switch {
		case t.peer != "" && s.Peer == t.peer:
			return "at most " + decimal(t.ratio) + " of " + t.peer, decimal(s.Ratio), s.Ratio <= t.ratio, true
		case t.cpu > 0 && s.Peer == ours:
			return "CPU at most " + seconds(t.cpu), seconds(s.CPU), s.CPU <= t.cpu, true
		case t.peak > 0 && s.Peer == ours:
			return "memory at most " + mebibytes(t.peak), mebibytes(s.Peak), s.Peak <= t.peak, true
		}
	}
	return "", "", false, false
}
