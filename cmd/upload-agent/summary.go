package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/upload"
)

// runReport is what became of a run, for people.
type runReport struct {
	*agent.Summary
	stored       string        // where the storage keeps its objects, a folder or a bucket; "" if nobody knows
	worked, took time.Duration // the command, and all of it
	moved        tallied
}

// shownArtifacts is how many artifacts the summary names, the largest, and how many that are missing.
const shownArtifacts = 20

// print says it in a few lines.
func (r runReport) print(w io.Writer) {
	outcome := "success"
	if !r.Success {
		outcome = "the command did not succeed"
	}
	fmt.Fprintf(w, "\ntask %s run %d completed: %s\n", r.TaskID, r.RunID, outcome)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what, size, note string) { fmt.Fprintf(table, "  %s\t%s\t%s\n", what, size, note) }
	row("logs.json", formatSize(r.Logs.Size), "readable "+formatDuration(r.LogsAfter)+" after the start")
	row("result.json", formatSize(r.Result.Size), "stored before the run was reported")
	r.artifactRows(row)
	missing := slices.Sorted(maps.Keys(r.Missing))
	for _, name := range missing[:min(len(missing), shownArtifacts)] {
		row(printable(name), "MISSING", printable(r.Missing[name]))
	}
	if rest := len(missing) - shownArtifacts; rest > 0 {
		row(fmt.Sprintf("and %d more", rest), "MISSING", "result.json has the reasons")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Incomplete)) {
		row(printable(name), "INCOMPLETE", printable(strings.TrimPrefix(r.Incomplete[name], "incomplete: ")))
	}
	table.Flush()
	if r.stored != "" {
		fmt.Fprintf(w, "  stored in %s/%s\n", r.stored, r.TaskID)
	}
	if moved := r.movedLine(); moved != "" {
		fmt.Fprintf(w, "  %s\n", moved)
	}
	fmt.Fprintf(w, "  command %s, logs, artifacts and result %s more\n", formatDuration(r.worked), formatDuration(r.took-r.worked))
}

// artifactRows names the largest of what is stored, sorted by name.
func (r runReport) artifactRows(row func(what, size, note string)) {
	names := slices.Sorted(maps.Keys(r.Artifacts))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(r.Artifacts[b].Size, r.Artifacts[a].Size) })
	shown := min(len(names), shownArtifacts)
	slices.Sort(names[:shown])
	for _, name := range names[:shown] {
		row(printable(name), formatSize(r.Artifacts[name].Size), "artifact"+howStored(r.Artifacts[name]))
	}
	var restSize int64
	for _, name := range names[shown:] {
		restSize += r.Artifacts[name].Size
	}
	if rest := len(names) - shown; rest > 0 {
		row(fmt.Sprintf("and %d more", rest), formatSize(restSize), "artifacts")
	}
}

// howStored is what is worth telling of an upload: that it took its time, or did not go through at once.
func howStored(r upload.Receipt) string {
	var text string
	if r.Duration >= time.Second {
		text = fmt.Sprintf(", %s, %s", formatDuration(r.Duration), formatRate(float64(r.Size)/r.Duration.Seconds()))
	}
	return text + tries(r.Retries, r.Renewals)
}

func tries(retries, renewals int) (text string) {
	switch {
	case retries == 1:
		text = ", 1 retry"
	case retries > 1:
		text = fmt.Sprintf(", %d retries", retries)
	}
	if renewals > 0 {
		text += ", " + count(renewals, "renewed grant")
	}
	return text
}

// movedLine is about all artifacts together; "" where one line has said it already.
func (r runReport) movedLine() string {
	if len(r.Artifacts)+len(r.Missing) < 2 {
		return ""
	}
	var size int64
	for _, receipt := range r.Artifacts {
		size += receipt.Size
	}
	text := fmt.Sprintf("%s, %s", count(len(r.Artifacts), "artifact"), formatSize(size))
	if n := len(r.Missing); n > 0 {
		text += fmt.Sprintf(", %d missing", n)
	}
	if took := r.moved.took; took > 0 {
		text += ", uploaded in " + formatDuration(took)
		if took >= time.Second {
			text += ", " + formatRate(float64(r.moved.sent)/took.Seconds())
		}
	}
	return text + tries(r.moved.retries, r.moved.renewals)
}

// formatSize prints bytes as people read them.
func formatSize(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n), 0
	for size >= 1024 && unit < 5 {
		size /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", size, " KMGTP"[unit])
}

func formatDuration(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}
