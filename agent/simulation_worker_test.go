package agent_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// work does what is left of the worker's work, then ends the run.
func (m *simulation) work(l *life, run *agent.Run) {
	if m.workerDead {
		m.finish(l, run, "conclude", run.Conclude)
		return
	}
	if m.resumed {
		m.addAgain(l, run)
	}
	ctx, cancel := context.WithCancel(run.Context())
	defer cancel()
	for m.next < len(m.steps) && !l.crashed() {
		step := m.steps[m.next]
		if !simSleep(ctx, time.Until(m.began.Add(step.at))) {
			break
		}
		m.next++
		m.do(l, run, step)
	}
	simSleep(ctx, time.Until(m.began.Add(m.duration)))
	if l.crashed() {
		return
	}
	if ctx.Err() != nil {
		m.note(l, "context", nil, context.Cause(ctx))
	}
	outcome := agent.Outcome{Success: m.success, Result: map[string]any{"exitCode": 3}}
	if m.reports {
		m.finish(l, run, "finish", func(ctx context.Context) (*agent.Summary, error) { return run.Finish(ctx, outcome) })
		m.report(l, run)
		return
	}
	m.finish(l, run, "complete", func(ctx context.Context) (*agent.Summary, error) { return run.Complete(ctx, outcome) })
}

// report is what a worker does that reports by itself: only what is finished, and only while the claim is its own.
func (m *simulation) report(l *life, run *agent.Run) {
	finished := m.endings[len(m.endings)-1]
	if finished.err != nil || finished.dead || run.Context().Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(run.Context(), m.claim/4)
	defer cancel()
	// Its answer, if any, is the worker's business.
	l.queue.Completed(ctx, m.task, schema.CompletedRequest{RunID: m.first(), Success: m.success, Worker: schema.Worker{WorkerGroup: "group", WorkerID: "worker"}})
}

// do does one step.
func (m *simulation) do(l *life, run *agent.Run, step simStep) {
	if step.artifact != nil {
		m.add(l, run, step.artifact)
		return
	}
	log := m.logs[step.log]
	began := time.Now()
	n, err := run.Log(log.name).Write(step.text)
	p := written{text: step.text, sure: n, most: n}
	if l.crashed() {
		p.most = len(step.text) // as much as the disk took
		p.junk = true           // and nobody was left to cut off what else it did
		if err == nil {
			p.sure = 0 // it was in memory, or would have been
		}
	}
	log.mu.Lock()
	log.pieces = append(log.pieces, p)
	log.mu.Unlock()
	if err != nil {
		m.note(l, "write", nil, err)
	}
	m.hurried(l, "write", began)
}

// hurried notes a call that should not have taken any time.
func (m *simulation) hurried(l *life, call string, began time.Time) {
	if took := time.Since(began); took > 0 {
		m.note(l, call, nil, nil)
		m.endings[len(m.endings)-1].took = took
	}
}

// add adds an artifact, or says that there is none.
func (m *simulation) add(l *life, run *agent.Run, a *simArtifact) {
	source := upload.Bytes(a.body)
	if a.path != "" {
		source = upload.File(a.path)
	}
	began := time.Now()
	var err error
	if a.never {
		err = run.AddMissing(a.name, "the task has not made it")
	} else {
		err = run.AddArtifact(a.name, source, agent.ArtifactOptions{ContentType: a.contentType, Replace: a.replace})
	}
	m.hurried(l, "add", began)
	if err != nil {
		m.note(l, "add", nil, err)
		m.unsure[a.name] = true
		return
	}
	m.added[a.name] = a
}

// addAgain is what a worker does that has lost its agent: it cannot know what became of its artifacts. A killed
// agent forgets none of them, but one whose disk fails may.
func (m *simulation) addAgain(l *life, run *agent.Run) {
	for _, step := range m.steps[:m.next] {
		if a := step.artifact; a != nil && (m.added[a.name] == nil || m.unsure[a.name] || m.random.IntN(4) > 0 || len(m.diskFaults) > 0) {
			m.add(l, run, a)
		}
	}
}

// finish asks for the end of the run, more than once if need be.
func (m *simulation) finish(l *life, run *agent.Run, what string, call func(context.Context) (*agent.Summary, error)) {
	if c := m.crash(); c != nil && c.ending {
		l.arm(c)
	}
	for range simTries {
		ctx, cancel := context.WithTimeout(l.ctx, simPatience)
		summary, err := call(ctx)
		cancel()
		m.note(l, what, summary, err)
		if err == nil || errors.Is(err, agent.ErrClaimLost) || errors.Is(err, agent.ErrNoOutcome) || run.Context().Err() != nil {
			return
		}
		if !simSleep(l.ctx, 10*time.Second) {
			return
		}
	}
}

// note writes into the history what a call came to.
func (m *simulation) note(l *life, call string, summary *agent.Summary, err error) {
	e := ending{
		life: m.lives, call: call, summary: summary, err: err, dead: l.crashed(),
		at: time.Since(m.began), completed: m.history.completed(),
	}
	fmt.Fprintf(m.shown, "%s\n%v %+v %#v\n%v %+v\n", call, err, err, err, summary, summary)
	m.endings = append(m.endings, e)
	if call == "conclude" && errors.Is(err, agent.ErrNoOutcome) && !e.dead {
		m.concluded = true
	}
}
