package agent_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/upload"
)

// life is one process of the agent.
type life struct {
	m      *simulation
	disk   *disktest.Disk
	ctx    context.Context
	cancel context.CancelFunc
	wire   *simWire
	queue  *queue.Client
	watch  sync.WaitGroup
}

func (m *simulation) newLife(d *disktest.Disk) *life {
	l := &life{m: m, disk: d}
	dead := d.Dead()
	d.SetFaults(m.diskFault)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.watch.Go(func() {
		select {
		case <-dead:
			l.cancel()
		case <-l.ctx.Done():
		}
	})
	l.wire = &simWire{
		next: m.network.transport(), secrets: m.secrets, began: m.began, outage: m.outage,
		dead: dead, die: d.Crash, random: rand.New(rand.NewPCG(m.seed, uint64(100+m.lives))),
	}
	var err error
	if l.queue, err = queue.New(m.server.QueueURL(), m.queueOptions(l.wire)); err != nil {
		panic(err) // the server's own URL
	}
	return l
}

func (m *simulation) queueOptions(wire http.RoundTripper) queue.Options {
	return queue.Options{Transport: wire, Logger: m.logger, AttemptTimeout: 5 * time.Second}
}

// arm sets when the process is to die.
func (l *life) arm(c *crash) {
	switch {
	case c.op > 0:
		l.disk.CrashAt(l.disk.Ops() + c.op)
	case c.request > 0:
		l.wire.mu.Lock()
		l.wire.dieAt, l.wire.after = l.wire.count+c.request, c.after
		l.wire.mu.Unlock()
	default:
		l.watch.Go(func() {
			if simSleep(l.ctx, c.in) {
				l.disk.Crash()
			}
		})
	}
}

func (l *life) options() agent.Options {
	storage, err := queue.NewStorage(l.m.server.StorageURL(), l.m.queueOptions(l.wire))
	if err != nil {
		panic(err) // the server's own URL
	}
	o := agent.Options{
		Logs: l.m.names[:l.m.declared], StateDir: simState, Storage: storage, Logger: l.m.logger, LogLimit: int64(l.m.logLimit), GiveUpAfter: 2 * time.Minute,
		Uploader: upload.New(upload.Options{Transport: l.wire, Logger: l.m.logger, StallTimeout: 5 * time.Second}),
	}
	o.SetDisk(l.disk)
	return o
}

func (l *life) crashed() bool { return l.wire.isDead() }

// end waits until nothing of the process is left.
func (l *life) end(run *agent.Run) {
	if run != nil {
		err := run.Close()
		l.m.note(l, "close", nil, err)
		fmt.Fprintf(l.m.shown, "%v %+v\n%v\n", run, run, context.Cause(run.Context()))
	}
	l.cancel()
	l.watch.Wait()
	l.wire.CloseIdleConnections()
	for _, body := range l.disk.Files() {
		l.m.onDisk = append(l.m.onDisk, body)
	}
}

// files are those that are left below the state folder.
func (l *life) files() (paths []string) {
	for path := range l.disk.Files() {
		paths = append(paths, path)
	}
	return paths
}

// diskFault is the one that an operation is to meet.
func (m *simulation) diskFault(op disktest.Op) error {
	onLog := op.Name == "write" && strings.Contains(op.Path, "/logs/")
	if onLog {
		m.logWrites.Add(1)
	}
	for _, f := range m.diskFaults {
		number := op.Number
		if f.spool {
			number = int(m.logWrites.Load())
		}
		if op.Name == f.name && (onLog || !f.spool) && number >= f.from && number-f.from < f.many {
			if f.kind == "ENOSPC" {
				return syscall.ENOSPC
			}
			return syscall.EIO
		}
	}
	return nil
}
