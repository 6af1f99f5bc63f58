package main

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/upload"
)

func bandwidthFlag() cli.Flag {
	return &cli.StringFlag{Name: "bwlimit", Usage: "upload no more than `RATE` bytes per second (such as 10M), all artifacts together; logs and documents do not wait for them (default: no limit)", Sources: env("bwlimit")}
}

// newUploader is the client of all uploads of the process, with the limit of --bwlimit.
func newUploader(cmd *cli.Command, logger *slog.Logger) (*upload.Client, error) {
	o := upload.Options{Logger: logger}
	if text := cmd.String("bwlimit"); text != "" && text != "0" {
		size := strings.TrimSuffix(text, "/s")
		if strings.TrimRight(size, "KkMmGg") != size {
			size += "iB" // as curl and rclone have it
		}
		limit, err := parseSize(size)
		if err != nil {
			return nil, usageError(fmt.Errorf("--bwlimit: %q is no rate: want bytes per second, such as 10M or 500KB", text))
		}
		if limit < leastBandwidth {
			return nil, usageError(fmt.Errorf("--bwlimit %s: the least is 1K; 0 is no limit", text))
		}
		o.Limiter = upload.NewLimiter(limit)
	}
	return upload.New(o), nil
}

const leastBandwidth = 1 << 10 // with less, storages give up waiting
