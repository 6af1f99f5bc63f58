package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
)

// uploadBare is the least that a Go program can do: a PUT of each open file, without looking at what is in it.
//
// In parts, it is eight PUTs of an eighth of the file, four at once.
func uploadBare(ctx context.Context, j job) error {
	client := &http.Client{Transport: tunedTransport(j)}
	if j.Workload.Parts {
		size, path := j.Workload.Size, j.path(0)
		j.Workload.Files, j.Workload.AtOnce = 8, 4
		return each(ctx, j, func(ctx context.Context, i int) error {
			return bareEighth(ctx, client, path, j.url(i), int64(i)*size/8, int64(i+1)*size/8)
		})
	}
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

func bareEighth(ctx context.Context, client *http.Client, path, url string, from, to int64) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, section{file, to})
	if err != nil {
		return err
	}
	request.ContentLength = to - from
	return exchange(client, request)
}

// section is a file up to some offset, which the kernel sends by itself as it does a whole one: it offers SyscallConn.
type section struct {
	file *os.File // not embedded: its WriteTo would send all of it
	end  int64
}

func (s section) SyscallConn() (syscall.RawConn, error) { return s.file.SyscallConn() }

func (s section) Read(p []byte) (int, error) {
	at, err := s.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if at >= s.end {
		return 0, io.EOF
	}
	return s.file.Read(p[:min(int64(len(p)), s.end-at)])
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
