package agenttest

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// order checks the promise that whoever hears of a completed run can read it.
type order struct {
	storage    *storage
	storageURL string

	late time.Duration // how long after the end of a claim a report may arrive

	mu         sync.Mutex
	completed  map[string]bool   // folders of completed runs
	tenures    map[string]tenure // by the folders of the runs
	violations []string
}

// tenure is how long a run is its worker's.
type tenure struct {
	until time.Time // by the server's clock
	told  time.Time // when a reclaim was answered with 404, by the clock of package time; zero if none was since the last extension
}

func newOrder(s *storage, storageURL string, late time.Duration) *order {
	return &order{storage: s, storageURL: storageURL, late: late, completed: map[string]bool{}, tenures: map[string]tenure{}}
}

// extended is called when a claim begins or is extended.
func (o *order) extended(id schema.TaskID, run schema.RunID, until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tenures[runPath(id, run)] = tenure{until: until}
}

// told is called after a worker's reclaim was answered with 404 (409, 410). A 404 to any other call is no more than a hint.
func (o *order) told(id schema.TaskID, run schema.RunID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.tenures[runPath(id, run)]
	if t.told.IsZero() {
		t.told = time.Now()
		o.tenures[runPath(id, run)] = t
	}
}

// inTime checks that a report comes from a worker that may think that the run is its own. A repeated report of a completed run
// harms nobody, and one may be on its way when the claim ends.
func (o *order) inTime(folder string, now time.Time) {
	o.mu.Lock()
	t, completed := o.tenures[folder], o.completed[folder]
	o.mu.Unlock()
	switch {
	case completed:
	case !t.told.IsZero() && time.Since(t.told) > o.late:
		o.violate("%s: reported completed %v after its worker was told that the claim is lost", folder, time.Since(t.told))
	case !t.until.IsZero() && now.Sub(t.until) > o.late:
		o.violate("%s: reported completed %v after its claim had lapsed", folder, now.Sub(t.until))
	}
}

// reported is called when a completed request arrives, whatever will become of it.
func (o *order) reported(id schema.TaskID, run schema.RunID, now time.Time) {
	folder := runPath(id, run)
	o.inTime(folder, now)
	for _, name := range []string{"result.json", "logs.json"} {
		if !o.storage.stored(folder + name) {
			o.violate("%s: reported completed while %s was not stored", folder, name)
		}
	}
	data, err := o.storage.read(folder + "result.json")
	if err != nil {
		return // said above
	}
	result, err := schema.Decode[schema.Result](folder+"result.json", data)
	if err != nil {
		o.violate("%s: reported completed with an invalid result.json: %v", folder, err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(result.Artifacts)) {
		if key, ours := o.key(result.Artifacts[name]); ours && !o.storage.stored(key) {
			o.violate("%s: reported completed while its artifact %q was not stored", folder, name)
		}
	}
}

// key is the object that a URL of our storage names.
func (o *order) key(raw string) (key string, ours bool) {
	escaped, ours := strings.CutPrefix(raw, o.storageURL+"/")
	if !ours {
		return "", false
	}
	u, err := url.Parse("/" + escaped)
	if err != nil {
		return "", true
	}
	return strings.TrimPrefix(u.Path, "/"), true
}

// accepted is called when the queue has accepted a run as completed.
func (o *order) accepted(id schema.TaskID, run schema.RunID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.completed[runPath(id, run)] = true
}

// putArrived is called when a PUT arrives, whatever will become of it.
func (o *order) putArrived(key string) {
	if o.closed(key) {
		o.violate("%s: a PUT arrived after its run was completed", key)
	}
}

// stored is called when an object was stored.
func (o *order) stored(key string, before, after *meta) {
	if o.closed(key) && (before == nil || before.ETag != after.ETag) {
		o.violate("%s: changed after its run was completed", key)
	}
}

// closed tells whether a key belongs to a completed run.
func (o *order) closed(key string) bool {
	parts := strings.SplitN(key, "/", 4) // taskId, "runs", runId, name
	if len(parts) < 4 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.completed[strings.Join(parts[:3], "/")+"/"]
}

func (o *order) violate(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.violations = append(o.violations, fmt.Sprintf(format, args...))
}

func (o *order) list() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.violations)
}
