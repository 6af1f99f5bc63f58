package agenttest

import (
	"fmt"
	"io/fs"
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
	objects    objects
	storageURL string

	blind bool          // nobody tells of what is stored: it has to be looked for
	late  time.Duration // how long after the end of a claim a report may arrive

	mu         sync.Mutex
	completed  map[string]bool              // folders of completed runs
	sealed     map[string]map[string]string // where nobody tells of what is stored: the ETags of the objects of reported runs, by folder
	tenures    map[string]tenure            // by the folders of the runs
	violations []string
}

// tenure is how long a run is its worker's.
type tenure struct {
	until time.Time // by the server's clock
	told  time.Time // when a reclaim was answered with 404, by the clock of package time; zero if none was since the last extension
}

func newOrder(s objects, storageURL string, late time.Duration) *order {
	return &order{objects: s, storageURL: storageURL, late: late, completed: map[string]bool{}, sealed: map[string]map[string]string{}, tenures: map[string]tenure{}}
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
	result, invalid := o.result(folder)
	stored, err := o.objects.list(folder)
	if err != nil {
		o.violate("%s: reported completed, and nobody can tell what was stored then: %v", folder, err)
		return
	}
	for _, name := range []string{"result.json", "logs.json"} {
		if _, ok := stored[folder+name]; !ok {
			o.violate("%s: reported completed while %s was not stored", folder, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(result.Artifacts)) {
		if key, ours := o.key(result.Artifacts[name]); ours && !o.stored(key, stored) {
			o.violate("%s: reported completed while its artifact %q was not stored", folder, name)
		}
	}
	if invalid != nil {
		o.violate("%s: reported completed with an invalid result.json: %v", folder, invalid)
	}
	o.seal(folder, stored)
}

// result is the result.json of a run, and what is wrong with it; there may be none.
func (o *order) result(folder string) (schema.Result, error) {
	data, err := o.objects.read(folder + "result.json")
	if err != nil {
		return schema.Result{}, ignore(err, fs.ErrNotExist)
	}
	return schema.Decode[schema.Result](folder+"result.json", data)
}

// stored tells whether there is such an object, which may lie beside those that are known.
func (o *order) stored(key string, known map[string]string) bool {
	_, ok := known[key]
	if !ok {
		others, err := o.objects.list(key)
		_, ok = others[key]
		ok = ok && err == nil
	}
	return ok
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

// changed is called when an object was stored.
func (o *order) changed(key string, before, after *meta) {
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
	o.look()
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.violations)
}
