package agent_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/taskcluster/upload-agent/agent/agenttest"
)

// serverKind is what servers the tests run against: nothing is the documented queue; "quirks2014", "v2" or both, with a comma between, the first one.
var serverKind = flag.String("server", "", "run against a server of this `KIND`: quirks2014, v2 or quirks2014,v2")

// asAsked are options as -server has them.
func asAsked(o agenttest.Options) agenttest.Options {
	for kind := range strings.SplitSeq(*serverKind, ",") {
		switch kind {
		case "":
		case "quirks2014":
			o.Quirks2014 = true
		default:
			o.Signature = kind // which New checks
		}
	}
	return o
}

func TestMain(m *testing.M) {
	if queueURL := os.Getenv(workerVariable); queueURL != "" {
		worker(queueURL)
		return
	}
	if role := os.Getenv(manyVariable); role != "" {
		runChild(role)
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "agent-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	exampleDir = dir

	status := m.Run()
	for _, server := range exampleServers {
		server.Close()
	}
	if err := goleak.Find(goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop")); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}
