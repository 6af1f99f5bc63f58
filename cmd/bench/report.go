package main

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// report is all that was found in one run of this program.
type report struct {
	Time      time.Time        `json:"time"`
	System    string           `json:"system"`
	Rounds    int              `json:"rounds"`
	Notes     []string         `json:"notes"` // peers that were left out, and the like
	Workloads []workloadReport `json:"workloads"`
	Start     *startReport     `json:"start,omitempty"`
}

type workloadReport struct {
	Name  string    `json:"name"`
	Bytes int64     `json:"bytes"`
	Files int       `json:"files"`
	Peers []summary `json:"peers"`
	Raw   []measured
}

type startReport struct {
	Runs     int           `json:"runs"`
	Start50  time.Duration `json:"startP50Ns"`
	Start99  time.Duration `json:"startP99Ns"`
	Bare50   time.Duration `json:"bareP50Ns"`
	Bare99   time.Duration `json:"bareP99Ns"`
	Over99   time.Duration `json:"overP99Ns"` // Start99 less Bare99
	OverBare time.Duration `json:"overP50Ns"`
}

func newReport(rounds int) *report {
	return &report{Time: time.Now().UTC(), System: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()), Rounds: rounds}
}

func newStartReport(l latencies) *startReport {
	s := &startReport{
		Runs: len(l.Start), Start50: quantile(l.Start, 0.5), Start99: quantile(l.Start, 0.99),
		Bare50: quantile(l.Bare, 0.5), Bare99: quantile(l.Bare, 0.99),
	}
	s.Over99, s.OverBare = s.Start99-s.Bare99, s.Start50-s.Bare50
	return s
}

// markdown writes the report for people.
func (r *report) markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s; medians of %d rounds in turns\n", r.Time.Format("2006-01-02 15:04"), r.System, r.Rounds)
	for _, w := range r.Workloads {
		fmt.Fprintf(&b, "\n## %s\n\n| | wall s | from | to | rate | CPU s | memory | ours/this |\n|---|---|---|---|---|---|---|---|\n", w.Name)
		for _, s := range w.Peers {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", s.Peer, plain(s.Wall), plain(s.Fastest), plain(s.Slowest),
				w.rate(s.Wall), plain(s.CPU), mebibytes(s.Peak), decimal(s.Ratio))
		}
		var rows strings.Builder
		for _, t := range targets {
			if limit, found, holds, known := t.check(w.Name, w.Peers); known {
				fmt.Fprintf(&rows, "| %s | %s | %s |\n", limit, found, yes(holds))
			}
		}
		if rows.Len() > 0 {
			fmt.Fprintf(&b, "\n| goal | found | holds |\n|---|---|---|\n%s", rows.String())
		}
	}
	if s := r.Start; s != nil {
		fmt.Fprintf(&b, "\n## %s\n\n| %d runs | p50 | p99 |\n|---|---|---|\n| from Start to logs.json stored | %s | %s |\n| a bare PUT | %s | %s |\n| more | %s | %s |\n",
			startWorkload, s.Runs, millis(s.Start50), millis(s.Start99), millis(s.Bare50), millis(s.Bare99), millis(s.OverBare), millis(s.Over99))
		fmt.Fprintf(&b, "\n| goal | found | holds |\n|---|---|---|\n| at most %s more at p99 | %s | %s |\n", millis(mostLatency), millis(s.Over99), yes(s.Over99 <= mostLatency))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\nNote: %s.\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// rate is what says most of a workload: files a second of small ones, megabytes a second of others.
func (w workloadReport) rate(wall time.Duration) string {
	if w.Bytes/int64(w.Files) < 1<<20 {
		return fmt.Sprintf("%.0f/s", float64(w.Files)/wall.Seconds())
	}
	return fmt.Sprintf("%.0f MB/s", float64(w.Bytes)/1e6/wall.Seconds())
}

func yes(holds bool) string {
	if holds {
		return "yes"
	}
	return "no"
}

func plain(d time.Duration) string   { return fmt.Sprintf("%.3f", d.Seconds()) }
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
func decimal(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }
