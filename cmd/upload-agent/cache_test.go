package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
)

// A cache stands between the storage and its readers, and keeps what it has for a day. Who follows a live log is not fooled by an old index, nor
// is who waits for a document by the memory that it was not there.
func TestReadersGetPastACache(t *testing.T) {
	for name, cache := range map[string]agenttest.Cache{
		"that does as it is told":                            {Life: aDay},
		"that does as it is told, and does not tell its age": {Life: aDay, NoAge: true},
		"that does as it likes with an index":                {Life: aDay, Deaf: true, Path: "index.json"},
	} {
		t.Run(name, func(t *testing.T) {
			var later atomic.Int64
			dir := t.TempDir()
			server, err := agenttest.New(dir, agenttest.Options{Cache: cache, Clock: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			docs := completedRun(server.StorageURL())
			write := func(path, body string) {
				t.Helper()
				file := filepath.Join(dir, goodID, path)
				err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file+".new", []byte(body), 0o644), os.Rename(file+".new", file))
				if err != nil {
					t.Fatal(err)
				}
			}
			index := func(complete bool, tail string) string {
				return fmt.Sprintf(`{"version":"0.2.0","size":%d,"complete":%t,"pollAfterMs":100,"chunks":[],"tail":"%s"}`, len(tail)/4*3, complete, tail)
			}
			write("task.json", docs["task.json"])
			write("runs/0/logs.json", logsOf(`"live/terminal.log":"`+server.StorageURL()+"/"+goodID+`/index.json","terminal.log":"http://127.0.0.1:1/"`))
			write("index.json", index(false, "b25lIG9uZSAx")) // "one one 1"
			storage, err := queue.NewStorage(server.StorageURL(), queue.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := storage.Result(t.Context(), goodID, 0); !errors.Is(err, queue.ErrNotFound) {
				t.Fatal(err)
			}

			var stdout, stderr output
			ended := make(chan int, 1)
			go func() {
				ended <- run([]string{"upload-agent", "tail", "-f", "--storage", server.StorageURL(), goodID + "/0"}, nil, &stdout, &stderr)
			}()
			until(t, "the old index", func() bool { return strings.Contains(stdout.String(), "one one 1") })
			write("index.json", index(true, "b25lIG9uZSAxdHdvIHR3byAy")) // "one one 1two two 2"
			write("runs/0/result.json", docs["runs/0/result.json"])
			later.Store(int64(time.Hour)) // what is in the cache is old now
			select {
			case status := <-ended:
				if status != 0 || stdout.String() != "one one 1two two 2" {
					t.Errorf("status %d, %q, %s", status, stdout.String(), stderr.String())
				}
			case <-time.After(patience):
				t.Fatalf("tail is fooled: %q, %s", stdout.String(), stderr.String())
			}
			if _, err := storage.Result(t.Context(), goodID, 0); err != nil {
				t.Errorf("result.json, after it was not there: %v", err)
			}
			var shown bytes.Buffer
			if status := run([]string{"upload-agent", "inspect", "--storage", server.StorageURL(), goodID}, nil, &shown, &stderr); status != 0 || !strings.Contains(shown.String(), "artifact a  ") {
				t.Errorf("inspect: %d, %s", status, shown.String())
			}
		})
	}
}
