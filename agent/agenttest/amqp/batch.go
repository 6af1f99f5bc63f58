package amqp

import (
	"strings"

	"github.com/taskcluster/upload-agent/agent/agenttest"
)

// maxBatch is how many messages may be on their way to the broker at once.
const maxBatch = 256

// batch is how many of the pending events, from the first on, may be on their way at once: no two of one task. So one that has to be repeated
// is repeated before any later one of its task is sent.
func batch(pending []agenttest.Event) int {
	tasks := map[string]bool{}
	for i, e := range pending {
		task, _, _ := strings.Cut(e.RoutingKey, ".")
		if tasks[task] || i == maxBatch {
			return i
		}
		tasks[task] = true
	}
	return len(pending)
}
