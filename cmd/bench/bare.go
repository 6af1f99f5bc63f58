package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

// uploadBare is the least that a Go program can do: a PUT of each open file, without looking at what is in it.
func uploadBare(ctx context.Context, j job) error {
	client := &http.Client{Transport: tunedTransport(j)}
	return each(ctx, j, func(ctx context.Context, i int) error { return barePut(ctx, client, j.path(i), j.url(i)) })
}

func barePut(ctx context.Context, client *http.Client, path, url string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, file)
	if err != nil {
		return err
	}
	request.ContentLength = info.Size()
	return exchange(client, request)
}

func exchange(client *http.Client, request *http.Request) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT: %s", response.Status)
	}
	return nil
}

// each does something for every file, as many at once as the workload says. The first error ends it.
func each(ctx context.Context, j job, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wait sync.WaitGroup
	for range j.Workload.AtOnce {
		wait.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range j.Workload.Files {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wait.Wait()
	return context.Cause(ctx)
}
