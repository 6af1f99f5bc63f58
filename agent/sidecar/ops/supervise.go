package ops

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// superviseEvery is how often the service manager's picture is brought up to date, if not more often for its watchdog.
const superviseEvery = 5 * time.Second

// Supervise keeps the service manager informed until ctx ends: READY=1 once runs are taken, a STATUS whenever
// it changes, and WATCHDOG=1 at half the time that the watchdog gives, but only while the agent is healthy, so that one that hangs is
// restarted. When the source is stopping, or ctx ends, it says STOPPING=1. It blocks: run it in a goroutine that you wait for.
func (h *Handler) Supervise(ctx context.Context, n *Notifier, logger *slog.Logger) {
	if n == nil {
		return
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	every := superviseEvery
	if n.Watchdog() > 0 {
		every = min(every, max(n.Watchdog()/2, time.Millisecond))
	}
	s := supervision{h: h, n: n, log: logger}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		s.tell(h.source.Snapshot(), time.Now())
		select {
		case <-ticks.C:
		case <-ctx.Done():
			s.stopping()
			return
		}
	}
}

// supervision is what the service manager has been told.
type supervision struct {
	h               *Handler
	n               *Notifier
	log             *slog.Logger
	ready, ending   bool
	status, problem string
}

func (s *supervision) tell(snapshot Snapshot, now time.Time) {
	var all []string
	if snapshot.State == schema.AgentReady && !s.ready {
		s.ready = true
		all = append(all, "READY=1")
	}
	problem := snapshot.problem(now, s.h.o.HangsAfter)
	if status := statusLine(snapshot, problem); status != s.status {
		s.status = status
		all = append(all, "STATUS="+status)
	}
	if problem != s.problem {
		s.problem = problem
		if problem != "" {
			s.log.Error("the agent is not healthy; the service manager's watchdog gets no sign of life", "problem", withoutSecrets(problem))
		}
	}
	if problem == "" && s.n.Watchdog() > 0 {
		all = append(all, "WATCHDOG=1")
	}
	s.send(all)
	if snapshot.State == schema.AgentStopping {
		s.stopping()
	}
}

func (s *supervision) stopping() {
	if !s.ending {
		s.ending = true
		s.send([]string{"STOPPING=1"})
	}
}

func (s *supervision) send(assignments []string) {
	if len(assignments) == 0 {
		return
	}
	if err := s.n.Notify(assignments...); err != nil {
		s.log.Warn("cannot tell the service manager", "error", err)
	}
}

// statusLine is what systemctl status shows, on one line.
func statusLine(s Snapshot, problem string) string {
	line := fmt.Sprintf("%d runs open", s.Open)
	if s.Open == 1 {
		line = "1 run open"
	}
	if why := s.notReady(); why != "" {
		line = why + "; " + line
	}
	if problem != "" {
		line = problem
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, withoutSecrets(line))
}
