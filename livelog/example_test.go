package livelog_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"

	"github.com/taskcluster/upload-agent/livelog"
)

// A log is written, published and followed at the same time.
func Example() {
	// An object storage: PUT stores, GET reads.
	var objects sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		object, ok := objects.Load(req.URL.Path)
		switch {
		case req.Method == http.MethodPut:
			body, _ := io.ReadAll(req.Body)
			objects.Store(req.URL.Path, body)
		case ok:
			w.Write(object.([]byte))
		default:
			http.NotFound(w, req)
		}
	}))
	defer server.Close()

	dir, err := os.MkdirTemp("", "livelog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	spool, err := livelog.Create(filepath.Join(dir, "terminal.log"))
	if err != nil {
		log.Fatal(err)
	}
	defer spool.Remove()

	// How to store an object: with a signed URL, in real life.
	store := func(ctx context.Context, o livelog.Object) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, server.URL+"/"+o.Name, o.Body)
		if err != nil {
			return "", err
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			return "", err
		}
		return server.URL + "/" + o.Name, resp.Body.Close()
	}

	ctx := context.Background()
	var publishing sync.WaitGroup
	publishing.Go(func() {
		if _, err := livelog.Publish(ctx, "terminal.log", spool, store, livelog.PublishOptions{}); err != nil {
			log.Print(err)
		}
	})

	fmt.Fprintln(spool, "compiling")
	fmt.Fprintln(spool, "done")
	spool.Close() // the log has ended

	reader := livelog.NewReader(ctx, server.URL+"/"+livelog.IndexName("terminal.log"), livelog.ReaderOptions{})
	defer reader.Close()
	if _, err := io.Copy(os.Stdout, reader); err != nil {
		log.Print(err)
	}
	publishing.Wait()
	// Output:
	// compiling
	// done
}

func ExampleSpool() {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("example-%d.log", os.Getpid()))
	spool, err := livelog.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	defer spool.Remove()

	fmt.Fprintln(spool, "hello")
	spool.Close()

	size, sealed, err := spool.Wait(context.Background(), 0)
	fmt.Println(size, sealed, err)
	io.Copy(os.Stdout, spool.Section(0, size))
	// Output:
	// 6 true <nil>
	// hello
}
