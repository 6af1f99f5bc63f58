package agent_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/upload"
)

var replace = agent.ArtifactOptions{Replace: true}

// wantArtifact is of a completed run: what is stored last is what the summary has the digest of.
func (r *rig) wantArtifact(summary *agent.Summary, name, want string) {
	r.t.Helper()
	if got := r.stored("artifacts/" + name); string(got) != want {
		r.t.Errorf("stored %.60q, want %.60q", got, want)
	}
	if receipt, ok := summary.Artifacts[name]; !ok || receipt.Digest != upload.Sum([]byte(want)) || receipt.Size != int64(len(want)) {
		r.t.Errorf("the receipt %+v is not of %.60q", receipt, want)
	}
	if r.result().Artifacts[name] == "" || r.missing()[name] != nil {
		r.t.Errorf("result.json: artifacts %v, missing %v", r.result().Artifacts, r.missing())
	}
}

func TestReplace(t *testing.T) {
	for name, c := range map[string]struct {
		first func(r *rig, run *agent.Run, path string) // has added the artifact a, and written the file at path
		then  func(path string)
		want  string // what is stored in the end; "": nothing
		why   string // it is missing
	}{
		"nothing":  {first: func(*rig, *agent.Run, string) {}, want: "newer"},
		"a stored": {first: func(r *rig, run *agent.Run, path string) { r.addStored(run, path, replace) }, want: "newer"},
		"one that was not meant to be": {first: func(r *rig, run *agent.Run, path string) {
			r.addStored(run, path, agent.ArtifactOptions{ContentType: "text/plain"})
		}, want: "newer"},
		"a missing": {first: func(r *rig, run *agent.Run, path string) {
			r.add(run, upload.File(path+" is none"), replace)
			var missing *agent.MissingError
			if _, err := run.WaitArtifact(r.ctx(), "a"); !errors.As(err, &missing) {
				r.t.Errorf("a file that is not there: %v", err)
			}
		}, want: "newer"},
		"one said to be missing": {first: func(r *rig, run *agent.Run, path string) {
			if err := run.AddMissing("a", "not there yet"); err != nil {
				r.t.Fatal(err)
			}
		}, want: "newer"},
		"a stored, but the file is gone": {
			first: func(r *rig, run *agent.Run, path string) { r.addStored(run, path, replace) },
			then:  func(path string) { os.Remove(path) }, want: "older",
		},
		"a stored, but there is no file any more": {
			first: func(r *rig, run *agent.Run, path string) { r.addStored(run, path, replace) },
			then:  func(path string) { os.Remove(path); os.Mkdir(path, 0o700) }, why: "folder",
		},
		"a missing, and the file is gone": {
			first: func(r *rig, run *agent.Run, path string) { r.add(run, upload.File(path+" is none"), replace) },
			then:  func(path string) { os.Remove(path) }, why: "no such file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, agenttest.Options{})
			path := writeFile(t, filepath.Join(t.TempDir(), "file"), "older")
			run := r.start(t.Context())
			c.first(r, run, path)
			writeFile(t, path, "newer")
			if c.then != nil {
				c.then(path)
			}
			r.add(run, upload.File(path), replace)
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil {
				t.Fatal(err)
			}
			if c.want != "" {
				r.wantArtifact(summary, "a", c.want)
			} else if reason := fmt.Sprint(r.missing()["a"]); !strings.Contains(reason, c.why) || r.result().Artifacts["a"] != "" {
				t.Errorf("missing %q, artifacts %v", reason, r.result().Artifacts)
			}
			r.checkHistory()
		})
	}
}

// add adds the artifact a.
func (r *rig) add(run *agent.Run, source upload.Source, o agent.ArtifactOptions) {
	r.t.Helper()
	if err := run.AddArtifact("a", source, o); err != nil {
		r.t.Fatal(err)
	}
}

// addStored adds the artifact a, and waits until it is stored.
func (r *rig) addStored(run *agent.Run, path string, o agent.ArtifactOptions) {
	r.t.Helper()
	r.add(run, upload.File(path), o)
	if _, err := run.WaitArtifact(r.ctx(), "a"); err != nil {
		r.t.Fatal(err)
	}
}

func TestReplaceWhatCannotBe(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	run := r.start(t.Context())
	if err := run.AddArtifact(agent.DefaultLog, upload.Bytes(nil), replace); !errors.Is(err, agent.ErrArtifactName) {
		t.Errorf("a log: %v", err)
	}
	r.add(run, upload.Bytes([]byte("first")), agent.ArtifactOptions{})
	if err := run.AddArtifact("a", upload.Bytes([]byte("second")), agent.ArtifactOptions{}); !errors.Is(err, agent.ErrArtifactName) {
		t.Errorf("without being asked to: %v", err)
	}
	if err := run.AddMissing("a", "for no reason"); !errors.Is(err, agent.ErrArtifactName) {
		t.Errorf("by nothing: %v", err)
	}
	summary, err := run.Finish(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.AddArtifact("a", upload.Bytes([]byte("third")), replace); !errors.Is(err, agent.ErrEnded) {
		t.Errorf("when the run has its result: %v", err)
	}
	r.wantArtifact(summary, "a", "first")
}

// gate lets no request to a path that contains path through before it is opened.
type gate struct {
	next    http.RoundTripper
	path    string
	waiting chan struct{} // gets one for each that waits
	open    chan struct{}
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if contains(r.URL.Path, g.path) {
		g.waiting <- struct{}{}
		select {
		case <-g.open:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return g.next.RoundTrip(r)
}

func (r *rig) gate(path string) *gate {
	transport := &http.Transport{}
	r.t.Cleanup(transport.CloseIdleConnections)
	g := &gate{next: transport, path: path, waiting: make(chan struct{}, 100), open: make(chan struct{})}
	r.options.Uploader = upload.New(upload.Options{Transport: g})
	return g
}

// What is replaced while it is uploaded is not uploaded at the same time: the newest bytes are the last ones, and what became of the
// others does not matter.
func TestReplaceDuringTheUpload(t *testing.T) {
	for name, rewritten := range map[string]bool{"another file": false, "the same": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, agenttest.Options{})
			g := r.gate("/artifacts/a")
			sent := &bodies{next: g.next, path: "/artifacts/a"}
			g.next = sent
			path := writeFile(t, filepath.Join(t.TempDir(), "file"), text(2_000_000))
			run := r.start(t.Context())
			r.add(run, upload.File(path), replace)
			<-g.waiting
			for i := range 5 {
				if !rewritten {
					path = filepath.Join(t.TempDir(), "another")
				}
				writeFile(t, path, fmt.Sprint("version ", i)) // what is uploaded shrinks, perhaps
				r.add(run, upload.File(path), replace)
			}
			p := run.Progress()
			if len(p.Stored) != 0 || len(p.Missing) != 0 || p.Waiting != 1 {
				t.Errorf("meanwhile: %+v", p)
			}
			close(g.open)
			summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
			if err != nil {
				t.Fatal(err)
			}
			r.wantArtifact(summary, "a", "version 4")
			if sent.atOnce() > 1 {
				t.Errorf("%d uploads at once", sent.atOnce())
			}
			if n := len(sent.all()); n > 3 {
				t.Errorf("%d uploads, for what was under way and the newest", n)
			}
			r.checkHistory()
		})
	}
}

// A process dies between the moment that an artifact is to be replaced and the one that the newer is known to be stored: whatever the storage
// holds, the next process stores the newest.
func TestReplaceAndDie(t *testing.T) {
	for _, fault := range []string{"stall", "lost"} { // nothing of the newer is stored; or all of it, and nobody knows
		for _, ended := range []bool{true, false} { // before the process died
			t.Run(fmt.Sprint(fault, " ", ended), func(t *testing.T) {
				plan, err := agenttest.ParseFaults("", 1)
				if err != nil {
					t.Fatal(err)
				}
				m := newMortalWith(t, 1, agenttest.Options{Faults: plan})
				m.options.Uploader = upload.New(upload.Options{}) // which does not give up what hangs
				t.Cleanup(m.options.Uploader.CloseIdleConnections)
				path := writeFile(t, filepath.Join(t.TempDir(), "file"), "older")
				run := m.start(t.Context())
				m.addStored(run, path, replace)
				m.noted("the older", func(s journal.State) bool { return len(s.Stored) == 1 })
				m.inject(agenttest.Fault{What: "put", Kind: fault, Path: "artifacts/a"})
				writeFile(t, path, "newer")
				m.add(run, upload.File(path), replace)
				eventually(t, "the newer under way", func() bool { return m.count("put", "artifacts/a") > 1 })
				if fault == "lost" {
					eventually(t, "the newer in the storage", func() bool { return string(m.stored("artifacts/a")) == "newer" })
				}
				outcome := make(chan error, 1)
				if ended {
					go func() { _, err := run.Complete(m.ctx(), agent.Outcome{Success: true}); outcome <- err }()
					m.noted("the outcome", func(s journal.State) bool { return s.Outcome != nil })
				} else {
					outcome <- nil
				}
				m.kill(run)
				<-outcome
				plan.Clear()
				writeFile(t, path, "newest") // the process that the agent has started is still there
				if run, err = m.resume(); err != nil {
					t.Fatal(err)
				}
				var summary *agent.Summary
				if ended {
					summary, err = run.Conclude(m.ctx())
				} else {
					summary, err = run.Complete(m.ctx(), agent.Outcome{Success: true})
				}
				if err != nil {
					t.Fatal(err)
				}
				m.wantArtifact(summary, "a", "newest")
				if len(summary.Skipped) > 0 {
					t.Errorf("skipped %v", summary.Skipped)
				}
				m.checkHistory()
			})
		}
	}
}

// Whoever takes a run up again, and adds what there is, replaces what is stored where it is not the same any more.
func TestReplaceAfterAResume(t *testing.T) {
	for name, now := range map[string]string{"same": "older", "other": "newer"} {
		t.Run(name, func(t *testing.T) {
			m := newMortal(t, 1)
			path := writeFile(t, filepath.Join(t.TempDir(), "file"), "older")
			run := m.start(t.Context())
			m.addStored(run, path, replace)
			m.noted("the artifact", func(s journal.State) bool { return len(s.Stored) == 1 })
			m.kill(run)
			writeFile(t, path, now)
			run, err := m.resume()
			if err != nil {
				t.Fatal(err)
			}
			m.add(run, upload.File(path), replace)
			summary, err := run.Complete(m.ctx(), agent.Outcome{Success: true})
			if err != nil {
				t.Fatal(err)
			}
			m.wantArtifact(summary, "a", now)
			if again := m.count("put", "artifacts/a") > 1; again != (now != "older") {
				t.Errorf("stored again: %t", again)
			}
		})
	}
}

// Many artifacts that change time and again, with a storage that fails now and then: in the end each is what it was last.
func TestReplaceManyTimes(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	r.inject(agenttest.Fault{What: "put", Kind: "503", Probability: 0.2, Path: "/artifacts/"})
	r.inject(agenttest.Fault{What: "put", Kind: "lost", Probability: 0.1, Path: "/artifacts/"})
	dir := t.TempDir()
	run := r.start(t.Context())
	want := map[string][]byte{}
	for i := range 200 {
		name := fmt.Sprint("file", i*7%20)
		want[name] = bytes.Repeat([]byte(fmt.Sprint(i)), i)
		if err := run.AddArtifact(name, upload.File(writeFile(t, filepath.Join(dir, name), string(want[name]))), replace); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range want {
		r.wantArtifact(summary, name, string(body))
	}
	r.checkHistory()
}
