package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// handedOut collects the signatures of all signed URLs that the queue hands out.
type handedOut struct {
	mu         sync.Mutex
	signatures []string
}

func (h *handedOut) note(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, found := range signature.FindAllStringSubmatch(text, -1) {
		h.signatures = append(h.signatures, found[1])
	}
}

// in gives the first signature that text shows, or a good part of; "" for none.
func (h *handedOut) in(text []byte) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.signatures {
		if bytes.Contains(text, []byte(s[:16])) || bytes.Contains(text, []byte(s[len(s)-16:])) {
			return s
		}
	}
	return ""
}

func (h *handedOut) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.signatures)
}

// watchedQueue is the URL of r's queue by way of a proxy that notes the signatures of its answers. Those of the claim are noted too.
func watchedQueue(t *testing.T, r *rig, seen *handedOut) string {
	t.Helper()
	to, err := url.Parse(r.server.QueueURL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	proxy.Transport = transport
	proxy.ModifyResponse = func(answer *http.Response) error {
		body, err := io.ReadAll(answer.Body)
		seen.note(string(body))
		answer.Body = io.NopCloser(bytes.NewReader(body))
		return err
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(func() { front.Close(); transport.CloseIdleConnections() })
	seen.note(r.claim.LogsPutURL.Reveal() + " " + r.claim.ResultPutURL.Reveal())
	return front.URL + to.Path
}

// filesBelow gives the text of all files below dir, with their names. What goes away meanwhile is left out.
func filesBelow(dir string) (text []byte, err error) {
	err = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !entry.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		body, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		text = append(append(append(text, path...), '\n'), body...)
		return err
	})
	return text, err
}

// What dies is a process of its own: the test binary, told by this variable how, started with a claim on its stdin.
const dyingVariable = "AGENT_TEST_DYING_WORKER"

func init() {
	if how := os.Getenv(dyingVariable); how != "" {
		dyingWorker(how, os.Args[1], os.Args[2])
	}
}

// dyingWorker starts a run, is told on its stdin when its uploads are under way, and panics.
func dyingWorker(how, queueURL, stateDir string) {
	stdin := json.NewDecoder(os.Stdin)
	var told json.RawMessage
	exitOn(stdin.Decode(&told))
	claim, err := schema.Decode[schema.Claim]("claim.json", told)
	exitOn(err)
	q, err := queue.New(queueURL, queue.Options{})
	exitOn(err)
	dying := make(chan struct{})
	options := agent.Options{StateDir: stateDir}
	if how == "in an upload" {
		options.Uploader = upload.New(upload.Options{Transport: dyingTransport{upload.NewTransport(), dying}})
	}
	run, err := agent.Start(context.Background(), q, claim, options)
	exitOn(err)
	fmt.Fprintln(run.Log("terminal.log"), "a line")
	for i := range 4 {
		exitOn(run.AddArtifact(fmt.Sprintf("stuck/%d", i), upload.Bytes(make([]byte, 1<<20)), agent.ArtifactOptions{}))
	}
	exitOn(stdin.Decode(&told))
	if how == "in the worker" {
		_, err := q.Reclaim(context.Background(), claim.Task(), 7, claim.Worker) // not ours
		panic(fmt.Sprintf("%v, %+v, %#v, %+v, %#v, %+v", run, claim, claim, options, options, err))
	}
	close(dying)
	select {} // until a signal, or a panic elsewhere
}

// dyingTransport panics amid an upload.
type dyingTransport struct {
	next  http.RoundTripper
	dying chan struct{}
}

func (d dyingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.Path, "/stuck/") {
		return d.next.RoundTrip(r)
	}
	go d.next.RoundTrip(r)
	<-d.dying
	panic("in an upload")
}

// A worker that dies amid its uploads shows no signature in its last words, the dump of all goroutines, nor in what it leaves on the disk.
func TestDyingWorkerShowsNoSignature(t *testing.T) {
	for _, how := range []string{"in the worker", "in an upload", "by a signal"} {
		for _, traceback := range []string{"all", "crash"} {
			t.Run(how+"/"+traceback, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, agenttest.Options{})
				seen := &handedOut{}
				r.inject(agenttest.Fault{What: "put", Kind: "stall", Path: "/stuck/"})
				claim, err := schema.Encode(r.claim)
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command("bash", "-c", `ulimit -c 0; exec "$0" "$@"`, os.Args[0], watchedQueue(t, r, seen), r.options.StateDir)
				cmd.Env = append(os.Environ(), dyingVariable+"="+how, "GOTRACEBACK="+traceback)
				var output syncBuffer
				cmd.Stdout, cmd.Stderr = &output, &output
				stdin, err := cmd.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				died := make(chan error, 1)
				go func() { died <- cmd.Wait() }()
				defer cmd.Process.Kill()

				if _, err := stdin.Write(claim); err != nil {
					t.Fatal(err)
				}
				eventually(t, "uploads under way", func() bool {
					return r.count("put", "/stuck/") == 4 && r.stored("artifacts/terminal.log") != nil && r.stored("logs.json") != nil
				})
				fmt.Fprintln(stdin, "{}")
				if how == "by a signal" {
					cmd.Process.Signal(syscall.SIGQUIT)
				}
				select {
				case err = <-died:
				case <-time.After(30 * time.Second):
					t.Fatalf("the worker lives on:\n%s", output.String())
				}
				text := output.String()
				if err == nil || strings.Count(text, "\ngoroutine ") < 10 || !strings.Contains(text, "upload.(*Client).Put(") || !strings.Contains(text, ".RoundTrip(") {
					t.Errorf("the worker: %v; want a dump of its goroutines, those that upload too:\n%s", err, text)
				}
				if n := seen.count(); n < 2+2+4 { // of the documents, the log, the artifacts
					t.Errorf("%d signatures were handed out: this test looks for too few", n)
				}
				if shown := seen.in([]byte(text)); shown != "" || strings.Contains(text, "Signature=") {
					t.Errorf("the signature %s is shown:\n%s", shown, text)
				}
				left, err := filesBelow(r.options.StateDir)
				if err != nil || !bytes.Contains(left, []byte("a line\n")) {
					t.Errorf("the state folder holds %d bytes, %v; want the log", len(left), err)
				}
				if shown := seen.in(left); shown != "" || bytes.Contains(left, []byte("Signature=")) {
					t.Errorf("the signature %s is in the state folder:\n%q", shown, left)
				}
			})
		}
	}
}

// beforeAndAfter calls look around every request.
type beforeAndAfter struct {
	next http.RoundTripper
	look func()
}

func (b beforeAndAfter) RoundTrip(r *http.Request) (*http.Response, error) {
	b.look()
	defer b.look()
	return b.next.RoundTrip(r)
}

// Nothing below the state folder shows a signature at any moment of a run: it is looked at before and after each upload, and all the time.
func TestStateFolderShowsNoSignature(t *testing.T) {
	r := newRig(t, agenttest.Options{ClaimLength: 10 * time.Second})
	seen := &handedOut{}
	q, err := queue.New(watchedQueue(t, r, seen), queue.Options{MinBackoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r.queue = q
	var once sync.Once
	var looks, bytesSeen int
	var mu sync.Mutex
	look := func() {
		text, err := filesBelow(r.options.StateDir)
		mu.Lock()
		looks, bytesSeen = looks+1, max(bytesSeen, len(text))
		mu.Unlock()
		if shown := seen.in(text); err != nil || shown != "" || bytes.Contains(text, []byte("Signature=")) {
			once.Do(func() { t.Errorf("the state folder shows the signature %q (%v):\n%q", shown, err, text) })
		}
	}
	r.options.Uploader = upload.New(upload.Options{Transport: beforeAndAfter{upload.NewTransport(), look}, MinBackoff: time.Millisecond, StallTimeout: time.Second})
	t.Cleanup(r.options.Uploader.CloseIdleConnections)
	r.inject(agenttest.Fault{What: "put", Kind: "expired", Count: 5}) // so that there are fresh ones
	r.inject(agenttest.Fault{What: "put", Kind: "lost", Path: "artifacts/a/1", Count: 1})
	r.inject(agenttest.Fault{What: "put", Kind: "400", Path: "artifacts/a/2"})

	stop := make(chan struct{})
	var polling sync.WaitGroup
	polling.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-stop:
				return
			}
		}
	})
	run := r.start(t.Context())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		fmt.Fprintln(run.Log("terminal.log"), "line", i)
		fmt.Fprintln(run.Log(fmt.Sprintf("log/%d", i)), "a line")
		if err := run.AddArtifact(fmt.Sprintf("a/%d", i), upload.File(file), agent.ArtifactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run.Finish(r.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Error(err)
	}
	look()
	summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
	close(stop)
	polling.Wait()
	look()
	if err != nil || len(summary.Artifacts) != 4+6 || len(summary.Missing) != 1 {
		t.Errorf("Complete = %+v, %v", summary, err)
	}
	if looks < 50 || bytesSeen < 50 || seen.count() < 2+2*6+5+2 {
		t.Errorf("looked %d times at up to %d bytes for %d signatures: too little to tell", looks, bytesSeen, seen.count())
	}
	r.checkHistory()
}
