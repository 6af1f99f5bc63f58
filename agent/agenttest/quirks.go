package agenttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// quirks decides where the first queue, of April 2014, did otherwise than its document says. True: as that queue did.
// The recorded exchanges are the evidence; see the documentation of the package for the list.
type quirks bool

// firstRun is the number of a task's first run. A smaller one follows no schema of that queue's.
func (q quirks) firstRun() schema.RunID {
	if q {
		return 1
	}
	return 0
}

// lingers is for how long a run counts as running after the end of its claim: that queue looked for such runs from time to time. The claims of
// tests may be shorter than any of that queue's, 30 s: it is half of theirs then.
func (q quirks) lingers(claim time.Duration) time.Duration {
	if q {
		return min(15*time.Second, claim/2)
	}
	return 0
}

// afterClaim is how many retries a task has left once it is claimed. That queue counted runs and not what follows the first one, and one
// that came below 0 followed no schema any more: chokes says that each later call about the task is answered with an error of the queue's own.
func (q quirks) afterClaim(retries int) (left int, chokes bool) {
	if q {
		return max(0, retries-1), retries == 0
	}
	return retries, false
}

// afterLoss is how many retries a task has left once a run was taken away, and whether it may run again.
func (q quirks) afterLoss(retries int) (left int, again bool) {
	if q {
		return retries, retries > 0
	}
	return max(0, retries-1), retries > 0
}

// mayAct says whether a worker may reclaim a run of the task and report it completed. That queue asked only whether the task was running.
func (q quirks) mayAct(t schema.TaskStatus, run schema.Run) bool {
	return t.State == schema.Running && (bool(q) || t.Runs[len(t.Runs)-1] == run)
}

// mayStore says whether a worker gets URLs for artifacts of a run of the task. That queue asked nothing at all.
func (q quirks) mayStore(t schema.TaskStatus, run schema.Run) bool {
	return bool(q) || q.mayAct(t, run)
}

// told is the status in the answer to a claim: after it; or before it; or, where another task was claimed since the request
// had arrived, before that other claim, as all of them shared a variable.
func (q quirks) told(before, after schema.TaskStatus, other *schema.TaskStatus) schema.TaskStatus {
	switch {
	case !bool(q):
		return after
	case other != nil:
		return *other
	}
	return before
}

// unsignable says whether a name makes a whole request for URLs fail with an error of the queue's own: one that has to be
// escaped in a URL.
func (q quirks) unsignable(name string) bool {
	return bool(q) && strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r) })
}

// artifactURL is where readers are sent for an object. That queue put names into the URL as they are.
func (q quirks) artifactURL(storage, key string) string {
	if q {
		return storage + "/" + key
	}
	return storage + "/" + escapePath(key)
}

// unknownClaim says whether a claim of an unknown task is an error of the queue's own, and so is any call about what cannot be the id of a task.
func (q quirks) unknownClaim(err error) bool { return bool(q) && errors.Is(err, errUnknownTask) }
func (q quirks) badID(id schema.TaskID) bool { return bool(q) && !id.Valid() }

// notJSON is the plain text with which a body is refused that does not parse; "" if it does, or if the schema will say what is wrong with it.
func (q quirks) notJSON(body []byte) string {
	var syntax *json.SyntaxError
	if !bool(q) || len(body) == 0 || !errors.As(json.Unmarshal(body, new(any)), &syntax) {
		return ""
	}
	what := "Unexpected end of input"
	if at := int(syntax.Offset) - 1; at >= 0 && at < len(body) && !strings.Contains(syntax.Error(), "unexpected end") {
		what = fmt.Sprintf("Unexpected token %c", body[at])
	}
	const modules = "/srv/queue/node_modules/express/node_modules/connect/"
	return "SyntaxError: " + what + "\n    at Object.parse (native)\n    at " + modules + "lib/middleware/json.js:75:25\n" +
		"    at IncomingMessage.onEnd (" + modules + "node_modules/raw-body/index.js:109:7)\n" +
		"    at IncomingMessage.g (events.js:180:16)\n    at IncomingMessage.emit (events.js:92:17)\n" +
		"    at _stream_readable.js:944:16\n    at process._tickCallback (node.js:458:13)"
}
