package main

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/taskcluster/upload-agent/agent"
)

// shownArtifacts is how many artifacts the summary names.
const shownArtifacts = 20

// printSummary says what became of a run, in a few lines.
func printSummary(w io.Writer, s *agent.Summary, tree string, worked time.Duration) {
	outcome := "success"
	if !s.Success {
		outcome = "the command did not succeed"
	}
	fmt.Fprintf(w, "\ntask %s run %d completed: %s\n", s.TaskID, s.RunID, outcome)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what, size, note string) { fmt.Fprintf(table, "  %s\t%s\t%s\n", what, size, note) }
	row("logs.json", formatSize(s.Logs.Size), "readable "+formatDuration(s.LogsAfter)+" after the start")
	row("result.json", formatSize(s.Result.Size), "stored before the run was reported")
	var rest, restSize int64
	for i, name := range slices.Sorted(maps.Keys(s.Artifacts)) {
		if i >= shownArtifacts {
			rest++
			restSize += s.Artifacts[name].Size
			continue
		}
		row(printable(name), formatSize(s.Artifacts[name].Size), "artifact"+attempts(s.Artifacts[name].Attempts))
	}
	if rest > 0 {
		row(fmt.Sprintf("and %d more", rest), formatSize(restSize), "artifacts")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Missing)) {
		row(printable(name), "MISSING", printable(s.Missing[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Incomplete)) {
		row(printable(name), "INCOMPLETE", printable(strings.TrimPrefix(s.Incomplete[name], "incomplete: ")))
	}
	table.Flush()
	if tree != "" {
		fmt.Fprintf(w, "  stored in %s\n", filepath.Join(tree, string(s.TaskID)))
	}
	fmt.Fprintf(w, "  command %s, logs, artifacts and result %s more\n", formatDuration(worked), formatDuration(time.Since(s.Started)-worked))
}

func attempts(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(", %d attempts", n)
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
