package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

const (
	simState    = "/state"         // the folder of all runs
	simPatience = 40 * time.Minute // how long a worker waits for the end of its run
	simTries    = 5                // how often it asks for it
)

// simulation is one history while it happens.
type simulation struct {
	*scenario
	history
	random  *rand.Rand
	network *simNetwork
	logger  *slog.Logger
	began   time.Time
	next    int // the worker's next step
	lives   int

	logWrites atomic.Int64 // to the disk
	readers   sync.WaitGroup
}

// simulate makes the history of a scenario. It has to run in a bubble of testing/synctest; dir is for the server's storage.
// judge gets the history while the server is still there.
func simulate(s *scenario, dir string, judge func(*history)) error {
	<-time.After(15 * 365 * 24 * time.Hour) // from 2000 to 2014
	m := &simulation{scenario: s, random: rand.New(rand.NewPCG(s.seed, 2)), network: newSimNetwork(), began: time.Now()}
	m.history = newHistory(s)
	m.logger = slog.New(slog.NewTextHandler(m.shown, &slog.HandlerOptions{Level: slog.LevelDebug}))
	plan, err := agenttest.ParseFaults("", s.seed)
	if err != nil {
		return err
	}
	late := time.Second
	if s.jump > 0 {
		late += s.jump // nobody knows of a jump before the next answer
	}
	server, err := agenttest.New(dir, agenttest.Options{
		Listen: m.network.listen, ClaimLength: s.claim, Faults: plan, Clock: s.clock(m.began), LateReport: late, Quirks2014: s.quirks, Signature: s.signature(),
	})
	if err != nil {
		return err
	}
	defer server.Close()
	m.server = server
	status, err := server.PostTask(schema.Task{Deadline: schema.Timestamp(m.began.Add(s.skew + 6*time.Hour))})
	if err != nil {
		return err
	}
	m.task, m.folder = status.TaskID, fmt.Sprintf("%s/runs/%d/", status.TaskID, s.first())
	for _, f := range s.faults {
		if err := server.Inject(f); err != nil {
			return err
		}
	}
	reading, stopReading := context.WithCancel(context.Background())
	defer stopReading()
	var background sync.WaitGroup
	m.disturb(reading, plan, &background)
	m.read(reading)
	m.liveThrough()

	plan.Clear()
	if m.history.completed() || m.concluded {
		m.waitForReaders()
	}
	stopReading()
	m.readers.Wait()
	background.Wait()
	judge(&m.history)
	return nil
}

// disturb does to the server what the scenario says, each thing at its time.
func (m *simulation) disturb(ctx context.Context, plan *agenttest.FaultPlan, running *sync.WaitGroup) {
	at := func(d time.Duration, do func()) {
		if d <= 0 {
			return
		}
		running.Go(func() {
			if simSleep(ctx, d) {
				do()
			}
		})
	}
	at(m.calmAfter, plan.Clear)
	at(m.lose, func() { m.server.LoseClaim(m.task) }) // it may have ended before
	if m.rival {
		running.Go(func() { m.compete(ctx) })
	}
}

// compete is another worker, with an agent of its own: it takes the task when it is pending again, and completes it.
func (m *simulation) compete(ctx context.Context) {
	transport := m.network.transport()
	defer transport.CloseIdleConnections()
	q, err := queue.New(m.server.QueueURL(), queue.Options{Transport: transport, AttemptTimeout: 5 * time.Second})
	if err != nil {
		panic(err) // the server's own URL
	}
	var claim schema.Claim
	for claim.RunID <= m.first() { // which is ours
		if !simSleep(ctx, m.claim/3) {
			return
		}
		if m.history.completed() {
			return
		}
		if status, err := q.Status(ctx, m.task); err != nil || status.State != schema.Pending || len(status.Runs) == 0 {
			continue
		}
		if claim, err = q.Claim(ctx, m.task, schema.Worker{WorkerGroup: "group", WorkerID: "another"}); err != nil {
			return
		}
	}
	o := agent.Options{StateDir: simState, Uploader: upload.New(upload.Options{Transport: transport, StallTimeout: 5 * time.Second})}
	o.SetDisk(disktest.New(rand.New(rand.NewPCG(m.seed, 4))))
	run, err := agent.Start(ctx, q, claim, o)
	if err != nil {
		panic(err) // nothing is wrong with its disk
	}
	run.Complete(ctx, agent.Outcome{Success: !m.success}) // whatever becomes of it
	run.Close()
}

// read follows every log from the outside, through everything.
func (m *simulation) read(ctx context.Context) {
	for _, log := range m.logs {
		m.readers.Go(func() {
			if !simSleep(ctx, m.readerStart) {
				return
			}
			transport := m.network.transport()
			defer transport.CloseIdleConnections()
			reader := livelog.NewReader(ctx, m.server.StorageURL()+"/"+m.folder+"artifacts/"+livelog.IndexName(log.name),
				livelog.ReaderOptions{Transport: transport, MinPoll: m.readerPoll, StallTimeout: 10 * time.Second})
			defer reader.Close()
			buffer := make([]byte, 32<<10)
			for {
				n, err := reader.Read(buffer)
				log.mu.Lock()
				log.seen = append(log.seen, buffer[:n]...)
				if err != nil {
					log.ended = err
					close(log.read)
					log.mu.Unlock()
					return
				}
				log.mu.Unlock()
			}
		})
	}
}

// waitForReaders gives the readers time to come to the end.
func (m *simulation) waitForReaders() {
	patience := time.After(5*time.Minute + m.readerStart)
	for _, log := range m.logs {
		select {
		case <-log.read:
		case <-patience:
			return
		}
	}
}

// liveThrough is the worker and its agent, from the claim to the end of all processes.
func (m *simulation) liveThrough() {
	disk := disktest.New(rand.New(rand.NewPCG(m.seed, 3)))
	if m.seed%8 != 0 { // else the agent makes the folder of all runs
		if err := errors.Join(disk.MkdirAll(simState), disk.SyncDir("/")); err != nil {
			panic(err)
		}
	}
	l := m.newLife(disk)
	ctx, cancel := context.WithTimeout(l.ctx, simPatience)
	claim, err := l.queue.Claim(ctx, m.task, schema.Worker{WorkerGroup: "group", WorkerID: "worker"})
	cancel()
	if err != nil || claim.RunID != m.first() {
		l.end(nil)
		return // there never was a run
	}
	m.secrets.note(claim.LogsPutURL.Reveal())
	m.secrets.note(claim.ResultPutURL.Reveal())
	if c := m.crash(); c != nil && !c.ending {
		l.arm(c)
	}
	began := time.Now()
	run, err := agent.Start(l.ctx, l.queue, claim, l.options())
	m.hurried(l, "start", began)
	m.note(l, "start", nil, err)
	m.started = err == nil
	for again := m.secondLook; ; {
		if run != nil {
			m.work(l, run)
		}
		l.end(run)
		switch {
		case l.crashed():
			c := m.crashes[m.lives]
			m.lives++
			m.powerCut = m.powerCut || c.power
			m.workerDead = m.workerDead || !c.goesOn || !m.started
			<-time.After(c.pause)
			l = m.newLife(l.disk.Restart(c.power))
			if c := m.crash(); c != nil && !c.ending {
				l.arm(c)
			}
		case again && m.started && len(l.files()) > 0:
			again = false
			l = m.newLife(l.disk.Restart(false))
		default:
			m.leftBehind = l.files()
			return
		}
		m.resumed = true
		impatient := time.AfterFunc(simPatience, l.cancel) // it asks for as long as it may
		run, err = agent.Resume(l.ctx, l.queue, m.stateFolder(), l.options())
		impatient.Stop()
		m.note(l, "resume", nil, err)
	}
}

// crash is the one that comes next.
func (m *simulation) crash() *crash {
	if m.lives < len(m.crashes) {
		return &m.crashes[m.lives]
	}
	return nil
}

func (m *simulation) stateFolder() string {
	return filepath.Join(simState, fmt.Sprintf("%s-%d", m.task, m.first()))
}
