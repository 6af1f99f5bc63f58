package amqp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/agenttest"
)

// A batch ends before the second message of a task.
func TestBatch(t *testing.T) {
	var many strings.Builder
	for i := range 2 * maxBatch {
		fmt.Fprintf(&many, "task%d ", i)
	}
	for tasks, want := range map[string]int{"": 0, "a": 1, "a b c": 3, "a a": 1, "a b c b d": 3, many.String(): maxBatch} {
		var pending []agenttest.Event
		for task := range strings.FieldsSeq(tasks) {
			pending = append(pending, agenttest.Event{RoutingKey: task + ".0.group.worker.p.w.a.b"})
		}
		if got := batch(pending); got != want {
			t.Errorf("%.20s: %d, want %d", tasks, got, want)
		}
	}
}
