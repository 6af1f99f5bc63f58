package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// measured is one run of a profile, with one reader.
type measured struct {
	Profile   string `json:"profile"`
	Requests  counts `json:"requests"`
	Bytes     counts `json:"bodyBytes"`
	Predicted counts `json:"predicted"`
	Sizes     sizes  `json:"sizes"`

	// All bytes to and from the two servers, with the heads of requests. From the storage the reader reads, too.
	QueueSent, QueueReceived, StorageSent, StorageReceived int64
}

// measurement is all that is measured.
type measurement struct {
	System   string     `json:"system"`
	Factor   int        `json:"timeCompressedBy"`
	Knobs    knobs      `json:"knobs"`
	Profiles []measured `json:"profiles"`
	Crowds   []crowded  `json:"crowds"`
}

// measureAll takes a run of each profile, all at once, as most of the time each waits.
func measureAll(ctx context.Context, all []profile, k knobs, factor int, dir string) ([]measured, error) {
	results, errs := make([]measured, len(all)), make([]error, len(all))
	var running sync.WaitGroup
	for i, p := range all {
		running.Go(func() { results[i], errs[i] = measure(ctx, p, k, factor, filepath.Join(dir, p.Name)) })
	}
	running.Wait()
	return results, errors.Join(errs...)
}

// measure takes one run of a profile, in compressed time.
func measure(ctx context.Context, p profile, k knobs, factor int, dir string) (result measured, err error) {
	p, k = p.compressed(factor), k.compressed(factor)
	var w wires
	server, err := agenttest.New(filepath.Join(dir, "storage"), agenttest.Options{Listen: w.listen, ClaimLength: k.Claim, ArtifactURLLife: k.URLLife})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	transport := upload.NewTransport()
	defer transport.CloseIdleConnections()
	m := newMeter(transport)
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return result, err
	}
	if err := takeRun(ctx, server, m, state, p, k, factor); err != nil {
		return result, fmt.Errorf("run of profile %s: %w", p.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	predicted := predict(p, k, factor)
	return measured{
		Profile: p.Name, Requests: m.requests, Bytes: m.bytes, Predicted: predicted.Requests, Sizes: sizesOf(m.requests, m.bytes, predicted),
		QueueSent: w.all[0].Sent.Load(), QueueReceived: w.all[0].Received.Load(),
		StorageSent: w.all[1].Sent.Load(), StorageReceived: w.all[1].Received.Load(),
	}, nil
}

// sizesOf are what a plan needs to know of the bytes that were counted.
func sizesOf(requests, bytes counts, predicted prediction) sizes {
	s := sizes{Index: bytes["index"] / max(requests["index"], 1), Document: bytes["logs.json"] + bytes["result.json"]}
	if predicted.ChunkedText > 0 {
		// What the chunks of this run hold is not counted, but that is as predicted.
		s.Packed = bytes["chunk"] / float64(predicted.ChunkedText)
	}
	return s
}
