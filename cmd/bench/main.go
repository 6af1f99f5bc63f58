package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
)

// roleVariable makes this program one of the processes that it starts.
const roleVariable = "UPLOAD_AGENT_BENCH_ROLE"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if role := os.Getenv(roleVariable); role != "" {
		err = play(ctx, role)
	} else {
		err = bench(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// play is main of the processes that are measured, and of the sink.
func play(ctx context.Context, role string) error {
	if role == "sink" {
		return runSink(os.Stdin, os.Stdout)
	}
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	if role == startWorkload {
		return profiled(func() error { return startLatency(ctx, j, os.Stdout) })
	}
	i := slices.IndexFunc(peers, func(p peer) bool { return p.name == role })
	if i < 0 || peers[i].inside == nil {
		return fmt.Errorf("there is no role %q", role)
	}
	return profiled(func() error { return peers[i].inside(ctx, j) })
}

// settings are what the flags say.
type settings struct {
	workloads, peers string
	rounds, starts   int
	scale            int
	json             string
	dir              string
	install          bool
}

func parseFlags(args []string, errs io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errs)
	var names, all []string
	for _, w := range workloads {
		names = append(names, w.Name)
	}
	for _, p := range peers {
		all = append(all, p.name)
	}
	f.StringVar(&s.workloads, "workloads", strings.Join(append(names, startWorkload), ","), "what is uploaded")
	f.StringVar(&s.peers, "peers", strings.Join(all, ","), "what uploads; "+ours+" always does")
	f.IntVar(&s.rounds, "n", 5, "how many rounds count, after one that does not")
	f.IntVar(&s.starts, "starts", 300, "how many runs are started to measure start latency")
	f.IntVar(&s.scale, "scale", 1, "do only a part of each workload: 10 is a tenth. The goals are about the whole")
	f.StringVar(&s.json, "json", "", "`file` to write the numbers to as JSON")
	f.StringVar(&s.dir, "dir", "", "`folder` for the files that are uploaded, some 2 GiB; default: a temporary one")
	f.BoolVar(&s.install, "install", false, "first build the peers rclone and mc, which takes minutes")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if f.NArg() > 0 || s.rounds < 1 || s.starts < 1 || s.scale < 1 {
		return s, errors.New("want flags only, and numbers from 1: see -help")
	}
	return s, nil
}

// bench measures what the arguments ask for, and writes the report.
func bench(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	s, err := parseFlags(args, errs)
	if err != nil {
		return err
	}
	if s.install {
		if err := install(); err != nil {
			fmt.Fprintln(errs, "bench:", err)
		}
	}
	files, err := os.MkdirTemp(s.dir, "upload-agent-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(files)) }()
	address, stop, err := startSink()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	r := newReport(s.rounds)
	chosen, err := choosePeers(s.peers, job{Workload: workloads[0], Files: files, Sink: address}, r)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(s.workloads, ",") {
		j := job{Files: files, Sink: address, Starts: s.starts}
		if name == startWorkload {
			l, err := measureStart(ctx, j)
			if err != nil {
				return err
			}
			r.Start = newStartReport(l)
			continue
		}
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.Name == name })
		if i < 0 {
			return fmt.Errorf("there is no workload %q", name)
		}
		j.Workload = workloads[i].scaled(s.scale)
		if err := j.Workload.makeFiles(files); err != nil {
			return err
		}
		all, err := compare(ctx, j, chosen, s.rounds, func(line string) { fmt.Fprintln(errs, line) })
		if err != nil {
			return err
		}
		r.Workloads = append(r.Workloads, workloadReport{Name: name, Bytes: j.Workload.bytes(), Files: j.Workload.Files, Peers: summarize(all), Raw: all})
	}
	if s.json != "" {
		data, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(s.json, append(data, '\n'), 0o600)
		}
		if err != nil {
			return err
		}
	}
	return r.markdown(out)
}

// choosePeers are those that were asked for and are here, ours first.
func choosePeers(names string, j job, r *report) ([]peer, error) {
	chosen := []peer{peers[0]}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(peers, func(p peer) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no peer %q", name)
		}
		var missing *missingError
		_, err := peers[i].command(j)
		switch {
		case errors.As(err, &missing):
			r.Notes = append(r.Notes, missing.Error()+", so it was left out")
		case err != nil:
			return nil, err
		case i > 0:
			chosen = append(chosen, peers[i])
		}
	}
	return chosen, nil
}
