package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// Files that change, vanish or turn out to be no files are missing, with a reason that tells nobody where the worker keeps things.
func TestReasonsHoldNoPath(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(writeFile(t, filepath.Join(dir, "fine"), "fine"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, add := range []struct {
		name    string
		source  upload.Source
		options agent.ArtifactOptions
	}{
		{"gone", upload.File(filepath.Join(dir, "gone")), agent.ArtifactOptions{}},
		{"gone typed", upload.File(filepath.Join(dir, "gone")), agent.ArtifactOptions{ContentType: "a/b"}},
		{"folder", upload.File(filepath.Join(dir, "folder")), agent.ArtifactOptions{Gzip: true}},
		{"gone in folder", upload.Place{Folder: dir, Name: "gone"}.Source(), agent.ArtifactOptions{}},
		{"gone folder", upload.Place{Folder: filepath.Join(dir, "gone"), Name: "x"}.Source(), agent.ArtifactOptions{}},
		{"link", upload.Place{Folder: dir, Name: "link"}.Source(), agent.ArtifactOptions{}},
	} {
		if err := run.AddArtifact(add.name, add.source, add.options); err != nil {
			t.Fatal(err)
		}
	}
	if err := run.AddArtifact("fine", upload.Place{Folder: dir, Name: "fine"}.Source(), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if len(r.missing()) != 6 || len(r.result().Artifacts) != 2 || string(r.stored("artifacts/fine")) != "fine" {
		t.Errorf("missing %v, stored %v", r.missing(), r.result().Artifacts)
	}
	if body := r.stored("result.json"); contains(string(body), dir) || contains(string(body), filepath.Dir(dir)) {
		t.Errorf("result.json says where the files are: %s", body)
	}
}

// A file that changes while it is uploaded is missing and says so.
func TestFileThatChangesWhileItIsUploaded(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	path := writeFile(t, filepath.Join(t.TempDir(), "changing"), text(300_000))
	change := func() error { return os.Truncate(path, 10) }
	r.options.Uploader = upload.New(upload.Options{Transport: changing{upload.NewTransport(), change}})
	t.Cleanup(r.options.Uploader.CloseIdleConnections)
	run := r.start(t.Context())
	if err := run.AddArtifact("changing", upload.Place{Folder: filepath.Dir(path), Name: "changing"}.Source(), agent.ArtifactOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if reason := fmt.Sprint(r.missing()["changing"]); !strings.Contains(reason, "changed while it was uploaded") {
		t.Errorf("missing %v", r.missing())
	}
}

// changing does something to a file before the artifact of that name is sent.
type changing struct {
	next   http.RoundTripper
	change func() error
}

func (c changing) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "artifacts/changing") {
		if err := c.change(); err != nil {
			return nil, errors.Join(err, r.Body.Close())
		}
	}
	return c.next.RoundTrip(r)
}

// The first queue does not escape names in the URLs that readers get.
func TestReadersFindNamesThatTheQueueDoesNotEscape(t *testing.T) {
	r := newRig(t, agenttest.Options{Quirks2014: true})
	names := []string{"public/what?.txt", "a#b", "100%41", "q?x=1#y%2f"}
	run := r.start(t.Context())
	for _, name := range append(names, "plain.txt") {
		if err := run.AddArtifact(name, upload.Bytes([]byte(name)), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run.Complete(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	result := r.result()
	for _, name := range append(names, "plain.txt") {
		if _, body := get(t, result.Artifacts[name]); string(body) != name {
			t.Errorf("%s leads to %q", result.Artifacts[name], body)
		}
	}
}

// withReadURLs answers as the queue, but for where artifacts are read.
func withReadURLs(t *testing.T, queueURL string, w http.ResponseWriter, req *http.Request, read func(url, name string) string) bool {
	_, call, _ := strings.Cut(req.URL.Path, "/task/")
	answer, err := http.Post(queueURL+"/task/"+call, "application/json", req.Body)
	if err != nil {
		t.Error(err)
		return false
	}
	defer answer.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Error(err)
	}
	for name, urls := range body["artifacts"].(map[string]any) {
		one := urls.(map[string]any)
		one["artifactUrl"] = read(one["artifactUrl"].(string), name)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		t.Error(err)
	}
	return true
}
