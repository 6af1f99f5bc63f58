package agent_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/taskcluster/upload-agent/agent"
)

// A worker that readers can reach serves its logs itself while they are written; logs.json has the links.
func ExampleStream() {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux) // your server, as readers reach it
	defer server.Close()
	stream, err := agent.NewStream(server.URL+"/logs/", agent.StreamOptions{})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/logs/", stream)

	q, storage, claim := claimedTask() // of your queue
	run, err := agent.Start(context.Background(), q, claim, agent.Options{Stream: stream})
	if err != nil {
		log.Fatal(err)
	}
	defer run.Close()
	terminal := run.Log("terminal.log")
	fmt.Fprintln(terminal, "compiling")

	// A reader, meanwhile:
	resp, err := http.Get(linkOf(storage, claim, "stream/terminal.log") + "&follow=1")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()

	fmt.Fprintln(terminal, "done")
	if _, err := run.Complete(context.Background(), agent.Outcome{Success: true}); err != nil {
		log.Fatal(err)
	}
	io.Copy(os.Stdout, resp.Body)
	// Output:
	// compiling
	// done
}
