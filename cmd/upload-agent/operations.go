package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
)

// operationsFlags are for a command that runs as a service.
func operationsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "listen", Usage: "serve /healthz, /readyz, /metrics and /status.json at `ADDR`; a port alone is one of 127.0.0.1 (default: do not)", Sources: env("listen")},
	}
}

// operations are what operators and their service managers are told while a command serves.
type operations struct {
	server *ops.Server // nil: nobody asked for one
	end    context.CancelFunc
	told   sync.WaitGroup
}

// startOperations tells of a source and what is counted: over HTTP if --listen says so, and to systemd if it wants to know.
func startOperations(cmd *cli.Command, source ops.Source, counters *ops.Counters, logger *slog.Logger) (*operations, error) {
	h := ops.NewHandler(source, counters, ops.Options{Version: version()})
	o := new(operations)
	if address := cmd.String("listen"); address != "" {
		var err error
		if o.server, err = ops.Listen(address, h, logger); err != nil {
			return nil, usageError(fmt.Errorf("--listen: %w", err))
		}
	}
	var ctx context.Context
	ctx, o.end = context.WithCancel(context.Background())
	o.told.Go(func() { h.Supervise(ctx, ops.NewNotifier(os.Getenv), logger) })
	return o, nil
}

// close stops telling, gracefully.
func (o *operations) close() error {
	o.end()
	o.told.Wait()
	return o.server.Close()
}
