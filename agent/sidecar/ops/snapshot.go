package ops

import (
	"fmt"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Source tells how things stand. It is asked at every request, and by [Supervise] a few times a minute, so it has to be cheap,
// and it must not wait for the network or the disk. It must be safe for concurrent use.
type Source interface {
	Snapshot() Snapshot
}

// SourceFunc is a function that is a [Source].
type SourceFunc func() Snapshot

// Snapshot calls f.
func (f SourceFunc) Snapshot() Snapshot { return f() }

// Snapshot is how things stand. Its zero value is that of an agent that is just starting.
type Snapshot struct {
	// State is whether runs are taken. Default: schema.AgentStarting.
	State schema.AgentState
	// NotReady is why the state is not schema.AgentReady; "" if there is nothing to say.
	NotReady string
	// Problem is what is wrong with the agent itself, so that only a restart may help; "" if nothing is. What is wrong with a run,
	// or a queue that cannot be reached, is none.
	Problem string
	// Alive is when the agent last went through its main loop, be it with nothing to do. If that is too long ago, the agent
	// hangs, see [Options.HangsAfter]. Zero: it has no such loop.
	Alive time.Time
	// Open is how many runs are not over.
	Open int
	// Runs are those that there are at the moment, the ones that are just over and the ones that were refused among them.
	Runs []Run
}

// Run is one run, as an operator sees it.
type Run struct {
	Name       string // of its folder
	TaskID     schema.TaskID
	RunID      *schema.RunID
	Phase      string    // how far it is, in a word or two
	Problem    string    // what is wrong with it; "" for nothing
	TakenUntil time.Time // when its claim ends; zero if it has none
	LogBytes   int64
	Stored     int // artifacts
	Missing    int // artifacts
}

// problem says what is wrong with the agent itself; "" if nothing is.
func (s Snapshot) problem(now time.Time, hangsAfter time.Duration) string {
	if s.Problem != "" {
		return s.Problem
	}
	if silent := now.Sub(s.Alive); !s.Alive.IsZero() && silent > hangsAfter {
		return fmt.Sprintf("the agent hangs: no sign of life for %v", silent.Round(time.Second))
	}
	return ""
}

// notReady says why no runs are taken; "" if they are.
func (s Snapshot) notReady() string {
	switch {
	case s.State == schema.AgentReady:
		return ""
	case s.NotReady != "":
		return s.NotReady
	case s.State == "":
		return string(schema.AgentStarting)
	}
	return string(s.State)
}

// takenUntil is when the first of all claims ends; zero if there is none.
func (s Snapshot) takenUntil() (first time.Time) {
	for _, r := range s.Runs {
		if !r.TakenUntil.IsZero() && (first.IsZero() || r.TakenUntil.Before(first)) {
			first = r.TakenUntil
		}
	}
	return first
}
