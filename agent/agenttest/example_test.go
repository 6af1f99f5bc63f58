package agenttest_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

func ExampleNew() {
	dir, err := os.MkdirTemp("", "agenttest")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	srv, err := agenttest.New(dir, agenttest.Options{})
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	claim, err := srv.PostAndClaim(schema.Worker{})
	if err != nil {
		panic(err)
	}

	body := strings.NewReader(`{"version":"0.2.0","logs":{}}`)
	put, err := http.NewRequest(http.MethodPut, claim.LogsPutURL.Reveal(), body)
	if err != nil {
		panic(err)
	}
	put.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(put)
	if err != nil {
		panic(err)
	}
	answer.Body.Close()
	stored, err := srv.Object(string(claim.TaskID) + "/runs/0/logs.json")
	fmt.Println(answer.Status, string(stored), err)
	// Output: 200 OK {"version":"0.2.0","logs":{}} <nil>
}
