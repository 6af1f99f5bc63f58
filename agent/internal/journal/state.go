package journal

import (
	"fmt"

	"slices"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// State is what the records so far make of a run. The zero State is that of no record.
type State struct {
	Claim   Claim
	Started time.Time // when the run was claimed
	Until   time.Time // when the claim lapses, as renewed last

	Logs       []Log     // in the order in which they were added
	LogsStored *Receipt  // the latest logs.json; nil if none is stored
	LogsFirst  time.Time // when the first one was stored
	LogNames   []string  // the logs that the latest one names

	Added   []Artifact         // in the order in which they were added, as they were replaced last
	Stored  map[string]Receipt // artifacts, and the texts of logs, by name
	Missing map[string]string  // reasons by name

	Ended    []SealedLog // before the outcome is known
	Outcome  *Outcome
	Finished time.Time // when the outcome was known
	Frozen   *Frozen
	Result   *Receipt // result.json as it is stored

	Sent, Acknowledged bool // that the run is completed: to the queue, by the queue

	names map[string]int // where each is in Added
	light bool           // see lighten
}

// Log is a log and the chunks of it that are stored, in order and without a gap. Those that a larger one has replaced are left out.
type Log struct {
	Name   string
	Limit  int64 // see Record
	Chunks []schema.Chunk
	Loss   Loss // as it was noted last
}

// end is how many bytes of the log are stored as chunks.
func (l Log) end() int64 {
	if len(l.Chunks) == 0 {
		return 0
	}
	last := l.Chunks[len(l.Chunks)-1]
	return last.Offset + last.Size
}

// before is how many chunks stay when c is stored: those that begin before it.
func (l Log) before(c schema.Chunk) int {
	n := len(l.Chunks)
	for n > 0 && l.Chunks[n-1].Offset >= c.Offset {
		n--
	}
	return n
}

// conflict says why c cannot be stored: a chunk begins where the chunks end, or replaces whole ones and all
// behind them; it ends behind them all.
func (l Log) conflict(c schema.Chunk) string {
	end := (Log{Chunks: l.Chunks[:l.before(c)]}).end()
	switch {
	case c.Offset != end:
		return fmt.Sprintf("the chunk begins at byte %d of log %q, which is no border of the chunks that are stored, up to byte %d", c.Offset, l.Name, l.end())
	case c.Offset+c.Size <= l.end():
		return fmt.Sprintf("the chunk ends at byte %d of log %q, of which %d are stored", c.Offset+c.Size, l.Name, l.end())
	}
	return ""
}

// Phase is how far a run has come. Later phases are larger.
type Phase int

// The phases of a run.
const (
	PhaseNone         Phase = iota // there is no record
	PhaseWorking                   // the task may run
	PhaseEnding                    // the outcome is known
	PhaseFrozen                    // the bytes of result.json are fixed
	PhaseStored                    // result.json is stored
	PhaseSent                      // the queue may have been told
	PhaseAcknowledged              // the queue has said so
)

func (p Phase) String() string {
	names := []string{"not begun", "working", "ending", "result frozen", "result stored", "completed sent", "completed acknowledged"}
	if p < 0 || int(p) >= len(names) {
		return fmt.Sprintf("phase %d", int(p))
	}
	return names[p]
}

// Phase is how far the run has come.
func (s State) Phase() Phase {
	switch {
	case s.Acknowledged:
		return PhaseAcknowledged
	case s.Sent:
		return PhaseSent
	case s.Result != nil:
		return PhaseStored
	case s.Frozen != nil:
		return PhaseFrozen
	case s.Outcome != nil:
		return PhaseEnding
	case s.Claim.TaskID != "":
		return PhaseWorking
	}
	return PhaseNone
}

// StepError says why a step was refused.
type StepError struct {
	Phase  Phase // of the run
	Step   Step
	Reason string
}

func (e *StepError) Error() string {
	return fmt.Sprintf("write %q into the journal of a run (%v): %s", string(e.Step), e.Phase, e.Reason)
}

// Apply takes a record up into the state. It refuses what cannot follow from the earlier ones with a *[StepError],
// and leaves the state as it was. The number of the record is not looked at. Apply changes the state in place: [State.Clone] it to keep the earlier one.
func (s *State) Apply(r Record) error {
	if err := s.check(r); err != nil {
		return err
	}
	s.set(r)
	return nil
}

// check is nil, or the *StepError of Apply.
func (s *State) check(r Record) error {
	phase := s.Phase()
	refuse := func(reason string) error { return &StepError{Phase: phase, Step: r.Step, Reason: reason} }
	rule, ok := ruleOf(r.Step)
	if !ok {
		return refuse("there is no such step")
	}
	if reason := r.fault(rule); reason != "" {
		return refuse(reason)
	}
	if phase < rule.first || phase > rule.last {
		return refuse(rule.otherwise)
	}
	if reason := s.conflict(r); reason != "" {
		return refuse(reason)
	}
	return nil
}

// conflict says what of the state a legal record contradicts; "" if nothing.
func (s *State) conflict(r Record) string {
	switch r.Step {
	case LogAdded:
		return s.taken(r.Log)
	case ArtifactAdded:
		return s.taken(r.Artifact.Name)
	case ArtifactReplaced:
		return s.cannotBeReplaced(r.Artifact.Name)
	case ChunkStored, LogLoss:
		i := s.log(r.Log)
		if i < 0 {
			return fmt.Sprintf("there is no log %q", r.Log)
		}
		if r.Step == LogLoss {
			return ""
		}
		return s.Logs[i].conflict(*r.Chunk)
	case LogsStored:
		return s.oddNames(r.Names)
	case ArtifactStored:
		return s.cannotBeStored(r.Receipt.Name)
	case LogsEnded:
		return s.oddSeals(r.Ended)
	case OutcomeKnown:
		return s.oddSeals(r.Outcome.Logs)
	case ResultFrozen:
		return s.unsettled()
	case ResultStored:
		if r.Receipt.Size != s.Frozen.Size || r.Receipt.Digest != s.Frozen.Digest {
			return "the bytes that are stored are not those that were frozen"
		}
	}
	return ""
}

// taken says why nothing more can be added under a name.
func (s *State) taken(name string) string {
	_, missing := s.Missing[name]
	switch {
	case s.log(name) >= 0:
		return fmt.Sprintf("there is a log %q", name)
	case s.added(name):
		return fmt.Sprintf("there is an artifact %q", name)
	case missing:
		return fmt.Sprintf("artifact %q was said to be missing", name)
	}
	return ""
}

func (s *State) cannotBeReplaced(name string) string {
	_, missing := s.Missing[name]
	switch {
	case s.log(name) >= 0:
		return fmt.Sprintf("%q is a log", name)
	case !missing && !s.added(name):
		return fmt.Sprintf("there is no artifact %q", name)
	}
	return ""
}

func (s *State) cannotBeStored(name string) string {
	if s.log(name) >= 0 {
		if s.Outcome == nil {
			return fmt.Sprintf("log %q ends when the outcome is known", name)
		}
	} else if !s.added(name) {
		return fmt.Sprintf("there is no artifact or log %q", name)
	}
	if _, missing := s.Missing[name]; missing {
		return fmt.Sprintf("artifact %q was said to be missing", name)
	}
	return ""
}

// oddNames says what is wrong with the logs that logs.json names.
func (s *State) oddNames(names []string) string {
	for i, name := range names {
		if s.log(name) < 0 {
			return fmt.Sprintf("there is no log %q", name)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Sprintf("log %q is named twice", name)
		}
	}
	return ""
}

// oddSeals says what is wrong with the logs of an outcome: every one has to be there, once.
func (s *State) oddSeals(logs []SealedLog) string {
	names := make([]string, len(logs))
	for i, log := range logs {
		names[i] = log.Name
		if log.Size < 0 {
			return fmt.Sprintf("the size of log %q is negative", log.Name)
		}
	}
	if reason := s.oddNames(names); reason != "" {
		return reason
	}
	for _, log := range s.Logs {
		if !slices.Contains(names, log.Name) {
			return fmt.Sprintf("it does not name log %q", log.Name)
		}
	}
	return ""
}

// unsettled says what has to be known before the result can be frozen.
func (s *State) unsettled() string {
	if s.LogsStored == nil {
		return "logs.json is not stored"
	}
	settled := func(name string) bool {
		_, stored := s.Stored[name]
		_, missing := s.Missing[name]
		return stored || missing || s.light && s.names[name] == storedArtifact
	}
	for _, log := range s.Logs {
		if !slices.Contains(s.LogNames, log.Name) {
			return fmt.Sprintf("logs.json as it is stored does not name log %q", log.Name)
		}
		if !settled(log.Name) {
			return fmt.Sprintf("log %q is neither stored nor missing", log.Name)
		}
	}
	for name := range s.names {
		if !settled(name) {
			return fmt.Sprintf("artifact %q is neither stored nor missing", name)
		}
	}
	return ""
}

// log is the index of a log, -1 if there is none of that name.
func (s *State) log(name string) int {
	return slices.IndexFunc(s.Logs, func(l Log) bool { return l.Name == name })
}

func (s *State) added(name string) bool {
	_, ok := s.names[name]
	return ok
}

// add takes an artifact up, in the place of the one of its name if there is one.
func (s *State) add(a Artifact) {
	if s.names == nil {
		s.names = map[string]int{}
	}
	if s.light {
		s.names[a.Name] = addedArtifact
		return
	}
	if i, ok := s.names[a.Name]; ok {
		s.Added[i] = a
		return
	}
	s.names[a.Name] = len(s.Added)
	s.Added = append(s.Added, a)
}

// set takes up a record that was checked.
func (s *State) set(r Record) {
	switch r.Step {
	case Claimed:
		s.Claim, s.Started, s.Until = *r.Claim, r.At, r.Claim.Until
	case Renewed:
		s.Until = *r.Until
	case LogAdded:
		s.Logs = append(s.Logs, Log{Name: r.Log, Limit: r.Limit})
	case LogLoss:
		s.Logs[s.log(r.Log)].Loss = *r.Loss
	case ChunkStored:
		log := &s.Logs[s.log(r.Log)]
		log.Chunks = append(log.Chunks[:log.before(*r.Chunk)], *r.Chunk)
	case LogsStored:
		if s.LogsStored == nil {
			s.LogsFirst = r.At
		}
		s.LogsStored, s.LogNames = copied(r.Receipt), slices.Clone(r.Names)
	case ArtifactAdded:
		s.add(*r.Artifact)
	case ArtifactReplaced:
		s.add(*r.Artifact)
		delete(s.Stored, r.Artifact.Name)
		delete(s.Missing, r.Artifact.Name)
	case ArtifactStored:
		if s.light && s.added(r.Receipt.Name) {
			s.names[r.Receipt.Name] = storedArtifact
			return
		}
		if s.Stored == nil {
			s.Stored = map[string]Receipt{}
		}
		s.Stored[r.Receipt.Name] = *r.Receipt
	case ArtifactMissing:
		if s.Missing == nil {
			s.Missing = map[string]string{}
		}
		s.Missing[r.Missing.Name] = r.Missing.Reason
		delete(s.Stored, r.Missing.Name) // other bytes were to take their place
	case LogsEnded:
		s.Ended = slices.Clone(r.Ended)
	case OutcomeKnown:
		s.Outcome, s.Finished = r.Outcome.clone(), r.At
	case ResultFrozen:
		s.Frozen = copied(r.Frozen)
	case ResultStored:
		s.Result = copied(r.Receipt)
	case CompletedSent:
		s.Sent = true
	case CompletedKnown:
		s.Acknowledged = true
	}
}
