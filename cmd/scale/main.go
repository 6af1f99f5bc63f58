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
	"path/filepath"
	"runtime"
	"time"
)

// roleVariable makes this program one of the processes that it starts.
const roleVariable = "UPLOAD_AGENT_SCALE_ROLE"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if os.Getenv(roleVariable) != "" {
		err = takeCrowd(ctx, os.Stdin, os.Stdout)
	} else {
		err = scale(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	crowd      crowd
	prices     prices
	knobs      knobs
	factor     int
	steps      []int
	warm       time.Duration
	json, from string
	dir        string
}

func parseFlags(args []string, errs io.Writer) (settings, error) {
	s := settings{knobs: defaultKnobs}
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.SetOutput(errs)
	f.Float64Var(&s.crowd.Runs, "runs", 100_000, "how many runs are under way at once")
	mix := f.String("mix", defaultMix(), "how many of them are of each profile")
	f.Float64Var(&s.crowd.Readers, "readers", 0.1, "how many readers follow each run, from its start to its end, on average")
	f.DurationVar(&s.knobs.Interval, "interval", s.knobs.Interval, "the least time between two flushes of a log")
	f.DurationVar(&s.knobs.Claim, "claim", s.knobs.Claim, "the length of a claim")
	f.DurationVar(&s.knobs.URLLife, "url-life", s.knobs.URLLife, "for how long a signed URL of an artifact is good")
	f.Int64Var(&s.knobs.LogLimit, "log-limit", s.knobs.LogLimit, "how many `bytes` a log may have")
	f.BoolVar(&s.knobs.AtEnd, "at-end", false, "artifacts are uploaded at the end, not as they are written")
	f.BoolVar(&s.knobs.Stream, "stream", false, "readers come to the workers")
	f.Float64Var(&s.prices.Put, "put-price", 0.005, "dollars for 1,000 PUTs")
	f.Float64Var(&s.prices.Get, "get-price", 0.0004, "dollars for 1,000 GETs")
	f.Float64Var(&s.prices.Storage, "storage-price", 0.023, "dollars for a GB for a month")
	f.Float64Var(&s.prices.Months, "months", 1, "for how long everything is kept")
	f.StringVar(&s.prices.Source, "price-source", pricesSource, "where the prices are from")
	f.IntVar(&s.factor, "compress", 30, "by how much the time of the measured runs is compressed")
	crowds := f.String("crowds", "1,10,100,300", "with how many runs at once memory and descriptors are measured")
	f.DurationVar(&s.warm, "warm", 10*time.Second, "for how long they go on before that")
	f.StringVar(&s.json, "json", "", "`file` to write everything to as JSON")
	f.StringVar(&s.from, "from", "", "`file` that -json has written: nothing is measured, its figures are taken")
	f.StringVar(&s.dir, "dir", "", "`folder` for what the runs store and keep; default: one in memory, if there is such")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	var err error
	if s.crowd.Mix, err = mixed(*mix); err != nil {
		return s, err
	}
	if s.steps, err = parseSteps(*crowds); err != nil {
		return s, err
	}
	if f.NArg() > 0 || !(s.crowd.Runs > 0) || !(s.crowd.Readers >= 0) || s.factor < 1 || s.knobs.Interval < time.Millisecond || s.knobs.Claim < 30*time.Second || s.knobs.URLLife < time.Minute {
		return s, errors.New("want flags only, runs, an interval from 1ms, claims from 30s and URLs from 1m: see -help")
	}
	return s, nil
}

// scale measures, plans, and writes the report.
func scale(ctx context.Context, args []string, out, errs io.Writer) error {
	s, err := parseFlags(args, errs)
	if err != nil {
		return err
	}
	r := report{Crowd: s.crowd, Prices: s.prices}
	if s.from == "" {
		r.Measured, err = s.measure(ctx, errs)
	} else {
		r.Measured, err = readMeasurement(s.from)
	}
	if err != nil {
		return err
	}
	if err := r.plan(s.knobs); err != nil {
		return err
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

// measure takes the runs.
func (s settings) measure(ctx context.Context, errs io.Writer) (m measurement, err error) {
	if s.dir == "" {
		s.dir = memoryFolder()
	}
	dir, err := os.MkdirTemp(s.dir, "upload-agent-scale-")
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m = measurement{
		System: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
		Factor: s.factor, Knobs: defaultKnobs,
	}
	fmt.Fprintf(errs, "a run of each profile, at %d times the speed\n", s.factor)
	if m.Profiles, err = measureAll(ctx, profiles, defaultKnobs, s.factor, dir); err != nil {
		return m, err
	}
	for _, runs := range s.steps {
		fmt.Fprintf(errs, "%d runs at once\n", runs)
		c, err := measureCrowd(ctx, runs, s.warm, filepath.Join(dir, fmt.Sprint(runs)))
		if err != nil {
			return m, fmt.Errorf("%d runs at once: %w", runs, err)
		}
		m.Crowds = append(m.Crowds, c)
	}
	return m, nil
}

// memoryFolder is a folder in memory, or else the system's choice: the time that a disk takes for an fsync cannot be compressed.
func memoryFolder() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// readMeasurement takes what an earlier report has measured.
func readMeasurement(path string) (measurement, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return measurement{}, err
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		return measurement{}, fmt.Errorf("read %s: %w", path, err)
	}
	if len(r.Measured.Profiles) == 0 {
		return measurement{}, fmt.Errorf("read %s: it holds no measurement", path)
	}
	return r.Measured, nil
}
