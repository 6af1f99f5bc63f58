package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/livelog"
)

func logLimitFlag() cli.Flag {
	return &cli.StringFlag{Name: "log-limit", Value: "1GiB", Usage: "a log that has reached `SIZE` (such as 500MB; 0: no limit) keeps its beginning and its newest bytes, and says how many are missing", Sources: env("log-limit")}
}

// logLimit reads the flag, as agent.Options have it.
func logLimit(cmd *cli.Command) (int64, error) {
	limit, err := parseSize(cmd.String("log-limit"))
	switch {
	case err != nil:
		return 0, usageError(fmt.Errorf("--log-limit: %w", err))
	case limit == 0:
		return -1, nil
	case limit < livelog.MinLimit:
		return 0, usageError(fmt.Errorf("--log-limit %s: the least is %dKiB; 0 is no limit", cmd.String("log-limit"), livelog.MinLimit>>10))
	}
	return limit, nil
}

var sizeUnits = map[string]float64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// parseSize reads a number of bytes, such as 1GiB, 500MB, 1.5 MiB or 65536.
func parseSize(text string) (int64, error) {
	number := strings.TrimRight(text, "BbKkMmGgTtIi ")
	value, err := strconv.ParseFloat(number, 64)
	unit, known := sizeUnits[strings.ToLower(strings.TrimSpace(text[len(number):]))]
	if err != nil || !known || !(value >= 0) || value*unit >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size: want a number with a unit, such as 1GiB or 500MB", text)
	}
	return int64(value * unit), nil
}
