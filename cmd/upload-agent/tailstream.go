package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// aMoment is how long a worker has to answer, before its log is read from the storage.
const aMoment = 2 * time.Second

// preferWorker reads a log from its worker, through link, as long as that answers, and from where that ends before the log does through
// rest, which is given o with that byte.
func preferWorker(ctx context.Context, link string, o livelog.ReaderOptions, rest func(livelog.ReaderOptions) io.ReadCloser) io.ReadCloser {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: aMoment}).DialContext,
		TLSHandshakeTimeout:   aMoment,
		ResponseHeaderTimeout: aMoment,
	}
	fromWorker := o
	fromWorker.Transport, fromWorker.Attempts, fromWorker.MinPoll, fromWorker.MaxPoll = transport, 2, aMoment/10, aMoment/10
	return &workerFirst{
		ReadCloser: livelog.NewTextReader(ctx, link, fromWorker), idle: transport.CloseIdleConnections,
		o: o, rest: rest,
	}
}

// workerFirst is the reader of preferWorker. Read is for one goroutine, and Close comes after it.
type workerFirst struct {
	io.ReadCloser // what is read now
	idle          func()
	o             livelog.ReaderOptions
	rest          func(livelog.ReaderOptions) io.ReadCloser // nil once it is used
	begun         bool
}

func (w *workerFirst) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.begun = w.begun || n > 0
	var failed *livelog.ReadError
	if n > 0 || w.rest == nil || !errors.As(err, &failed) {
		return n, err
	}
	if w.begun { // else o says where
		w.o.Offset, w.o.LastLines = failed.Offset, 0
	}
	_ = w.Close() // never fails, and its reader has said all that it has to say
	w.ReadCloser, w.rest = w.rest(w.o), nil
	return w.ReadCloser.Read(p)
}

func (w *workerFirst) Close() error {
	defer w.idle()
	return w.ReadCloser.Close()
}
