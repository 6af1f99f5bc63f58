package livelog_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// A log is read over HTTP while it is written, by whoever has a link to it.
func ExampleHandler() {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("example-handler-%d.log", os.Getpid()))
	spool, err := livelog.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	defer spool.Remove()

	const name = "bXqqHBHGTKODAp1ICKPOcw/0/terminal.log" // each log another one
	links := livelog.NewLinks(nil)
	handler := livelog.NewHandler(context.Background(), spool, name, links, livelog.HandlerOptions{})
	server := httptest.NewServer(handler)
	defer server.Close()

	base, err := url.Parse(server.URL + "/?follow=1")
	if err != nil {
		log.Fatal(err)
	}
	link := links.Sign(base, name, time.Now().Add(24*time.Hour))

	resp, err := http.Get(link.Reveal())
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Fprintln(spool, "compiling")
	fmt.Fprintln(spool, "done")
	spool.Close() // the log has ended

	io.Copy(os.Stdout, resp.Body)
	// Output:
	// compiling
	// done
}
