package journal

import (
	"fmt"
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
	if found := r.members(); !slices.Equal(found, rule.members) {
		return fmt.Sprintf("its record has the members %q instead of %q", found, rule.members)
	}
	if len(r.Names) > 0 && r.Step != LogsStored {
		return "its record has names"
	}
	if r.Limit != 0 && r.Step != LogAdded {
		return "its record has a limit"
	}
	for _, name := range r.names() {
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

// members names the members that a record has besides its number, time, step and names; sorted.
func (r Record) members() []string {
	var found []string
	for _, m := range []struct {
		name  string
		there bool
	}{
		{"artifact", r.Artifact != nil}, {"chunk", r.Chunk != nil}, {"claim", r.Claim != nil}, {"ended", len(r.Ended) > 0}, {"frozen", r.Frozen != nil},
		{"log", r.Log != ""}, {"loss", r.Loss != nil}, {"missing", r.Missing != nil}, {"outcome", r.Outcome != nil}, {"receipt", r.Receipt != nil}, {"until", r.Until != nil},
	} {
		if m.there {
			found = append(found, m.name)
		}
	}
	return found
}

// names are those of all logs and artifacts in a record.
func (r Record) names() []string {
	names := slices.Clone(r.Names)
	if r.Log != "" {
		names = append(names, r.Log)
	}
	if r.Artifact != nil {
		names = append(names, r.Artifact.Name)
	}
	if r.Missing != nil {
		names = append(names, r.Missing.Name)
	}
	if r.Receipt != nil {
		names = append(names, r.Receipt.Name)
	}
	for _, log := range r.Ended {
		names = append(names, log.Name)
	}
	if r.Outcome != nil {
		for _, log := range r.Outcome.Logs {
			names = append(names, log.Name)
		}
	}
	return names
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
