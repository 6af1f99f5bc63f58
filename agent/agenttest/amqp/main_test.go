package amqp_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/agenttest/amqp"
	"github.com/taskcluster/upload-agent/agent/agenttest/amqp/rabbit"
	"github.com/taskcluster/upload-agent/schema"
)

// patience is how long a test waits for what has to come; a busy machine takes its time.
const patience = 2 * time.Minute

// theBroker is started by the first test that wants it, and shared.
var theBroker struct {
	sync.Once
	*rabbit.Broker
	err error
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "rabbit-")
	if err != nil {
		panic(err)
	}
	brokerDir = dir
	status := m.Run()
	if theBroker.Broker != nil {
		theBroker.Stop()
	}
	if err := errors.Join(goleak.Find(), os.RemoveAll(dir)); err != nil && status == 0 {
		println(err.Error())
		status = 1
	}
	os.Exit(status)
}

var brokerDir string

// broker gives the shared one.
func broker(t *testing.T) *rabbit.Broker {
	t.Helper()
	theBroker.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		theBroker.Broker, theBroker.err = rabbit.Start(ctx, filepath.Join(brokerDir, "shared"))
	})
	needs(t, theBroker.err)
	return theBroker.Broker
}

// needs skips a test where there is no broker to be had, but not where everything has to be tested.
func needs(t *testing.T, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, rabbit.ErrMissing) && os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") != "1":
		t.Skip("NO RABBITMQ ON THIS MACHINE: what is published there is not tested. " + err.Error())
	default:
		t.Fatal(err)
	}
}

// log is a logger's buffer.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// options log everything, are in a hurry, and check at the end that no password was logged.
func options(t *testing.T, url schema.SignedURL) amqp.Options {
	l := new(log)
	t.Cleanup(func() { noPassword(t, url, l.String()) })
	return amqp.Options{Logger: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), MinBackoff: time.Millisecond, MaxBackoff: 50 * time.Millisecond}
}

func noPassword(t *testing.T, url schema.SignedURL, text string) {
	t.Helper()
	_, password, _ := strings.Cut(strings.TrimPrefix(url.Reveal(), "amqp://"), ":")
	if password, _, _ = strings.Cut(password, "@"); password == "" || strings.Contains(text, password) {
		t.Errorf("the password %q is shown:\n%s", password, text)
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, o agenttest.Options) *agenttest.Server {
	t.Helper()
	server, err := agenttest.New(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func publish(t *testing.T, server *agenttest.Server, url schema.SignedURL) *amqp.Publisher {
	t.Helper()
	p, err := amqp.Publish(within(t), server, url, options(t, url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// everything binds all exchanges, with a pattern.
func everything(pattern string) (bindings []amqp.Binding) {
	for _, exchange := range amqp.Exchanges() {
		bindings = append(bindings, amqp.Binding{Exchange: exchange, Pattern: pattern})
	}
	return bindings
}

func subscribe(t *testing.T, url schema.SignedURL, bindings []amqp.Binding) *amqp.Subscription {
	t.Helper()
	s, err := amqp.Subscribe(within(t), url, bindings, options(t, url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
