package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/livelog"
)

// shortestFlush is the least that --flush-interval takes: one PUT each would be too many for everybody.
const shortestFlush = 100 * time.Millisecond

func flushFlag() cli.Flag {
	return &cli.DurationFlag{Name: "flush-interval", Value: time.Second, Usage: "readers see what is new in a log every `DURATION` at most, for one PUT each; less often in a log that is hours old", Sources: env("flush-interval")}
}

// flushes reads the flag, as agent.Options have it.
func flushes(cmd *cli.Command) (livelog.PublishOptions, error) {
	interval := cmd.Duration("flush-interval")
	if interval < shortestFlush {
		return livelog.PublishOptions{}, usageError(fmt.Errorf("--flush-interval %v: the least is %v", interval, shortestFlush))
	}
	return livelog.PublishOptions{Interval: interval}, nil
}
