package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
)

func queueCommand(io *stdio) *cli.Command {
	return &cli.Command{
		Name:      "queue",
		Usage:     "run the embedded queue and storage alone, to develop a worker against",
		UsageText: "upload-agent queue (--dir DIR | --s3 URL) [--listen ADDR] [--storage-listen ADDR] [--serve[=ADDR]] [--multipart-from SIZE] [--signature v2] [--quirks-2014] [--amqp URL] [--fault WHAT=KIND[:PROBABILITY],...] [--seed N]",
		Description: "The queue keeps its tasks in memory: what is in DIR from before can be read (tail, inspect), not claimed.\n" +
			"With --s3 objects are stored in a bucket instead of a folder, through URLs that are good for the bucket itself; readers\n" +
			"still come to the storage's address, which leads them on. So the bucket may be private.\n" +
			"Prints the two URLs, and then every message that the queue publishes. 'upload-agent events' prints them elsewhere.\n" +
			"With --amqp they go to a RabbitMQ, too; while that is away they wait in memory. Whoever asks the queue for its\n" +
			"broker is told its address, without the user and the password.",
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "keep the storage in `DIR`", Sources: env("dir")},
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8450", Usage: "serve the queue on `ADDR`", Sources: env("listen")},
			&cli.StringFlag{Name: "storage-listen", Value: "127.0.0.1:8451", Usage: "serve the storage on `ADDR`", Sources: env("storage-listen")},
			serveFlag(), amqpFlag(),
		}, embeddedFlags()...), logFlags()...),
		Action: func(ctx context.Context, cmd *cli.Command) error { return serveQueue(ctx, cmd, io) },
	}
}

func serveQueue(ctx context.Context, cmd *cli.Command, io *stdio) error {
	if err := noArguments(cmd); err != nil {
		return err
	}
	logger, err := io.logger(cmd)
	if err != nil {
		return err
	}
	embedded, err := embeddedOptions(cmd, logger)
	if err != nil {
		return err
	}
	if cmd.String("dir") == "" && embedded.Bucket == nil {
		return usageError(errors.New("want --dir, or --s3"))
	}
	broker, err := brokerURL(cmd)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	embedded.AMQP = publicBroker(broker)
	embedded.QueueListen, embedded.StorageListen = cmd.String("listen"), cmd.String("storage-listen")
	server, err := agenttest.New(cmd.String("dir"), embedded)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; choose others with --listen and --storage-listen", err)
	}
	if err != nil {
		return whyNoServer(err, failure)
	}
	publisher, err := startPublisher(ctx, server, broker, logger)
	if err != nil {
		return failure(errors.Join(err, server.Close()))
	}
	storage, err := queue.NewStorage(server.StorageURL(), queue.Options{Logger: logger})
	var inspector *inspector
	if err == nil {
		inspector, err = startInspector(ctx, cmd, inspectorOf(server, storage), logger)
	}
	if err != nil {
		return failure(errors.Join(err, publisher.close(), server.Close()))
	}
	defer inspector.close()
	fmt.Fprintf(io.out, "queue   %s\nstorage %s\n", server.QueueURL(), server.StorageURL())
	fmt.Fprintf(io.err, "Post a task to %s/task/new, then: upload-agent exec --queue %s --storage %s --task-id ID -- COMMAND\nStop with Ctrl-C.\n",
		server.QueueURL(), server.QueueURL(), server.StorageURL())
	inspector.announce(io, "/")
	events := server.Events(ctx)
	for event := range events {
		fmt.Fprintf(io.out, "%s %s\n", event.Exchange, event.RoutingKey)
	}
	var broken error
	if v := server.Violations(); len(v) > 0 {
		broken = fmt.Errorf("a worker broke the order of reports: %s", v[0])
	}
	if err := errors.Join(broken, publisher.close(), server.Close()); err != nil {
		return failure(err)
	}
	return nil
}
