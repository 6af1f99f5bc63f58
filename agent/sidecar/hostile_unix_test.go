//go:build linux || darwin

package sidecar_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/sidecar"
	"github.com/taskcluster/upload-agent/schema"
)

const secret = "SECRET that is outside"

// hostile makes a run folder that is not what it should be.
type hostile struct {
	*worker
	outside string // a folder with files "secret" and "claim.json"
}

func (h hostile) link(to, name string) {
	h.t.Helper()
	h.must(os.RemoveAll(h.path(name)))
	h.must(os.Symlink(to, h.path(name)))
}

func (h hostile) hardLink(name string) {
	h.t.Helper()
	h.must(os.RemoveAll(h.path(name)))
	h.must(os.Link(filepath.Join(h.outside, "secret"), h.path(name)))
}

func (h hostile) fifo(name string) {
	h.t.Helper()
	h.must(os.RemoveAll(h.path(name)))
	h.must(syscall.Mkfifo(h.path(name), 0o600))
}

func (h hostile) socket(name string) {
	h.t.Helper()
	h.must(os.RemoveAll(h.path(name)))
	dir, err := os.MkdirTemp("", "s") // the whole name of a socket has to be short
	h.must(err)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	h.must(err)
	h.t.Cleanup(func() { l.Close(); os.RemoveAll(dir) })
	h.must(os.Rename(filepath.Join(dir, "s"), h.path(name)))
}

func (h hostile) claimIs(text string) {
	h.t.Helper()
	h.document("claim.json", []byte(text))
}

// edit changes the text of the claim.
func (h hostile) edit(old, new string) {
	h.t.Helper()
	claim := string(h.claimJSON())
	if !strings.Contains(claim, old) {
		h.t.Fatalf("there is no %s in %s", old, claim)
	}
	h.claimIs(strings.Replace(claim, old, new, 1))
}

// hostileFolders are run folders, and what has to be said of them.
var hostileFolders = []struct {
	name  string
	make  func(h hostile)
	where string // "folder": nothing can be written there; "": no run; else the file that there is a problem with, in a run that goes on
	says  string
	who   string // "root" or "nobody" where only they can make it
}{
	{"folder is a link out", func(h hostile) { h.link(h.outside, "") }, "folder", "not a folder but a symbolic link", ""},
	{"folder is a link to another", func(h hostile) { h.link("good", "") }, "folder", "not a folder but a symbolic link", ""},
	{"folder is a link to nowhere", func(h hostile) { h.link("nowhere", "") }, "folder", "not a folder but a symbolic link", ""},
	{"folder is a FIFO", func(h hostile) { h.fifo("") }, "folder", "not a folder but a named pipe", ""},
	{"folder is a socket", func(h hostile) { h.socket("") }, "folder", "not a folder but a socket", ""},
	{"folder is a file", func(h hostile) {
		h.must(os.RemoveAll(h.dir))
		h.must(os.WriteFile(h.dir, []byte("{}"), 0o600))
	}, "folder", "not a folder but a file", ""},
	{"folder is a device", func(h hostile) {
		h.must(os.RemoveAll(h.dir))
		h.must(syscall.Mknod(h.dir, syscall.S_IFCHR|0o600, 0x103))
	}, "folder", "not a folder but a device", "root"},
	{"folder cannot be opened", func(h hostile) { h.must(os.Chmod(h.dir, 0)) }, "folder", "permission denied", "nobody"},
	{"folder cannot be written to", func(h hostile) { h.must(os.Chmod(h.dir, 0o500)) }, "folder", "permission denied", "nobody"},
	{"status is a folder", func(h hostile) { h.must(os.MkdirAll(h.path("status.json/x"), 0o700)) }, "folder", "write status.json", ""},
	{"name of the new status is taken", func(h hostile) { h.must(os.MkdirAll(h.path(".status.json.new/x"), 0o700)) }, "folder", "write status.json", ""},

	{"claim is a link out", func(h hostile) { h.link(filepath.Join(h.outside, "claim.json"), "claim.json") }, "", "claim.json: not a regular file but a symbolic link", ""},
	{"claim is a link", func(h hostile) {
		h.must(os.Rename(h.path("claim.json"), h.path("c")))
		h.link("c", "claim.json")
	}, "", "claim.json: not a regular file but a symbolic link", ""},
	{"claim is a hard link", func(h hostile) { h.hardLink("claim.json") }, "", "claim.json: a hard link", ""},
	{"claim is a FIFO", func(h hostile) { h.fifo("claim.json") }, "", "claim.json: not a regular file but a named pipe", ""},
	{"claim is a socket", func(h hostile) { h.socket("claim.json") }, "", "claim.json: not a regular file but a socket", ""},
	{"claim is a folder", func(h hostile) {
		h.must(os.Remove(h.path("claim.json")))
		h.must(os.Mkdir(h.path("claim.json"), 0o700))
	}, "", "claim.json: not a regular file but a folder", ""},
	{"claim is another user's", func(h hostile) { h.must(os.Chown(h.path("claim.json"), 12345, -1)) }, "", "claim.json: it belongs to user 12345", "root"},
	{"claim cannot be read", func(h hostile) { h.must(os.Chmod(h.path("claim.json"), 0)) }, "", "claim.json: permission denied", "nobody"},
	{"claim is gigantic", func(h hostile) { h.claimIs(`{"x": "` + strings.Repeat("x", 3<<20) + `"}`) }, "", "claim.json: larger than 1048576 bytes", ""},
	{"claim is empty", func(h hostile) { h.claimIs("") }, "", "claim.json: ", ""},
	{"claim is half written", func(h hostile) { h.claimIs(string(h.claimJSON()[:200])) }, "", "claim.json: ", ""},
	{"claim is no JSON", func(h hostile) { h.claimIs("\x00\xff\x1b[31m") }, "", "claim.json: ", ""},
	{"claim is deep", func(h hostile) { h.claimIs(strings.Repeat("[", 500_000)) }, "", "claim.json: ", ""},
	{"claim is null", func(h hostile) { h.claimIs("null") }, "", "want an object", ""},
	{"claim has no worker", func(h hostile) { h.edit(`"workerId":"worker"`, `"workerIdd":"worker"`) }, "", "workerId", ""},
	{"claim has an odd run", func(h hostile) { h.edit(`"runId":0`, `"runId":"../../x"`) }, "", "/runId: want an integer from 0 to 1000", ""},
	{"claim has an odd task", func(h hostile) { h.edit(`"taskId":"`, `"taskId":"../`) }, "", "taskId", ""},
	{"claim is another run's", func(h hostile) {
		claim, err := os.ReadFile(filepath.Join(h.dir, "..", "good", "claim.json"))
		h.must(err)
		h.claimIs(string(claim))
	}, "", "the run is that of the folder good", ""},

	{"finish is a link out", func(h hostile) { h.link(filepath.Join(h.outside, "secret"), "finish.json") }, "finish.json", "not a regular file but a symbolic link", ""},
	{"finish is a FIFO", func(h hostile) { h.fifo("finish.json") }, "finish.json", "not a regular file but a named pipe", ""},
	{"finish is gigantic", func(h hostile) {
		h.document("finish.json", bytes.Repeat([]byte(" "), 17<<20))
	}, "finish.json", "larger than 16777216 bytes", ""},
	{"finish is another user's", func(h hostile) {
		h.finish()
		h.must(os.Chown(h.path("finish.json"), 12345, -1))
	}, "finish.json", "it belongs to user 12345", "root"},

	{"logs are a link out", func(h hostile) { h.link(h.outside, "logs") }, "logs", "not a folder but a symbolic link", ""},
	{"logs are a file", func(h hostile) {
		h.must(os.Remove(h.path("logs")))
		h.write("logs", "x")
	}, "logs", "not a folder but a file", ""},
	{"log is a link out", func(h hostile) { h.link(filepath.Join(h.outside, "secret"), "logs/x") }, "logs/x", "not a regular file but a symbolic link", ""},
	{"log is a link to another run's", func(h hostile) { h.link("../../good/claim.json", "logs/x") }, "logs/x", "not a regular file but a symbolic link", ""},
	{"log is a hard link", func(h hostile) { h.hardLink("logs/x") }, "logs/x", "a hard link", ""},
	{"log is a FIFO", func(h hostile) { h.fifo("logs/x") }, "logs/x", "not a regular file but a named pipe", ""},
	{"log is a socket", func(h hostile) { h.socket("logs/x") }, "logs/x", "not a regular file but a socket", ""},
	{"log cannot be read", func(h hostile) {
		h.write("logs/x", "x")
		h.must(os.Chmod(h.path("logs/x"), 0))
	}, "logs/x", "permission denied", "nobody"},
	{"log is below live", func(h hostile) { h.write("logs/live/x", "x") }, "logs/live/x", "where live logs are kept", ""},
	{"log has control characters", func(h hostile) { h.write("logs/a\n\x1b[31m", "x") }, "logs/a\uFFFD\uFFFD[31m", "control character", ""},
	{"logs are many", func(h hostile) {
		for i := range 20 {
			h.write(fmt.Sprintf("logs/%02d", i), "x")
		}
	}, "logs/19", "more than 10 logs", ""},
	{"logs are deep", func(h hostile) { h.write("logs/"+strings.Repeat("d/", 40)+"x", "x") }, "logs/" + strings.TrimSuffix(strings.Repeat("d/", 32), "/"), "more than 32 folders in each other", ""},

	{"artifacts are a link out", func(h hostile) { h.link(h.outside, "artifacts") }, "artifacts", "not a folder but a symbolic link", ""},
	{"artifact is a link out", func(h hostile) { h.link(filepath.Join(h.outside, "secret"), "artifacts/x") }, "artifacts/x", "not a regular file but a symbolic link", ""},
	{"artifact is below a link out", func(h hostile) { h.link(h.outside, "artifacts/d") }, "artifacts/d", "not a regular file but a symbolic link", ""},
	{"artifact is a hard link", func(h hostile) { h.hardLink("artifacts/x") }, "!x", "is a hard link", ""},
	{"artifact is a FIFO", func(h hostile) { h.fifo("artifacts/x") }, "artifacts/x", "not a regular file but a named pipe", ""},
	{"artifact is a device", func(h hostile) { h.must(syscall.Mknod(h.path("artifacts/x"), syscall.S_IFCHR|0o600, 0x101)) }, "artifacts/x", "not a regular file but a device", "root"},
	{"artifact has a backslash", func(h hostile) { h.write(`artifacts/..\..\x`, "x") }, `artifacts/..\..\x`, "backslash", ""},
	{"artifact has a bad name", func(h hostile) { h.write("artifacts/latin\xfc", "x") }, "artifacts/latin\uFFFD", "UTF-8", "linux"},
	{"artifact has a long name", func(h hostile) {
		h.write("artifacts/"+strings.Repeat(strings.Repeat("d", 200)+"/", 6)+"x", "x")
	}, "artifacts/" + strings.Repeat(strings.Repeat("d", 200)+"/", 6) + "x", "1024", ""},
	{"artifact and log have one name", func(h hostile) {
		h.write("logs/x", "log")
		h.awaitLog("x", 3)
		h.write("artifacts/x", "artifact")
	}, "artifacts/x", "name is taken", ""},
}

// Every folder is explained, none disturbs the good run beside it, and nothing outside is read.
func TestHostileFolders(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte(secret), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, agenttest.Options{})
	r.options.MaxLogs = 10
	r.start()
	good := r.worker("good")
	good.awaitPhase(schema.PhaseRunning)
	if err := os.WriteFile(filepath.Join(outside, "claim.json"), good.claimJSON(), 0o644); err != nil {
		t.Fatal(err)
	}
	good.append("logs/terminal.log", lines(0, 10))
	who := map[bool]string{true: "root", false: "nobody"}[os.Getuid() == 0]
	aside := t.TempDir()
	good.must(os.Symlink(filepath.Join(r.runs, "good"), filepath.Join(aside, "good")))
	var made int
	folders := map[string]hostile{}
	for _, c := range hostileFolders {
		if c.who != "" && c.who != who && c.who != runtime.GOOS {
			continue
		}
		made++
		h := hostile{newWorker(t, r.server, aside, c.name), outside}
		h.prepare(t, r, c.name, c.make)
		folders[c.name] = h
	}
	for _, c := range hostileFolders {
		h, ok := folders[c.name]
		if !ok {
			continue
		}
		eventually(t, func() string {
			f := r.shown(c.name)
			said := map[string]string{"folder": f.Reason + f.Unwritten, "": f.Reason}
			got, is := said[c.where]
			if name, missing := strings.CutPrefix(c.where, "!"); missing {
				got = f.Missing[name]
			} else if !is {
				got = f.Problems[c.where]
			}
			if !strings.Contains(got, c.says) {
				return fmt.Sprintf("%s: %q is said, want %q; all: %+v", c.name, got, c.says, f)
			}
			return ""
		})
		if c.where != "folder" {
			h.await("its explanation", func(s schema.Status) bool {
				said := s.Reason
				for _, problem := range s.Problems {
					said += problem
				}
				for _, problem := range s.Missing {
					said += problem
				}
				return strings.Contains(said, c.says)
			})
		}
		if c.where == "" || c.where == "folder" {
			continue
		}
		h.must(os.RemoveAll(h.path("finish.json")))
		h.finish()
		h.awaitPhase(schema.PhaseCompleted)
		missing := fmt.Sprint(h.result().Result["missingArtifacts"])
		if c.where == "logs/x" {
			missing += h.stored("artifacts/x") // it was a log by then, and says so itself
		}
		if c.where != "finish.json" && !strings.Contains(missing, c.says) && !strings.Contains(c.says, "taken") {
			t.Errorf("%s: missing %s, want %q", c.name, missing, c.says)
		}
	}
	good.append("logs/terminal.log", lines(10, 20))
	good.write("artifacts/a", "a")
	good.finish()
	s := good.awaitPhase(schema.PhaseCompleted)
	good.wantArtifact("terminal.log", lines(0, 20))
	good.wantArtifact("a", "a")
	if len(s.Problems)+len(s.Missing) > 0 {
		t.Errorf("the good run: %+v", s)
	}
	r.stop()
	for _, h := range folders {
		_ = os.Chmod(h.dir, 0o700) // those that can be looked into and removed then
	}
	wantNoSecret(t, r)
	if made < 40 {
		t.Errorf("%d folders; want 40 and more", made)
	}
	if os.Getuid() == 0 {
		dropRoot(t)
	}
}

// shown is what the sidecar says of a folder.
func (r *rig) shown(name string) sidecar.FolderStatus {
	for _, f := range r.serving.Status().Folders {
		if f.Folder == name {
			return f
		}
	}
	return sidecar.FolderStatus{}
}

// prepare makes the folder aside, and renames it into place.
func (h *hostile) prepare(t *testing.T, r *rig, name string, make func(hostile)) {
	t.Helper()
	if name == "folder cannot be opened" {
		h.must(os.Remove(h.path("claim.json"))) // it must not be opened before
	}
	if name == "artifact and log have one name" || strings.HasPrefix(name, "folder cannot") { // it has to be there meanwhile
		h.must(os.Rename(h.dir, filepath.Join(r.runs, name)))
		h.dir = filepath.Join(r.runs, name)
		make(*h)
		return
	}
	make(*h)
	place := filepath.Join(r.runs, name)
	h.must(os.Rename(h.dir, place))
	h.dir = place
}

// wantNoSecret looks for the secret wherever the sidecar writes.
func wantNoSecret(t *testing.T, r *rig) {
	t.Helper()
	if strings.Contains(r.log.String(), secret) {
		t.Error("the secret is in the sidecar's log")
	}
	for _, dir := range []string{r.storage, r.state, r.runs} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // a folder that nobody may read
			}
			info, err := d.Info()
			if err != nil || info.Sys().(*syscall.Stat_t).Nlink > 1 {
				return err
			}
			data, err := os.ReadFile(path)
			if err == nil && bytes.Contains(data, []byte(secret)) {
				t.Errorf("the secret is in %s", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// dropRoot runs the test once more as somebody whom permissions concern.
func dropRoot(t *testing.T) {
	t.Helper()
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sidecar-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	copied := filepath.Join(dir, "test")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.run=^"+t.Name()+"$")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, asNobody+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as nobody: %v\n%s", err, output)
	}
}
