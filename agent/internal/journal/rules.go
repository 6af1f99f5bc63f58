package journal

import (
	"fmt"
	"iter"
	"math"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// rule says when a step is legal and which members its record has.
type rule struct {
	step        Step
	members     []string // exactly these; names, which may be none, are not looked at
	first, last Phase    // the phases in which it is legal
	otherwise   string   // why not in others
}

// rules are all steps.
var rules = []rule{
	{Claimed, []string{"claim"}, PhaseNone, PhaseNone, "a run is claimed once, at its beginning"},
	{Renewed, []string{"until"}, PhaseWorking, PhaseSent, "there is no claim to renew"},
	{LogAdded, []string{"log"}, PhaseWorking, PhaseWorking, "logs are added between the claim and the outcome"},
	{LogLoss, []string{"log", "loss"}, PhaseWorking, PhaseWorking, "logs end before the outcome is known"},
	{ChunkStored, []string{"chunk", "log"}, PhaseWorking, PhaseEnding, "logs are published before the result is frozen"},
	{LogsStored, []string{"receipt"}, PhaseWorking, PhaseEnding, "logs.json is stored before the result is frozen"},
	{ArtifactAdded, []string{"artifact"}, PhaseWorking, PhaseWorking, "artifacts are added between the claim and the outcome"},
	{ArtifactReplaced, []string{"artifact"}, PhaseWorking, PhaseWorking, "artifacts are replaced between the claim and the outcome"},
	{ArtifactStored, []string{"receipt"}, PhaseWorking, PhaseEnding, "artifacts are stored before the result is frozen"},
	{ArtifactMissing, []string{"missing"}, PhaseWorking, PhaseEnding, "what is missing is said before the result is frozen"},
	{LogsEnded, []string{"ended"}, PhaseWorking, PhaseWorking, "logs have ended when the outcome is known"},
	{OutcomeKnown, []string{"outcome"}, PhaseWorking, PhaseWorking, "a claimed run has one outcome"},
	{ResultFrozen, []string{"frozen"}, PhaseEnding, PhaseEnding, "the result is frozen once, after the outcome is known"},
	{ResultStored, []string{"receipt"}, PhaseFrozen, PhaseFrozen, "the result is stored once, after it is frozen"},
	{CompletedSent, nil, PhaseStored, PhaseSent, "a run is reported only after its result is stored"},
	{CompletedKnown, nil, PhaseSent, PhaseSent, "what was not sent cannot be acknowledged"},
}

func ruleOf(step Step) (rule, bool) {
	i := slices.IndexFunc(rules, func(r rule) bool { return r.step == step })
	if i < 0 {
		return rule{}, false
	}
	return rules[i], true
}

// fault says what is wrong with a record for its rule, whatever came before; "" if nothing is.
func (r Record) fault(rule rule) string {
	if !r.has(rule.members) {
		return fmt.Sprintf("its record has the members %q instead of %q", r.members(), rule.members)
	}
	if len(r.Names) > 0 && r.Step != LogsStored {
		return "its record has names"
	}
	if r.Limit != 0 && r.Step != LogAdded {
		return "its record has a limit"
	}
	for name := range r.names() {
		if name == "" {
			return "a name is empty"
		}
		if !utf8.ValidString(name) {
			return fmt.Sprintf("the name %q is not valid UTF-8", name)
		}
	}
	switch {
	case r.Claim != nil && !r.Claim.TaskID.Valid():
		return fmt.Sprintf("%q is no task id", r.Claim.TaskID)
	case r.Claim != nil && r.Claim.RunID < 0:
		return fmt.Sprintf("there is no run %d", r.Claim.RunID)
	case r.Artifact != nil && !utf8.ValidString(r.Artifact.Folder+r.Artifact.Path):
		return fmt.Sprintf("the path %q is not valid UTF-8", r.Artifact.Folder+r.Artifact.Path)
	case r.Chunk != nil && (r.Chunk.Offset < 0 || r.Chunk.Size < 1 || r.Chunk.Size > math.MaxInt64-r.Chunk.Offset):
		return fmt.Sprintf("a chunk cannot have %d bytes at %d", r.Chunk.Size, r.Chunk.Offset)
	case r.Receipt != nil && r.Receipt.Size < 0, r.Frozen != nil && r.Frozen.Size < 0:
		return "a size is negative"
	case r.Loss != nil && min(r.Loss.Bytes, r.Loss.Lines, r.Loss.Unmarked, r.Loss.UnmarkedLines, r.Loss.At, r.Loss.Block, r.Loss.Own) < 0:
		return "a number of a loss is negative"
	case r.Frozen != nil && r.Frozen.Digest == "":
		return "the digest is empty"
	case r.Receipt != nil && signed(r.Receipt.URL), r.Chunk != nil && signed(r.Chunk.URL):
		return "its URL is signed, and a signed URL is a password; give one that readers may see"
	}
	return ""
}

// memberNames are the members that a record may have besides its number, time, step and names; sorted.
var memberNames = [...]string{"artifact", "chunk", "claim", "ended", "frozen", "log", "loss", "missing", "outcome", "receipt", "until"}

// filled says which of them a record has.
func (r Record) filled() [len(memberNames)]bool {
	return [...]bool{
		r.Artifact != nil, r.Chunk != nil, r.Claim != nil, len(r.Ended) > 0, r.Frozen != nil,
		r.Log != "", r.Loss != nil, r.Missing != nil, r.Outcome != nil, r.Receipt != nil, r.Until != nil,
	}
}

// has reports whether a record has exactly these members.
func (r Record) has(members []string) bool {
	for i, filled := range r.filled() {
		if filled {
			if len(members) == 0 || members[0] != memberNames[i] {
				return false
			}
			members = members[1:]
		}
	}
	return len(members) == 0
}

// members names the members that a record has.
func (r Record) members() []string {
	var found []string
	for i, filled := range r.filled() {
		if filled {
			found = append(found, memberNames[i])
		}
	}
	return found
}

// names are those of all logs and artifacts in a record.
func (r Record) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, name := range r.Names {
			if !yield(name) {
				return
			}
		}
		switch {
		case r.Log != "" && !yield(r.Log),
			r.Artifact != nil && !yield(r.Artifact.Name),
			r.Missing != nil && !yield(r.Missing.Name),
			r.Receipt != nil && !yield(r.Receipt.Name):
			return
		}
		ended := r.Ended
		if r.Outcome != nil {
			ended = slices.Concat(ended, r.Outcome.Logs)
		}
		for _, log := range ended {
			if !yield(log.Name) {
				return
			}
		}
	}
}

// signed reports whether the query of a URL holds a signature, of version 2 or 4. It does not rely on the URL being well formed.
func signed(raw string) bool {
	_, query, _ := strings.Cut(raw, "?")
	for part := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' || c == '?' || c == '#' }) {
		key, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(key); err == nil {
			key = plain
		}
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "x-amz-signature", "signature", "awsaccesskeyid":
			return true
		}
	}
	return false
}
