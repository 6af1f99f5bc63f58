package journal

import (
	"bytes"
	"maps"
	"slices"
)

// Clone is a copy that shares nothing with s.
func (s State) Clone() State {
	s.Logs = slices.Clone(s.Logs)
	for i := range s.Logs {
		s.Logs[i].Chunks = slices.Clone(s.Logs[i].Chunks)
	}
	s.LogNames, s.Added = slices.Clone(s.LogNames), slices.Clone(s.Added)
	s.Stored, s.Missing, s.names = maps.Clone(s.Stored), maps.Clone(s.Missing), maps.Clone(s.names)
	s.LogsStored, s.Frozen, s.Result = copied(s.LogsStored), copied(s.Frozen), copied(s.Result)
	s.Ended = slices.Clone(s.Ended)
	s.Outcome = s.Outcome.clone()
	return s
}

func (o *Outcome) clone() *Outcome {
	if o == nil {
		return nil
	}
	c := *o
	c.Result, c.Logs = bytes.Clone(o.Result), slices.Clone(o.Logs)
	return &c
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
