package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/agenttest"
)

// embeddedFlags say how the embedded queue and storage grant, and how they misbehave.
func embeddedFlags() []cli.Flag {
	return []cli.Flag{
		bucketFlag(),
		&cli.StringFlag{Name: "multipart-from", Usage: "grant artifacts of `SIZE` (such as 64MiB) and more in parts, several of which are uploaded at once (default: none, as the first queue did)", Sources: env("multipart-from")},
		&cli.StringFlag{Name: "part-size", Value: "64MiB", Usage: "`SIZE` of a part; at least 5MiB", Sources: env("part-size")},
		&cli.StringFlag{Name: "signature", Value: "v4", Usage: "sign URLs with AWS Signature `VERSION` v4, or v2 as the first queue's storage wanted them: that refuses every header it does not cover", Sources: env("signature")},
		&cli.BoolFlag{Name: "quirks-2014", Usage: "err as the first queue did: runs count from 1, a claim is answered with an old status, nobody's ownership is checked, one bad artifact name is an error for all, and more (--signature v2 is apart)", Sources: env("quirks-2014")},
		&cli.StringFlag{Name: "fault", Usage: "misbehave as `WHAT=KIND[:PROBABILITY],...` says; WHAT: any, put, get, claim, reclaim, artifact-urls, completed, and of an artifact in parts part, complete (which makes them one), abort (which throws them away), create (which starts it; with a bucket's credentials only); KIND: a status, reset, stall, slow, expired, redirect, lost (done, but not answered), and for complete late (answered 200 and then with an error)", Sources: env("fault")},
		&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "seed of the faults", Sources: env("seed")},
	}
}

const leastPart = 5 << 20 // as object storages have it

// embeddedOptions reads the flags.
func embeddedOptions(cmd *cli.Command, logger *slog.Logger) (o agenttest.Options, err error) {
	o.Logger = logger
	if o.Bucket, err = bucketOf(cmd); err != nil {
		return o, err
	}
	o.Quirks2014 = cmd.Bool("quirks-2014")
	if o.Signature = cmd.String("signature"); o.Signature != "v2" && o.Signature != "v4" {
		return o, usageError(fmt.Errorf("--signature %q: want v2 or v4", o.Signature))
	}
	if o.Bucket != nil && o.Signature == "v2" {
		return o, usageError(errors.New("--signature v2: with --s3 URLs are signed with v4"))
	}
	if o.Faults, err = agenttest.ParseFaults(cmd.String("fault"), cmd.Uint64("seed")); err != nil {
		return o, usageError(fmt.Errorf("--fault: %w", err))
	}
	if o.PartSize, err = parseSize(cmd.String("part-size")); err != nil {
		return o, usageError(fmt.Errorf("--part-size: %w", err))
	}
	if o.PartSize < leastPart {
		return o, usageError(fmt.Errorf("--part-size %s: the least is 5MiB", cmd.String("part-size")))
	}
	from := cmd.String("multipart-from")
	switch {
	case from != "":
		if o.MultipartFrom, err = parseSize(from); err != nil {
			return o, usageError(fmt.Errorf("--multipart-from: %w", err))
		}
		o.MultipartFrom = max(1, o.MultipartFrom)
	case cmd.IsSet("part-size"):
		return o, usageError(errors.New("--part-size: nothing is stored in parts without --multipart-from"))
	default:
		if what := faultOfParts(cmd.String("fault")); what != "" {
			return o, usageError(fmt.Errorf("--fault %s: nothing is stored in parts without --multipart-from", what))
		}
	}
	return o, nil
}

// faultOfParts is the first entry of a specification that can only hit an artifact in parts; "" if there is none.
func faultOfParts(spec string) string {
	for entry := range strings.SplitSeq(spec, ",") {
		what, _, _ := strings.Cut(strings.TrimSpace(entry), "=")
		if slices.Contains([]string{"create", "part", "complete", "abort"}, what) {
			return strings.TrimSpace(entry)
		}
	}
	return ""
}
