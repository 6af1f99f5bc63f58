package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// history is what happened, as far as somebody outside the agent can know.
type history struct {
	scenario *scenario
	server   *agenttest.Server
	task     schema.TaskID
	folder   string // of the run in the storage, with a slash at the end
	secrets  *simSecrets
	shown    *syncBuffer // all that the agent logs, returns and prints
	onDisk   [][]byte    // the files of the state folder, at the end of each process

	started    bool // Start has returned a run
	resumed    bool // Resume was tried: who writes to a log for the first time while the agent dies, leaves none
	workerDead bool
	powerCut   bool
	concluded  bool // Conclude has said that there is no outcome
	logs       []*simLog
	added      map[string]*simArtifact // the last of each name
	unsure     map[string]bool         // names of which one more may have been added
	endings    []ending
	leftBehind []string // files of the state folder when all is over
}

// ending is what a call to the agent came to.
type ending struct {
	life      int
	call      string
	summary   *agent.Summary
	err       error
	dead      bool // the process died before anybody heard of it
	at, took  time.Duration
	completed bool // by then the queue had recorded the run as completed
}

func newHistory(s *scenario) history {
	h := history{scenario: s, secrets: &simSecrets{seen: map[string]bool{}, v2: s.v2}, shown: &syncBuffer{}, added: map[string]*simArtifact{}, unsure: map[string]bool{}}
	for _, name := range s.names {
		h.logs = append(h.logs, &simLog{name: name, read: make(chan struct{})})
	}
	return h
}

// stored reads an object of the run; nil if it is not stored.
func (h *history) stored(name string) []byte {
	body, err := h.server.Object(h.folder + name)
	if err != nil {
		return nil
	}
	return body
}

// completed says that the queue has recorded the run as completed.
func (h *history) completed() bool {
	resolution, ok := h.resolution()
	return ok && resolution.RunID == h.scenario.first()
}

// resolution is what the queue has recorded, if it has.
func (h *history) resolution() (doc schema.Resolution, ok bool) {
	body, err := h.server.Object(string(h.task) + "/resolution.json")
	if err == nil {
		err = json.Unmarshal(body, &doc)
	}
	return doc, err == nil
}

// check lists all that must not have happened.
func (h *history) check() (problems []string) {
	for _, find := range []func(*history) []string{
		(*history).checkOrder, (*history).checkTruth, (*history).checkLists, (*history).checkLogs, (*history).checkAnswers, (*history).checkTime, (*history).checkSecrets, (*history).checkEnd,
	} {
		problems = append(problems, find(h)...)
	}
	return problems
}

// checkOrder: nothing is reported too early, too late or by the wrong one, and the result has the same bytes whenever it is stored.
func (h *history) checkOrder() []string {
	problems := h.server.Violations()
	etags := map[string]bool{}
	for _, r := range h.server.Requests() {
		if r.Stored && r.Path == "/"+h.folder+"result.json" {
			etags[r.ETag] = true
		}
	}
	if len(etags) > 1 {
		problems = append(problems, fmt.Sprintf("result.json was stored with %d different contents", len(etags)))
	}
	return problems
}

// checkTruth: the result of a completed run says what is stored, what is missing, and what the worker said.
func (h *history) checkTruth() (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if !h.completed() {
		return nil
	}
	result, missing, err := h.result()
	if err != nil {
		return []string{err.Error()}
	}
	if resolution, _ := h.resolution(); resolution.Success != h.scenario.success || resolution.WorkerID != "worker" {
		wrong("resolution.json says success %t of worker %s", resolution.Success, resolution.WorkerID)
	}
	if result.Metadata.Success != h.scenario.success || fmt.Sprint(result.Result["exitCode"]) != "3" {
		wrong("result.json says success %t, %v; the worker has said %t", result.Metadata.Success, result.Result, h.scenario.success)
	}
	for _, e := range h.endings {
		if e.summary == nil || e.dead {
			continue
		}
		if !slices.Equal(slices.Sorted(maps.Keys(e.summary.Artifacts)), slices.Sorted(maps.Keys(result.Artifacts))) ||
			!maps.Equal(e.summary.Missing, missing) || !maps.Equal(e.summary.Incomplete, members(result, "incompleteLogs")) || e.summary.Success != h.scenario.success {
			wrong("the summary %+v differs from result.json", e.summary)
		}
	}
	return problems
}

// checkLists: whatever was added to a completed run is stored as it was, or listed as missing; nothing else is named.
func (h *history) checkLists() (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	result, missing, err := h.result()
	if !h.completed() || err != nil {
		return nil // checkTruth has said so
	}
	known := map[string]bool{}
	for name, a := range h.added {
		known[name] = true
		stored, listed := result.Artifacts[name] != "", missing[name] != ""
		switch {
		case stored == listed:
			wrong("artifact %q: in artifacts %t, in missingArtifacts %t", name, stored, listed)
		case stored && (a.missing || !bytes.Equal(h.stored("artifacts/"+name), a.body)):
			wrong("artifact %q: %d bytes are stored, want %d equal ones", name, len(h.stored("artifacts/"+name)), len(a.body))
		case listed && h.scenario.fair() && !a.missing && (a.path != "" || len(h.scenario.crashes) == 0):
			wrong("artifact %q is missing without need: %s", name, missing[name])
		}
	}
	for _, log := range h.logs {
		known[log.name] = true
		if stored, listed := result.Artifacts[log.name] != "", missing[log.name] != ""; stored && listed || !stored && !listed && (log.surely() > 0 || len(log.pieces) > 0 && !h.resumed) {
			wrong("log %q: in artifacts %t, in missingArtifacts %t", log.name, stored, listed)
		}
	}
	for _, names := range [][]string{slices.Collect(maps.Keys(result.Artifacts)), slices.Collect(maps.Keys(missing))} {
		for _, name := range names {
			if !known[name] {
				wrong("result.json names %q, which nobody has added", name)
			}
		}
	}
	logs, err := schema.Decode[schema.Logs]("logs.json", h.stored("logs.json"))
	for _, log := range h.logs {
		if result.Artifacts[log.name] != "" && (err != nil || logs.Logs[log.name] == "" || logs.Logs["live/"+log.name] == "") {
			wrong("logs.json does not name %q: %v %v", log.name, logs.Logs, err)
		}
	}
	return problems
}

// result reads result.json.
func (h *history) result() (doc schema.Result, missing map[string]string, err error) {
	doc, err = schema.Decode[schema.Result]("result.json", h.stored("result.json"))
	return doc, members(doc, "missingArtifacts"), err
}

// members are those of an object in the result.
func members(doc schema.Result, name string) map[string]string {
	found := map[string]string{}
	listed, _ := doc.Result[name].(map[string]any)
	for name, reason := range listed {
		found[name] = fmt.Sprint(reason)
	}
	return found
}

// checkAnswers: what the agent has told the worker is so.
func (h *history) checkAnswers() (problems []string) {
	for _, e := range h.endings {
		if e.dead {
			continue
		}
		said := fmt.Sprintf("%s of process %d at %v: %v", e.call, e.life, e.at, e.err)
		switch e.call {
		case "complete", "conclude":
			reported := e.summary != nil && (e.summary.Reported || h.scenario.reports)
			switch {
			case reported != (e.summary != nil):
				problems = append(problems, said+": a summary without a report")
			case errors.Is(e.err, agent.ErrNoOutcome) && h.stored("result.json") != nil:
				problems = append(problems, said+": result.json is stored")
			case e.err == nil && !reported:
				problems = append(problems, said+": no error and no report")
			case reported && !e.completed && !h.scenario.reports:
				problems = append(problems, said+": reported, but the queue knows nothing of it")
			case !reported && e.completed && !h.scenario.reports && !errors.Is(e.err, agent.ErrUnknownOutcome):
				problems = append(problems, said+": the queue has recorded the run as completed")
			}
		case "resume":
			switch {
			case errors.Is(e.err, agent.ErrCompleted) && !e.completed:
				problems = append(problems, said+": it is not completed")
			case errors.Is(e.err, agent.ErrClaimLost) && e.completed:
				problems = append(problems, said+": the queue has recorded the run as completed")
			case h.started && !e.completed && !h.gone() && errors.Is(e.err, fs.ErrNotExist):
				problems = append(problems, said+": the run was started, and its state is gone")
			}
		}
	}
	return problems
}

// checkTime: what the worker does while the task runs waits for nothing but the disk, which takes no time here.
func (h *history) checkTime() (problems []string) {
	for _, e := range h.endings {
		if (e.call == "start" || e.call == "write" || e.call == "add") && e.took > 0 && !e.dead {
			problems = append(problems, fmt.Sprintf("%s at %v took %v", e.call, e.at, e.took))
		}
	}
	return problems
}

// gone says that the agent was through with the run, whether or not anybody has heard of it.
func (h *history) gone() bool {
	return slices.ContainsFunc(h.endings, func(e ending) bool {
		return e.summary != nil || errors.Is(e.err, agent.ErrClaimLost) || errors.Is(e.err, agent.ErrNoOutcome)
	})
}

// checkSecrets: no signed URL, nor a part of one, is anywhere but on the wire.
func (h *history) checkSecrets() (problems []string) {
	for what, texts := range map[string][][]byte{"what the agent says": {[]byte(h.shown.String())}, "the state folder": h.onDisk} {
		for _, text := range texts {
			if found := h.secrets.in(text); found != "" {
				problems = append(problems, fmt.Sprintf("%s holds a secret: %s", what, found))
			}
		}
	}
	return problems
}

// checkEnd: where nothing hinders it, the run comes to its end, and nothing is left behind.
func (h *history) checkEnd() (problems []string) {
	if len(h.endings) == 0 {
		return nil
	}
	var last ending
	for _, e := range h.endings {
		if !e.dead && (e.call == "complete" || e.call == "conclude" || e.call == "finish" || e.call == "resume" && e.err != nil) {
			last = e
		}
	}
	if (errors.Is(last.err, agent.ErrNotBegun) || errors.Is(last.err, fs.ErrNotExist)) && h.gone() {
		return nil
	}
	over := last.err == nil && last.summary != nil || errors.Is(last.err, agent.ErrCompleted) || errors.Is(last.err, agent.ErrClaimLost) ||
		errors.Is(last.err, agent.ErrNoOutcome) && !errors.Is(last.err, context.DeadlineExceeded) // then the folder stays
	if over && len(h.leftBehind) > 0 && len(h.scenario.diskFaults) == 0 {
		problems = append(problems, fmt.Sprintf("%s ended with %v, and left behind %q", last.call, last.err, h.leftBehind))
	}
	if !h.scenario.fair() || !h.started {
		return problems
	}
	switch {
	case h.scenario.reports && last.summary != nil: // the rest is up to the worker
	case !h.workerDead && !h.completed():
		problems = append(problems, fmt.Sprintf("nothing hindered it, but the run is not completed: %s %v", last.call, last.err))
	case !h.completed() && !errors.Is(last.err, agent.ErrNoOutcome):
		problems = append(problems, fmt.Sprintf("nothing hindered it, but the run has no end: %s %v", last.call, last.err))
	case last.at > h.scenario.duration+30*time.Minute:
		problems = append(problems, fmt.Sprintf("nothing hindered it, but it took until %v", last.at))
	}
	return problems
}

// mayMislead says that what a reader gets may be wrong for so long that it gives up.
func (s *scenario) mayMislead() bool {
	return slices.ContainsFunc(s.faults, func(f agenttest.Fault) bool {
		return (f.What == "any" || f.What == "get") && !slices.Contains([]string{"503", "500", "429", "stall", "slow", "redirect"}, f.Kind)
	})
}

// mayRefuse says that the storage may refuse an object for good.
func (s *scenario) mayRefuse() bool {
	return slices.ContainsFunc(s.faults, func(f agenttest.Fault) bool {
		return f.Probability > 0.3 || slices.Contains([]string{"400", "403", "expired"}, f.Kind)
	})
}

// tell is the history in lines, for whoever looks for what went wrong.
func (h *history) tell() string {
	var b strings.Builder
	for _, r := range h.server.Requests() {
		if r.What != "get" {
			fmt.Fprintf(&b, "%v %s %s %d %s stored=%t\n", r.At.Format("15:04:05.000"), r.What, r.Path, r.Status, r.Fault, r.Stored)
		}
	}
	for _, log := range h.logs {
		fmt.Fprintf(&b, "log %q: %d bytes seen, the last %q, %v; written:", log.name, len(log.seen), log.seen[max(0, len(log.seen)-120):], log.ended)
		for _, p := range log.pieces {
			fmt.Fprintf(&b, " %d..%d of %.30q", p.sure, p.most, p.text)
		}
		fmt.Fprintln(&b)
	}
	for _, e := range h.endings {
		fmt.Fprintf(&b, "%v process %d: %s: %v (dead %t, completed %t)\n", e.at, e.life, e.call, e.err, e.dead, e.completed)
	}
	return b.String()
}
