package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

var worker = schema.Worker{WorkerGroup: "scale", WorkerID: "scale"}

// takeRun takes one run of a profile, with one reader of its log, from its claim to its report. All its requests go through the meter.
// factor is by how much the profile and the knobs are compressed. state is the folder of the run's state.
func takeRun(ctx context.Context, server *agenttest.Server, m http.RoundTripper, state string, p profile, k knobs, factor int) error {
	task, err := server.PostTask(schema.Task{Deadline: schema.Timestamp(time.Now().Add(p.Length + 24*time.Hour))})
	if err != nil {
		return err
	}
	q, err := queue.New(server.QueueURL(), queue.Options{Transport: m})
	if err != nil {
		return err
	}
	claim, err := q.Claim(ctx, task.TaskID, worker)
	if err != nil {
		return err
	}
	flushed := make(chan struct{})
	var once sync.Once
	run, err := agent.Start(ctx, q, claim, agent.Options{
		StateDir: state, LogLimit: k.LogLimit, Publish: k.publish(factor), Uploader: upload.New(upload.Options{Transport: m}),
		Observer: agent.Observer{LogFlushed: func(string, int64) { once.Do(func() { close(flushed) }) }},
	})
	if err != nil {
		return err
	}
	defer run.Close() // a second time, unless something went wrong

	read := make(chan error, 1)
	go func() {
		defer close(read)
		select {
		case <-flushed:
		case <-run.Context().Done():
			return
		}
		url := fmt.Sprintf("%s/%s/runs/0/artifacts/%s", server.StorageURL(), task.TaskID, livelog.IndexName(agent.DefaultLog))
		reader := livelog.NewReader(ctx, url, livelog.ReaderOptions{Transport: m, MinPoll: k.minPoll})
		defer reader.Close()
		_, err := io.Copy(io.Discard, reader)
		read <- err
	}()
	if err := work(run, p, k); err != nil {
		return errors.Join(err, run.Close(), <-read)
	}
	summary, err := run.Complete(ctx, agent.Outcome{Success: true})
	if err == nil && (len(summary.Missing) > 0 || len(summary.Incomplete) > 0 && k.LogLimit == defaultKnobs.LogLimit) {
		err = fmt.Errorf("%d artifacts and logs are missing, %d not whole", len(summary.Missing), len(summary.Incomplete))
	}
	if err != nil {
		return errors.Join(err, run.Close())
	}
	return <-read
}

// work writes the log and adds the artifacts of a profile, each at its time.
func work(run *agent.Run, p profile, k knobs) error {
	start, log := time.Now(), run.Log(agent.DefaultLog)
	lines, added := 0, 0
	for {
		age := time.Since(start)
		for ; lines <= int((min(age, p.Length-1))/p.Every); lines++ { // late ones too: so short a pause is never exact
			if _, err := log.Write(line(lines, int(p.Line))); err != nil {
				return err
			}
		}
		for ; p.Artifacts > 0 && added < p.Artifacts && (age >= p.Length || !p.AtEnd && !k.AtEnd && age >= p.Length/time.Duration(p.Artifacts)*time.Duration(added)); added++ {
			if err := run.AddArtifact(fmt.Sprintf("public/%d.bin", added), upload.Bytes(noise(added, p.ArtifactBytes)), agent.ArtifactOptions{}); err != nil {
				return err
			}
		}
		if age >= p.Length {
			return nil
		}
		next := p.Every * time.Duration(lines)
		if p.Artifacts > added && !p.AtEnd && !k.AtEnd {
			next = min(next, p.Length/time.Duration(p.Artifacts)*time.Duration(added))
		}
		select {
		case <-time.After(min(next, p.Length) - age):
		case <-run.Context().Done():
			return context.Cause(run.Context())
		}
	}
}

// line is one of a log of a build, which gzip makes about a fifth of.
func line(number, size int) []byte {
	text := fmt.Appendf(nil, "[%4d.%03d] compile src/module%03d/part_%04d.cc (%d of 20000, %d ms, cached: %t)", number/10, number%10*97, number%37, number*7919%10000, number, number*31%977, number%3 == 0)
	for len(text) < size-1 {
		text = append(text, '.')
	}
	return append(text[:size-1], '\n')
}

// noise is an artifact that gzip makes no smaller.
func noise(number, size int) []byte {
	data, x := make([]byte, size), uint64(number)*2654435761+88172645463325252
	for i := range data {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		data[i] = byte(x >> 24)
	}
	return data
}
