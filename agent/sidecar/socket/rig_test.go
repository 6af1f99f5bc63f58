package socket_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/sidecar/socket"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/upload"
)

const taskID = "AAAAAAAAAAAAAAAAAAAAAA"

func TestMain(m *testing.M) {
	if play := roles[os.Getenv("SOCKET_TEST_ROLE")]; play != nil {
		play()
		return
	}
	goleak.VerifyTestMain(m)
}

// fakeRun is a run that stores at once what it can read, but for what is to be "slow".
type fakeRun struct {
	redactor livelog.Redactor
	slow     chan struct{} // closed when slow files are stored

	mu      sync.Mutex
	stored  map[string]upload.Receipt
	text    map[string]string
	missing map[string]string
	ended   error
	added   []string // in order
	options agent.ArtifactOptions
}

func newRun() *fakeRun {
	return &fakeRun{slow: make(chan struct{}), stored: map[string]upload.Receipt{}, text: map[string]string{}, missing: map[string]string{"before": "it was not there"}}
}

func (r *fakeRun) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = err
}

func (r *fakeRun) AddArtifact(name string, source upload.Source, o agent.ArtifactOptions) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended != nil {
		return r.ended
	}
	if _, taken := r.stored[name]; taken {
		return agent.ErrArtifactName
	}
	r.added, r.options = append(r.added, name), o
	var b strings.Builder
	size, digest, err := source.CopyTo(&b)
	if err != nil {
		r.missing[name] = err.Error()
		return nil
	}
	r.stored[name], r.text[name] = upload.Receipt{Name: name, Size: size, Digest: digest}, b.String()
	return nil
}

func (r *fakeRun) WaitArtifact(ctx context.Context, name string) (upload.Receipt, error) {
	if strings.Contains(name, "slow") {
		select {
		case <-r.slow:
		case <-ctx.Done():
			return upload.Receipt{}, context.Cause(ctx)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if reason, missing := r.missing[name]; missing {
		return upload.Receipt{}, &agent.MissingError{Name: name, Reason: reason}
	}
	return r.stored[name], nil
}

func (r *fakeRun) Redact(values ...string) error { return r.redactor.Add(values...) }

func (r *fakeRun) redacted(text string) string {
	var b strings.Builder
	w := r.redactor.Writer(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func (r *fakeRun) Progress() agent.Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := agent.Progress{TaskID: taskID, RunID: 3, Logs: map[string]int64{"terminal.log": 12}, Stored: map[string]upload.Receipt{}, Missing: map[string]string{}, Err: r.ended}
	for name, receipt := range r.stored {
		p.Stored[name] = receipt
	}
	for name, reason := range r.missing {
		p.Missing[name] = reason
	}
	return p
}

// served is a run behind a socket, and a client.
func served(t *testing.T, run socket.Run, o socket.Options) (*socket.Server, *socket.Client) {
	t.Helper()
	server, err := socket.Listen("", socket.Only(run), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := socket.Connect(server.Path(), socket.Caller{TaskID: taskID, RunID: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return server, client
}

// soon bounds what a test waits for.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// write makes files whose bytes are as many as they say.
func write(t *testing.T, dir string, sizes map[string]int) {
	t.Helper()
	for name, size := range sizes {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// logTo keeps what is logged.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
