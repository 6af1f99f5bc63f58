package agent_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// oldQueue answers status to every request for signed URLs that has a name with a space in it, as the first queue does with 500.
// It counts the requests by how many names they have; those for chunks and the like are not counted.
type oldQueue struct {
	status int
	ill    int // answers 500 to so many requests first, whatever they ask for

	mu    sync.Mutex
	asked []string // "2 bad": two names, one of them bad
}

func (q *oldQueue) handle(w http.ResponseWriter, req *http.Request) bool {
	if !strings.HasSuffix(req.URL.Path, "/artifact-urls") {
		return false
	}
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	asked, err := schema.Decode[schema.ArtifactURLsRequest]("request", body)
	bad := false
	for name := range asked.Artifacts {
		bad = bad || strings.Contains(name, " ")
	}
	what := fmt.Sprint(len(asked.Artifacts))
	if bad {
		what += " bad"
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked = append(q.asked, what)
	q.ill--
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case q.ill >= 0:
		w.WriteHeader(http.StatusInternalServerError)
	case bad:
		w.WriteHeader(q.status)
	default:
		return false
	}
	fmt.Fprint(w, `{"message":"Internal Server Error","error":{"info":"Ask","incidentId":"769bd7d0"}}`)
	return true
}

func (q *oldQueue) count(what string) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, asked := range q.asked {
		if asked == what {
			n++
		}
	}
	return n
}

// A log whose name the queue cannot sign is missing, with the reason; the other logs and the artifacts are not taken down with it.
func TestOneNameIsBad(t *testing.T) {
	for status, tries := range map[int]int{500: 3, 400: 1, 403: 1} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{})
			old := &oldQueue{status: status}
			r.between(old.handle)
			r.options.Logs = []string{"a.log", "b.log", "bad one.log", "c.log", "d.log"}
			r.options.GiveUpAfter = 5 * time.Second // of the bad artifact
			run := r.start(t.Context())
			for _, name := range r.options.Logs {
				fmt.Fprintln(run.Log(name), "a line of", name)
			}
			for _, name := range []string{"good", "bad artifact"} {
				if err := run.AddArtifact(name, upload.Bytes([]byte(name)), agent.ArtifactOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil || !summary.Reported {
				t.Fatalf("Complete = %+v, %v", summary, err)
			}

			missing := r.missing()
			for _, name := range []string{"bad one.log", "bad artifact"} {
				if reason, _ := missing[name].(string); !strings.Contains(reason, fmt.Sprint(status)) || summary.Missing[name] != reason {
					t.Errorf("missing %s: %q, want the queue's %d", name, reason, status)
				}
			}
			logs, err := schema.Decode[schema.Logs]("logs.json", r.stored("logs.json"))
			if err != nil || len(logs.Logs) != 8 || len(missing) != 2 || len(r.result().Artifacts) != 5 {
				t.Errorf("logs.json names %v (%v), result.json %v; missing %v", logs.Logs, err, r.result().Artifacts, missing)
			}
			for _, name := range []string{"a.log", "b.log", "c.log", "d.log"} {
				if got := string(r.stored("artifacts/" + name)); got != "a line of "+name+"\n" || logs.Logs[name] == "" || logs.Logs["live/"+name] == "" {
					t.Errorf("%s: stored %q, in logs.json at %q", name, got, logs.Logs[name])
				}
			}
			if got := string(r.stored("artifacts/good")); got != "good" {
				t.Errorf("the good artifact is stored as %q", got)
			}
			// Ten names: the log's text and its index have to be cornered, one in each half.
			for _, names := range []int{10, 5} {
				want := map[int]int{10: 1, 5: 2}[names] * tries
				if got := old.count(fmt.Sprint(names, " bad")); got != want {
					t.Errorf("%d requests for %d names with a bad one, want %d", got, names, want)
				}
			}
			r.checkHistory()
		})
	}
}

// A queue that answers 500 to everything for a while is ill: no name is blamed, even if it recovers amid the halving.
func TestQueueIsIllAndNoNameIsBad(t *testing.T) {
	for _, ill := range []int{10, 30} { // amid the second lone name; after all of them
		t.Run(fmt.Sprint(ill), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{})
			old := &oldQueue{ill: ill}
			r.between(old.handle)
			r.options.Logs = []string{"a.log", "b.log"}
			run := r.start(t.Context())
			eventually(t, "logs.json", func() bool { return r.stored("logs.json") != nil })
			fmt.Fprintln(run.Log("a.log"), "a line")
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil || len(summary.Missing) > 0 {
				t.Fatalf("Complete = %+v, %v", summary, err)
			}
			logs, err := schema.Decode[schema.Logs]("logs.json", r.stored("logs.json"))
			if err != nil || len(logs.Logs) != 4 || string(r.stored("artifacts/a.log")) != "a line\n" {
				t.Errorf("logs.json names %v (%v); stored %q", logs.Logs, err, r.stored("artifacts/a.log"))
			}
			r.checkHistory()
		})
	}
}

// Where no name is granted for as long as that is tried, each is missing, and the run ends all the same.
func TestOnlyNameIsBad(t *testing.T) {
	t.Parallel()
	r := newRig(t, agenttest.Options{})
	old := &oldQueue{status: 500}
	r.between(old.handle)
	r.options.Logs = []string{"bad one.log"}
	r.options.GiveUpAfter = 300 * time.Millisecond
	run := r.start(t.Context())
	fmt.Fprintln(run.Log("bad one.log"), "a line")
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil || !strings.Contains(summary.Missing["bad one.log"], "500") || !slices.Equal([]int{len(summary.Missing), len(summary.Artifacts)}, []int{1, 0}) {
		t.Fatalf("Complete = %+v, %v", summary, err)
	}
	r.checkHistory()
}
