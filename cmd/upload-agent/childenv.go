package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
	"github.com/taskcluster/upload-agent/schema"
)

// agentsOwn are variables that are between the agent and whoever started it: a command that has them could tell a service manager that the
// agent is ready or alive, take its sockets, or find its credentials.
var agentsOwn = []string{
	"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "FDSTORE", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "CREDENTIALS_DIRECTORY",
}

// childEnvironment is the agent's own, less what is the agent's alone, and with what the command may know of its run. The socket may be "".
func childEnvironment(environ []string, id schema.TaskID, run schema.RunID, socketPath string) []string {
	var kept []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "UPLOAD_AGENT_") && !slices.Contains(agentsOwn, name) {
			kept = append(kept, entry)
		}
	}
	kept = append(kept, "TASK_ID="+string(id), fmt.Sprintf("RUN_ID=%d", run))
	if socketPath != "" {
		kept = append(kept, socket.Variable+"="+socketPath)
	}
	return kept
}
