package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// quantile is the smallest value that the share q of all does not exceed: of 0.5 the (lower) median, of 1 the highest.
func quantile[T cmp.Ordered](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	at := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[max(at, 0)]
}

// summary is what the samples of one peer come to.
type summary struct {
	Peer    string        `json:"peer"`
	Wall    time.Duration `json:"wallNs"` // median
	Fastest time.Duration `json:"fastestNs"`
	Slowest time.Duration `json:"slowestNs"`
	CPU     time.Duration `json:"cpuNs"`     // median
	Peak    int64         `json:"peakBytes"` // the highest
	Ratio   float64       `json:"ratio"`     // our wall time over that of this peer
}

// summarize compares the medians. Those of ours are in it too, with a ratio of 1.
func summarize(all []measured) []summary {
	var us time.Duration
	summaries := make([]summary, len(all))
	for i, m := range all {
		var walls, cpus []time.Duration
		var peaks []int64
		for _, s := range m.Samples {
			walls, cpus, peaks = append(walls, s.Wall), append(cpus, s.CPU), append(peaks, s.Peak)
		}
		summaries[i] = summary{
			Peer: m.Peer, Wall: quantile(walls, 0.5), Fastest: quantile(walls, 0), Slowest: quantile(walls, 1),
			CPU: quantile(cpus, 0.5), Peak: quantile(peaks, 1),
		}
		if m.Peer == ours {
			us = summaries[i].Wall
		}
	}
	for i := range summaries {
		summaries[i].Ratio = float64(us) / float64(summaries[i].Wall)
	}
	return summaries
}
