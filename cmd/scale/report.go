package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is all that is measured and planned.
type report struct {
	Measured measurement `json:"measured"`
	Crowd    crowd       `json:"crowd"`
	Prices   prices      `json:"prices"`
	Plans    []variant   `json:"plans"` // the first is the one that was asked for
	PerRun   resources   `json:"perRun"`
}

// plan computes everything from what is measured.
func (r *report) plan(k knobs) error {
	known := map[string]sizes{}
	for _, m := range r.Measured.Profiles {
		known[m.Profile] = m.Sizes
	}
	for _, p := range r.Crowd.Mix {
		if _, ok := known[p.Name]; !ok {
			return fmt.Errorf("profile %s was not measured", p.Name)
		}
	}
	r.Plans = variants(r.Crowd, k, known, r.Prices)
	r.PerRun = resourcesOf(r.Measured.Crowds)
	return nil
}

// markdown writes the report for people.
func (r *report) markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# One run\n\n%s; time compressed %d times; requests as measured (and as predicted of the same)\n\n", r.Measured.System, r.Measured.Factor)
	r.runs(&b)
	fmt.Fprintf(&b, "\n# Processes\n\nEach run writes a line a second and shares a client with the others, as in a sidecar.\n\n")
	r.processes(&b)
	fmt.Fprintf(&b, "\n# %s runs at once\n\n", number(r.Crowd.Runs))
	r.demand(&b)
	fmt.Fprintf(&b, "\n# Knobs\n\n")
	r.knobs(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) runs(b *strings.Builder) {
	t := newTable(b)
	var names []string
	for _, m := range r.Measured.Profiles {
		names = append(names, m.Profile)
	}
	t.row(append([]string{""}, names...)...)
	t.rule(len(names))
	cells := func(head string, of func(measured) string) {
		row := []string{head}
		for _, m := range r.Measured.Profiles {
			row = append(row, of(m))
		}
		t.row(row...)
	}
	for _, kind := range slices.Concat(queueKinds, putKinds, readerKinds) {
		cells(title(kind), func(m measured) string { return fmt.Sprintf("%.0f (%.0f)", m.Requests[kind], m.Predicted[kind]) })
	}
	cells("bytes sent to the queue", func(m measured) string { return size(float64(m.QueueSent)) })
	cells("bytes from the queue", func(m measured) string { return size(float64(m.QueueReceived)) })
	cells("bytes sent to the storage", func(m measured) string { return size(float64(m.StorageSent)) })
	cells("of an index, on average", func(m measured) string { return size(m.Sizes.Index) })
	cells("of all texts", func(m measured) string { return size(m.Bytes["text"]) })
	cells("of all chunks", func(m measured) string { return size(m.Bytes["chunk"]) })
	t.end()
	for _, p := range profiles {
		fmt.Fprintf(b, "\n%s: %s.", p.Name, p.What)
	}
	b.WriteString("\n")
	for _, m := range r.Measured.Profiles {
		if measured, predicted := m.Requests["index"], m.Predicted["index"]; math.Abs(measured-predicted) > 0.1*predicted {
			fmt.Fprintf(b, "\n%s: %.0f flushes where %.0f were predicted. The machine was too slow for so much compression of time: try a smaller -compress.\n", m.Profile, measured, predicted)
		}
	}
}

func (r *report) processes(b *strings.Builder) {
	t := newTable(b)
	t.row("runs", "resident", "live heap", "stacks", "goroutines", "descriptors", "connections")
	t.rule(6)
	for _, c := range r.Measured.Crowds {
		t.row(fmt.Sprint(c.Runs), size(float64(c.Resident)), size(float64(c.Live)), size(float64(c.Stacks)), fmt.Sprint(c.Goroutines), fmt.Sprint(c.Descriptors), fmt.Sprint(c.Connections))
	}
	p := r.PerRun
	t.row("a run more", size(p.Resident.Slope), size(p.Live.Slope), size(p.Stacks.Slope), round(p.Goroutines.Slope), round(p.Descriptors.Slope), round(p.Connections.Slope))
	t.row("none", size(p.Resident.Base), size(p.Live.Base), size(p.Stacks.Base), round(p.Goroutines.Base), round(p.Descriptors.Base), round(p.Connections.Base))
	t.end()
}

func (r *report) demand(b *strings.Builder) {
	d := r.Plans[0].Demand
	t := newTable(b)
	t.row("", "a second", "$ an hour", "")
	t.rule(3)
	t.row("runs that begin", number(d.RunsPerSecond), "", "")
	t.row("requests to the queue", number(d.Queue), "", detail(d.PerSecond, queueKinds))
	t.row("PUTs", number(d.Put), number(d.PutCost), detail(d.PerSecond, putKinds))
	t.row("GETs", number(d.Get), number(d.GetCost), fmt.Sprintf("%s followers; %s", number(r.Crowd.Runs*r.Crowd.Readers), detail(d.PerSecond, readerKinds)))
	t.row("bytes sent", size(d.Sent), "", "bodies of PUTs")
	t.row("bytes that stay", size(d.Stored), number(d.StorageCost), fmt.Sprintf("%s a day, "+kept(r.Prices.Months), size(d.Stored*86400)))
	t.row("partitioned prefixes", number(d.Partitions), "", fmt.Sprintf("at %d PUTs and %d GETs a second each", putLimit, getLimit))
	t.row("all", "", number(d.cost()), "")
	t.end()
	for _, c := range r.Measured.Crowds {
		if c.Resident > 0 {
			processes := math.Ceil(r.Crowd.Runs / float64(c.Runs))
			fmt.Fprintf(b, "\nRuns in a process: %d. Processes: %s, memory: %s, connections: %s.", c.Runs, number(processes), size(float64(c.Resident)*processes), number(float64(c.Connections)*processes))
		}
	}
	b.WriteString("\n")
	fmt.Fprintf(b, "\nPrices: $%g for 1,000 PUTs, $%g for 1,000 GETs, $%g for a GB and month; %s.\nLimits: %s.\n", r.Prices.Put, r.Prices.Get, r.Prices.Storage, r.Prices.Source, limitsSource)
}

func (r *report) knobs(b *strings.Builder) {
	t := newTable(b)
	t.row("", "knob", "queue/s", "PUT/s", "GET/s", "prefixes", "runs a prefix", "$ an hour")
	t.rule(7)
	for _, v := range r.Plans {
		t.row(v.Name, v.Where, number(v.Demand.Queue), number(v.Demand.Put), number(v.Demand.Get), number(v.Demand.Partitions), number(r.Crowd.Runs*v.Demand.share()), number(v.Demand.cost()))
	}
	t.end()
	b.WriteString("\nA large artifact is one PUT. In parts it is more of them, but then one that goes wrong is all that is sent again: 1 GiB is")
	for i, part := range []int64{8, 64, 256} {
		fmt.Fprintf(b, "%s %d requests in parts of %d MiB", []string{"", ",", ","}[i], partRequests(1<<30, part<<20), part)
	}
	b.WriteString(".\n")
}

func kept(months float64) string {
	if months == 1 {
		return "kept for a month"
	}
	return fmt.Sprintf("kept for %g months", months)
}

// title is a kind of request for people.
func title(kind string) string {
	switch kind {
	case "look":
		return "GET of the index, by one reader"
	case "read":
		return "GET of a chunk, by one reader"
	}
	if slices.Contains(putKinds, kind) {
		return "PUT of " + kind
	}
	return kind
}

// detail lists the kinds, the largest first.
func detail(c counts, kinds []string) string {
	sorted := slices.SortedFunc(slices.Values(kinds), func(a, b string) int { return int(math.Copysign(1, c[b]-c[a])) })
	var parts []string
	for _, kind := range sorted {
		parts = append(parts, kind+" "+number(c[kind]))
	}
	return strings.Join(parts, ", ")
}

// table is one of Markdown, whose columns stand below each other in a terminal, too.
type table struct{ w *tabwriter.Writer }

func newTable(b *strings.Builder) table {
	return table{tabwriter.NewWriter(b, 0, 0, 1, ' ', 0)}
}

func (t table) row(cells ...string) {
	fmt.Fprintln(t.w, "| "+strings.Join(cells, "\t| ")+"\t|")
}
func (t table) rule(more int) { fmt.Fprintln(t.w, "|---"+strings.Repeat("\t|--:", more)+"\t|") }
func (t table) end()          { _ = t.w.Flush() } // to a strings.Builder

// number has two significant digits, or three from 1000 on, and a comma between thousands.
func number(x float64) string {
	if x == 0 {
		return "0"
	}
	digits := 2
	if math.Abs(x) >= 1000 {
		digits = 3
	}
	scale := math.Pow(10, math.Floor(math.Log10(math.Abs(x)))-float64(digits-1))
	x = math.Round(x/scale) * scale
	if math.Abs(x) < 10 {
		return fmt.Sprintf("%.2g", x)
	}
	text := fmt.Sprintf("%.0f", x)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func round(x float64) string { return fmt.Sprintf("%.1f", x) }

// size is a number of bytes, in powers of a thousand.
func size(n float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB", "TB"} {
		if math.Abs(n) < 999.5 {
			return fmt.Sprintf("%.3g %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.3g PB", n)
}
