package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// history is what was done so far, in words.
type history []string

func (h history) has(event string) bool { return slices.Contains(h, event) }

func (h history) any(prefix string) bool { return h.last(prefix) != "" }

// last is the latest event that begins with prefix, "" if there is none.
func (h history) last(prefix string) string {
	for _, event := range slices.Backward(h) {
		if strings.HasPrefix(event, prefix) {
			return event
		}
	}
	return ""
}

// since is what was done since an event was last; all of it, if it never was.
func (h history) since(event string) history {
	for i, e := range slices.Backward(h) {
		if e == event {
			return h[i+1:]
		}
	}
	return h
}

// arts is what matters of the artifact "art" since it was replaced.
func arts(h history) (added, stored, missing bool) {
	now := h.since("replace art")
	return h.has("add art") || h.has("replace art"), now.has("store art"), now.has("miss art")
}

// allowed says of every event what has to be before it, and what must not. It knows nothing of phases.
var allowed = map[string]func(history) bool{
	"claim":       func(h history) bool { return len(h) == 0 },
	"renew":       func(h history) bool { return h.has("claim") && !h.has("ack") },
	"add log":     func(h history) bool { return open(h) && !h.has("add log") && !h.has("miss log") },
	"lose log":    func(h history) bool { return open(h) && h.has("add log") },
	"chunk 0-10":  func(h history) bool { return h.has("add log") && !h.any("chunk") && !h.has("freeze") },
	"chunk 10-15": func(h history) bool { return h.last("chunk") == "chunk 0-10" && !h.has("freeze") },
	"chunk 10-30": func(h history) bool {
		return h.has("chunk 0-10") && !h.any("chunk 10-30") && !h.has("chunk 0-30") && !h.has("freeze")
	},
	"chunk 0-30": func(h history) bool {
		return h.has("add log") && !h.has("chunk 10-30") && !h.has("chunk 0-30") && !h.has("freeze")
	},
	"chunk 5-30":      func(h history) bool { return false },
	"logs.json empty": func(h history) bool { return unfrozen(h) },
	"logs.json log":   func(h history) bool { return unfrozen(h) && h.has("add log") },
	"add art":         func(h history) bool { return open(h) && !h.has("add art") && !h.has("miss art") },
	"replace art":     func(h history) bool { return open(h) && (h.has("add art") || h.has("miss art")) },
	"store art":       func(h history) bool { added, _, missing := arts(h); return unfrozen(h) && added && !missing },
	"store log":       func(h history) bool { return unfrozen(h) && h.has("add log") && h.any("outcome") && !h.has("miss log") },
	"miss art":        unfrozen, // also after "store art": other bytes were to take their place
	"miss log":        unfrozen,
	"miss other":      unfrozen,
	"end log":         func(h history) bool { return open(h) && h.has("add log") },
	"outcome empty":   func(h history) bool { return open(h) && !h.has("add log") },
	"outcome log":     func(h history) bool { return open(h) && h.has("add log") },
	"freeze": func(h history) bool {
		logs := !h.has("add log") || h.last("logs.json") == "logs.json log" && (h.has("store log") || h.has("miss log"))
		added, stored, missing := arts(h)
		return unfrozen(h) && h.any("outcome") && h.any("logs.json") && logs && (!added || stored || missing)
	},
	"store result": func(h history) bool { return h.has("freeze") && !h.has("store result") },
	"store other":  func(history) bool { return false },
	"send":         func(h history) bool { return h.has("store result") && !h.has("ack") },
	"ack":          func(h history) bool { return h.has("send") && !h.has("ack") },
}

func open(h history) bool     { return h.has("claim") && !h.any("outcome") }
func unfrozen(h history) bool { return h.has("claim") && !h.has("freeze") }

// events are the records of that small world.
var events = makeEvents()

func makeEvents() map[string]journal.Record {
	until := start
	outcome := func(logs ...journal.SealedLog) journal.Record {
		return journal.Record{Step: journal.OutcomeKnown, Outcome: &journal.Outcome{Logs: logs}}
	}
	missing := func(name string) journal.Record {
		return journal.Record{Step: journal.ArtifactMissing, Missing: &journal.Missing{Name: name, Reason: "lost"}}
	}
	return map[string]journal.Record{
		"claim":           claimed(),
		"renew":           {Step: journal.Renewed, Until: &until},
		"add log":         {Step: journal.LogAdded, Log: "log"},
		"lose log":        {Step: journal.LogLoss, Log: "log", Loss: &journal.Loss{Bytes: 7, Lines: 1, Reason: "full", At: 10, Block: 30}},
		"chunk 0-10":      {Step: journal.ChunkStored, Log: "log", Chunk: &schema.Chunk{Size: 10}},
		"chunk 10-15":     {Step: journal.ChunkStored, Log: "log", Chunk: &schema.Chunk{Offset: 10, Size: 5}},
		"chunk 10-30":     {Step: journal.ChunkStored, Log: "log", Chunk: &schema.Chunk{Offset: 10, Size: 20}},
		"chunk 0-30":      {Step: journal.ChunkStored, Log: "log", Chunk: &schema.Chunk{Size: 30}},
		"chunk 5-30":      {Step: journal.ChunkStored, Log: "log", Chunk: &schema.Chunk{Offset: 5, Size: 25}},
		"logs.json empty": {Step: journal.LogsStored, Receipt: receipt("logs.json", "{}")},
		"logs.json log":   {Step: journal.LogsStored, Receipt: receipt("logs.json", "{log}"), Names: []string{"log"}},
		"add art":         {Step: journal.ArtifactAdded, Artifact: &journal.Artifact{Name: "art"}},
		"replace art":     {Step: journal.ArtifactReplaced, Artifact: &journal.Artifact{Name: "art", Path: "/another"}},
		"store art":       {Step: journal.ArtifactStored, Receipt: receipt("art", "a")},
		"store log":       {Step: journal.ArtifactStored, Receipt: receipt("log", "l")},
		"miss art":        missing("art"),
		"miss log":        missing("log"),
		"miss other":      missing("other"),
		"end log":         {Step: journal.LogsEnded, Ended: []journal.SealedLog{{Name: "log", Size: 12}}},
		"outcome empty":   outcome(),
		"outcome log":     outcome(journal.SealedLog{Name: "log", Size: 15}),
		"freeze":          {Step: journal.ResultFrozen, Frozen: &journal.Frozen{Size: 6, Digest: upload.Sum([]byte("result"))}},
		"store result":    {Step: journal.ResultStored, Receipt: receipt("result.json", "result")},
		"store other":     {Step: journal.ResultStored, Receipt: receipt("result.json", "resulT")},
		"send":            {Step: journal.CompletedSent},
		"ack":             {Step: journal.CompletedKnown},
	}
}

// tryAll applies every event after a history and gives those that were taken; it fails where the specification says otherwise.
func tryAll(t *testing.T, h history, s journal.State) map[string]journal.State {
	taken := map[string]journal.State{}
	for name, record := range events {
		next := s.Clone()
		err := next.Apply(record)
		var refused *journal.StepError
		switch {
		case allowed[name](h) != (err == nil):
			t.Fatalf("after %q: %q: got %v, but the specification says %v", h, name, err, allowed[name](h))
		case err == nil:
			taken[name] = next
		case !errors.As(err, &refused) || refused.Step != record.Step || refused.Phase != s.Phase() || refused.Reason == "":
			t.Fatalf("after %q: %q: got %#v", h, name, err)
		case !reflect.DeepEqual(next, s):
			t.Fatalf("after %q: %q was refused but changed the state", h, name)
		}
	}
	return taken
}

// All sequences, up to a length.
func TestEveryShortHistory(t *testing.T) {
	const depth = 4
	count := 0
	var walk func(history, journal.State)
	walk = func(h history, s journal.State) {
		count++
		for name, next := range tryAll(t, h, s) {
			if len(h) < depth {
				walk(append(slices.Clip(h), name), next)
			}
		}
	}
	walk(nil, journal.State{})
	t.Logf("%d histories", count)
}

// Sequences of any length, but only one of those between which the specification makes no difference: it
// looks at what was done at all, at the latest logs.json, and at what has become of an artifact since it was replaced.
func TestEveryKindOfHistory(t *testing.T) {
	t.Run("but for what is replaced", func(t *testing.T) {
		everyKind(t, func(event string) bool { return event != "replace art" })
	})
	t.Run("of an artifact", func(t *testing.T) {
		everyKind(t, func(event string) bool {
			return strings.HasSuffix(event, " art") || slices.Contains([]string{"claim", "logs.json empty", "outcome empty", "freeze", "store result", "send", "ack"}, event)
		})
	})
}

func everyKind(t *testing.T, of func(event string) bool) {
	seen, finished := map[string]bool{}, 0
	queue := []history{nil}
	for len(queue) > 0 {
		h := queue[0]
		queue = queue[1:]
		if h.has("ack") {
			finished++
		}
		for name := range tryAll(t, h, stateAfter(t, h)) {
			if !of(name) {
				continue
			}
			next := append(slices.Clip(h), name)
			kind := slices.Compact(slices.Sorted(slices.Values(next)))
			_, stored, missing := arts(next)
			if key := fmt.Sprint(kind, next.last("logs.json"), stored, missing); !seen[key] {
				seen[key] = true
				queue = append(queue, next)
			}
		}
	}
	t.Logf("%d kinds of histories, %d of which come to the end", len(seen), finished)
	if finished == 0 {
		t.Error("no run can be completed")
	}
}

func TestRandomHistories(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var h history
		var s journal.State
		for range 40 {
			taken := tryAll(t, h, s)
			if len(taken) == 0 {
				break
			}
			names := make([]string, 0, len(taken))
			for name := range taken {
				names = append(names, name)
			}
			slices.Sort(names)
			name := names[random.IntN(len(names))]
			h, s = append(h, name), taken[name]
		}
	}
}

// A chunk takes the place of those that it covers.
func TestChunksThatReplaceOthers(t *testing.T) {
	for steps, want := range map[string]string{
		"chunk 0-10,chunk 10-15":             "0-10 10-15",
		"chunk 0-10,chunk 10-30":             "0-10 10-30",
		"chunk 0-10,chunk 10-15,chunk 10-30": "0-10 10-30",
		"chunk 0-10,chunk 10-15,chunk 0-30":  "0-30",
		"chunk 0-10,chunk 0-30":              "0-30",
	} {
		var got []string
		for _, c := range stateAfter(t, strings.Split("claim,add log,"+steps, ",")).Logs[0].Chunks {
			got = append(got, fmt.Sprintf("%d-%d", c.Offset, c.Offset+c.Size))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("after %q: chunks %q, want %q", steps, text, want)
		}
	}
}

func stateAfter(t *testing.T, h history) journal.State {
	t.Helper()
	var s journal.State
	for _, name := range h {
		if err := s.Apply(events[name]); err != nil {
			t.Fatalf("%q: %v", h, err)
		}
	}
	return s
}

// Every step in every phase, of a run with nothing left to do but the next phase.
func TestStepsInPhases(t *testing.T) {
	phases := []struct {
		phase   journal.Phase
		name    string
		history string
	}{
		{journal.PhaseNone, "not begun", ""},
		{journal.PhaseWorking, "working", "claim,add log,add art,logs.json log"},
		{journal.PhaseEnding, "ending", "claim,add log,add art,logs.json log,outcome log,store log,store art"},
		{journal.PhaseFrozen, "result frozen", "claim,add log,add art,logs.json log,outcome log,store log,store art,freeze"},
		{journal.PhaseStored, "result stored", "claim,add log,add art,logs.json log,outcome log,store log,store art,freeze,store result"},
		{journal.PhaseSent, "completed sent", "claim,add log,add art,logs.json log,outcome log,store log,store art,freeze,store result,send"},
		{journal.PhaseAcknowledged, "completed acknowledged", "claim,add log,add art,logs.json log,outcome log,store log,store art,freeze,store result,send,ack"},
	}
	log2 := journal.Record{Step: journal.LogAdded, Log: "log2"}
	art2 := journal.Record{Step: journal.ArtifactAdded, Artifact: &journal.Artifact{Name: "art2"}}
	e := events
	steps := []struct {
		record journal.Record
		legal  string // a column a phase
	}{
		{e["claim"], "x......"},
		{e["renew"], ".xxxxx."},
		{log2, ".x....."},
		{e["lose log"], ".x....."},
		{e["chunk 0-10"], ".xx...."},
		{e["logs.json log"], ".xx...."},
		{art2, ".x....."},
		{e["replace art"], ".x....."},
		{e["store art"], ".xx...."},
		{e["store log"], "..x...."},
		{e["miss other"], ".xx...."},
		{e["miss log"], ".xx...."},
		{e["end log"], ".x....."},
		{e["outcome log"], ".x....."},
		{e["freeze"], "..x...."},
		{e["store result"], "...x..."},
		{e["send"], "....xx."},
		{e["ack"], ".....x."},
	}
	for i, p := range phases {
		var h history
		if p.history != "" {
			h = strings.Split(p.history, ",")
		}
		s := stateAfter(t, h)
		if s.Phase() != p.phase || s.Phase().String() != p.name {
			t.Errorf("after %q: phase %v, want %v %q", h, s.Phase(), p.phase, p.name)
		}
		for _, step := range steps {
			c := s.Clone()
			if err := c.Apply(step.record); (err == nil) != (step.legal[i] == 'x') {
				t.Errorf("%v: %q: %v", p.phase, step.record.Step, err)
			}
		}
	}
}
