// Package rabbit starts a RabbitMQ of one's own, for tests: on loopback, on free ports, with all that it writes in one folder, by whatever user
// runs the test. It wants a rabbitmq-server that is installed (Debian: apt-get install rabbitmq-server) and touches nothing of one that already runs.
//
// The broker ends with Stop, and also when the process that started it ends, however it ends.
package rabbit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/taskcluster/upload-agent/schema"
)

// ErrMissing is the error of [Start] where no RabbitMQ is installed.
var ErrMissing = errors.New("no RabbitMQ is installed (on Debian: apt-get install --no-install-recommends rabbitmq-server)")

// Broker is a running RabbitMQ.
type Broker struct {
	dir      string
	programs programs
	password string
	ports    [3]int // of the broker, of its distribution protocol, of its port mapper

	process *exec.Cmd
	life    io.Closer // the broker lives as long as it is open
	ended   chan struct{}
}

// programs are where a RabbitMQ is installed.
type programs struct{ server, mapper string }

func find() (programs, error) {
	var p programs
	// Debian's is not the one in the PATH: that insists on being root or the user rabbitmq.
	for _, name := range []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server", "/opt/homebrew/sbin/rabbitmq-server", "/usr/local/sbin/rabbitmq-server"} {
		if path, err := exec.LookPath(name); err == nil {
			p.server = path
			break
		}
	}
	mapper, err := exec.LookPath("epmd")
	if p.server == "" || err != nil {
		return p, ErrMissing
	}
	p.mapper = mapper
	return p, nil
}

// Start starts a broker that keeps what it has in dir, which it makes if missing, and waits until it takes connections or ctx ends. It takes some seconds.
func Start(ctx context.Context, dir string) (*Broker, error) {
	found, err := find()
	if err != nil {
		return nil, err
	}
	b := &Broker{dir: dir, programs: found, password: rand.Text()}
	if err := os.MkdirAll(filepath.Join(dir, "home"), 0o700); err != nil {
		return nil, fmt.Errorf("start RabbitMQ: %w", err)
	}
	settings := fmt.Sprintf("default_user = agent\ndefault_pass = %s\n", b.password)
	if err := os.WriteFile(filepath.Join(dir, "rabbitmq.conf"), []byte(settings), 0o600); err != nil {
		return nil, fmt.Errorf("start RabbitMQ: %w", err)
	}
	for attempt := 1; ; attempt++ {
		if b.ports, err = freePorts(); err == nil {
			err = b.start(ctx)
		}
		if err == nil || ctx.Err() != nil || attempt == 3 { // somebody else may have taken a port that was free
			return b, err
		}
	}
}

func freePorts() (ports [3]int, err error) {
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // or the next one would be the same
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

func (b *Broker) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(b.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start RabbitMQ: %w", err)
	}
	defer log.Close()
	b.process = exec.Command("/bin/sh", "-c", supervise)
	b.process.Env = b.environment()
	b.process.Stdout, b.process.Stderr = log, log
	if b.life, err = b.process.StdinPipe(); err == nil {
		err = b.process.Start()
	}
	if err != nil {
		return fmt.Errorf("start RabbitMQ: %w", err)
	}
	b.ended = make(chan struct{})
	go func() {
		defer close(b.ended)
		_ = b.process.Wait() // it is killed, or its output says why it has ended
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := amqp091.Dial(b.URL().Reveal()); err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
			continue
		case <-b.ended:
			err = errors.New("it has ended")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		b.Stop()
		return fmt.Errorf("start RabbitMQ: %w; it said:\n%s", err, b.said())
	}
}

// supervise runs the port mapper and the broker until stdin ends, or the broker does; then both are killed. exec keeps the broker's id known.
const supervise = `
"$MAPPER" -port "$ERL_EPMD_PORT" -address 127.0.0.1 </dev/null & mapper=$!
"$SERVER" </dev/null & server=$!
exec 3<&0
{ cat <&3 >/dev/null; kill -KILL $server; } 2>/dev/null & watch=$!
wait $server
kill -KILL $mapper $watch 2>/dev/null
`

// environment gives the broker a home, names, ports and folders of its own.
func (b *Broker) environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "RABBITMQ_") && !strings.HasPrefix(entry, "ERL_") {
			env = append(env, entry)
		}
	}
	in := func(name string) string { return filepath.Join(b.dir, name) }
	return append(env,
		"SERVER="+b.programs.server, "MAPPER="+b.programs.mapper,
		"HOME="+in("home"), // Erlang keeps a secret there, its cookie
		fmt.Sprint("RABBITMQ_NODE_PORT=", b.ports[0]), fmt.Sprint("RABBITMQ_DIST_PORT=", b.ports[1]), fmt.Sprint("ERL_EPMD_PORT=", b.ports[2]),
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "ERL_EPMD_ADDRESS=127.0.0.1", "RABBITMQ_NODENAME=test@localhost",
		"RABBITMQ_MNESIA_BASE="+in("data"), "RABBITMQ_LOG_BASE="+in("log"), "RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE="+in("rabbitmq.conf"), "RABBITMQ_CONF_ENV_FILE="+in("none"), "RABBITMQ_ENABLED_PLUGINS_FILE="+in("plugins"),
		"RABBITMQ_ALLOW_INPUT=1", // or a shell would stand between us and the broker
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput -kernel inet_dist_use_interface {127,0,0,1}",
	)
}

// said is the end of what the broker has written.
func (b *Broker) said() string {
	const most = 4 << 10
	data, err := os.ReadFile(filepath.Join(b.dir, "output"))
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(data[max(0, len(data)-most):]), b.password, "[redacted]")
}

// URL is where the broker is, with user and password.
func (b *Broker) URL() schema.SignedURL {
	return schema.NewSignedURL(fmt.Sprintf("amqp://agent:%s@%s/", b.password, b.Addr()))
}

// Addr is its host and port.
func (b *Broker) Addr() string { return fmt.Sprintf("127.0.0.1:%d", b.ports[0]) }

// Stop kills the broker, as a power cut would, and waits for its end. It may be started again.
func (b *Broker) Stop() {
	b.life.Close()
	<-b.ended
}

// Restart starts it again after Stop, at the same address, with what it has kept: durable exchanges and queues, and the persistent messages in them.
func (b *Broker) Restart(ctx context.Context) error { return b.start(ctx) }
