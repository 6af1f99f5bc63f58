package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/schema"
)

// What Append and Note refuse reaches neither the file nor the state, and the journal goes on.
func TestRefusedIsNotWritten(t *testing.T) {
	d := newDisk(1)
	j := create(t, d)
	if err := j.Append(addLog(0)); err != nil {
		t.Fatal(err)
	}
	content, state, ops := d.Files()[path], j.State(), d.Ops()
	unencodable := journal.Record{Step: journal.OutcomeKnown, Outcome: &journal.Outcome{
		Result: json.RawMessage("{"), Logs: []journal.SealedLog{{Name: "log0"}},
	}}
	late := addLog(1)
	late.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, r := range []journal.Record{claimed(), addLog(0), {Step: journal.CompletedSent}, {Step: "coffee made"}, {}, unencodable, late} {
		for name, write := range map[string]func(journal.Record) error{"append": j.Append, "note": j.Note} {
			var refused *journal.StepError
			if err := write(r); !errors.As(err, &refused) || refused.Phase != journal.PhaseWorking || refused.Step != r.Step {
				t.Errorf("%s %q: %v", name, r.Step, err)
			}
		}
	}
	if string(d.Files()[path]) != string(content) || !reflect.DeepEqual(j.State(), state) || d.Ops() != ops {
		t.Error("something of it was kept")
	}
	if err := errors.Join(j.Append(addLog(1)), j.Close()); err != nil {
		t.Error(err)
	}
	if s, err := journal.Read(d, stateDir); err != nil || len(s.Logs) != 2 {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestTimeIsFilledIn(t *testing.T) {
	d := newDisk(1)
	before := time.Now()
	c := claimed()
	c.At = time.Time{}
	j, err := journal.Create(d, stateDir, c)
	if err != nil {
		t.Fatal(err)
	}
	if s := j.State(); s.Started.Before(before.Round(0)) || s.Started.After(time.Now()) || s.Started.Location() != time.UTC {
		t.Errorf("started %v", s.Started)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// with is a legal record of a step with something wrong in it.
func with(event string, change func(*journal.Record)) journal.Record {
	r := makeEvents()[event]
	change(&r)
	return r
}

func TestBadRecords(t *testing.T) {
	working := history{"claim", "add log", "add art"}
	ending := append(slices.Clone(working), "logs.json log", "outcome log", "store log", "store art")
	tests := []struct {
		name   string
		after  history
		record journal.Record
		reason string
	}{
		{"no log", working, with("add log", func(r *journal.Record) { r.Log = "" }), `members [] instead of ["log"]`},
		{"no chunk", working, with("chunk 0-10", func(r *journal.Record) { r.Chunk = nil }), `members ["log"]`},
		{"a receipt too many", working, with("renew", func(r *journal.Record) { r.Receipt = receipt("a", "a") }), `members ["receipt" "until"]`},
		{"names of nothing", working, with("renew", func(r *journal.Record) { r.Names = []string{"log"} }), "has names"},
		{"empty name", working, with("add art", func(r *journal.Record) { r.Artifact.Name = "" }), "a name is empty"},
		{"name not UTF-8", working, with("add log", func(r *journal.Record) { r.Log = "l\xff" }), "not valid UTF-8"},
		{"missing name not UTF-8", working, with("miss other", func(r *journal.Record) { r.Missing.Name = "l\xff" }), "not valid UTF-8"},
		{"receipt's name not UTF-8", working, with("store art", func(r *journal.Record) { r.Receipt.Name = "l\xff" }), "not valid UTF-8"},
		{"sealed name not UTF-8", working, with("outcome log", func(r *journal.Record) { r.Outcome.Logs[0].Name = "l\xff" }), "not valid UTF-8"},
		{"name in logs.json not UTF-8", working, with("logs.json log", func(r *journal.Record) { r.Names = []string{"l\xff"} }), "not valid UTF-8"},
		{"path not UTF-8", working, with("add art", func(r *journal.Record) { r.Artifact = &journal.Artifact{Name: "b", Path: "/l\xff"} }), "path"},
		{"task id", nil, with("claim", func(r *journal.Record) { r.Claim.TaskID = "x" }), `"x" is no task id`},
		{"run id", nil, with("claim", func(r *journal.Record) { r.Claim.RunID = -1 }), "no run -1"},
		{"empty chunk", working, with("chunk 0-10", func(r *journal.Record) { r.Chunk.Size = 0 }), "0 bytes at 0"},
		{"chunk before the log", working, with("chunk 0-10", func(r *journal.Record) { r.Chunk.Offset = -1 }), "10 bytes at -1"},
		{"chunk without end", append(slices.Clone(working), "chunk 0-10"), with("chunk 10-15", func(r *journal.Record) { r.Chunk.Size = math.MaxInt64 - 9 }), "at 10"},
		{"gap", working, with("chunk 0-10", func(r *journal.Record) { r.Chunk.Offset = 1 }), `begins at byte 1 of log "log", which is no border`},
		{"amid a chunk", append(slices.Clone(working), "chunk 0-10"), events["chunk 5-30"], `begins at byte 5 of log "log", which is no border`},
		{"nothing new", append(slices.Clone(working), "chunk 0-10"), events["chunk 0-10"], `ends at byte 10 of log "log", of which 10 are stored`},
		{"chunk of no log", working, with("chunk 0-10", func(r *journal.Record) { r.Log = "art" }), `no log "art"`},
		{"size of a receipt", working, with("store art", func(r *journal.Record) { r.Receipt.Size = -1 }), "a size is negative"},
		{"size of the result", ending, with("freeze", func(r *journal.Record) { r.Frozen.Size = -1 }), "a size is negative"},
		{"no digest", ending, with("freeze", func(r *journal.Record) { r.Frozen.Digest = "" }), "digest is empty"},
		{"other size", append(slices.Clone(ending), "freeze"), with("store result", func(r *journal.Record) { r.Receipt.Size++ }), "not those that were frozen"},
		{"other digest", append(slices.Clone(ending), "freeze"), with("store result", func(r *journal.Record) { r.Receipt.Digest += "x" }), "not those that were frozen"},
		{"log of an artifact's name", working, with("add log", func(r *journal.Record) { r.Log = "art" }), `there is an artifact "art"`},
		{"artifact of a log's name", working, with("add art", func(r *journal.Record) { r.Artifact.Name = "log" }), `there is a log "log"`},
		{"artifact that is missing", append(slices.Clone(working), "miss other"), with("add art", func(r *journal.Record) { r.Artifact.Name = "other" }), `"other" was said to be missing`},
		{"artifact never added", working, with("store art", func(r *journal.Record) { r.Receipt.Name = "other" }), `no artifact or log "other"`},
		{"logs.json with an artifact", working, with("logs.json log", func(r *journal.Record) { r.Names = []string{"art"} }), `no log "art"`},
		{"logs.json with a log twice", working, with("logs.json log", func(r *journal.Record) { r.Names = []string{"log", "log"} }), "twice"},
		{"outcome with a log twice", working, with("outcome log", func(r *journal.Record) { r.Outcome.Logs = make2(r.Outcome.Logs[0]) }), "twice"},
		{"outcome without the log", working, with("outcome log", func(r *journal.Record) { r.Outcome.Logs = nil }), `does not name log "log"`},
		{"outcome with no such log", working, with("outcome log", func(r *journal.Record) { r.Outcome.Logs[0].Name = "art" }), `no log "art"`},
		{"loss of no log", working, with("lose log", func(r *journal.Record) { r.Log = "art" }), `no log "art"`},
		{"negative loss", working, with("lose log", func(r *journal.Record) { r.Loss.At = -1 }), "negative"},
		{"limit of nothing", working, with("renew", func(r *journal.Record) { r.Limit = 1 }), "has a limit"},
		{"sealed size", working, with("outcome log", func(r *journal.Record) { r.Outcome.Logs[0].Size = -1 }), "negative"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := stateAfter(t, test.after)
			was := s.Clone()
			var refused *journal.StepError
			if err := s.Apply(test.record); !errors.As(err, &refused) || !strings.Contains(refused.Reason, test.reason) {
				t.Errorf("got %v, want %q", err, test.reason)
			}
			if !reflect.DeepEqual(s, was) {
				t.Error("the state has changed")
			}
		})
	}
}

func make2(l journal.SealedLog) []journal.SealedLog { return []journal.SealedLog{l, l} }

// A signed URL is a password.
func TestSignedURLsAreRefused(t *testing.T) {
	signed := []string{
		"https://x/o?X-Amz-Signature=geheim", "https://x/o?a=b&x-amz-signature=geheim", "https://x/o?Signature=geheim", "https://x/o?SIGNATURE=geheim&a=b",
		"https://x/o?AWSAccessKeyId=geheim", "https://x/o?a;awsaccesskeyid=geheim", "https://x/o?X%2DAmz-Signature=geheim", "https://x/o?X-Amz-Signature",
		"%zz://x o?Signature=geheim", "https://x/o?a?Signature=geheim", "https://x/o?a=%zz&Signature=geheim", "https://x/o?%zz=1&+signature=geheim",
	}
	plain := []string{
		"", "https://x/o", "https://x/o?versionId=Signature", "https://x/Signature=1", "https://x/o?NoSignature=1&e=x", "https://x/o?q=%26Signature%3D1",
	}
	s := stateAfter(t, history{"claim", "add log", "add art"})
	for _, place := range []struct {
		name string
		put  func(url string) journal.Record
	}{
		{"artifact", func(url string) journal.Record {
			return with("store art", func(r *journal.Record) { r.Receipt.URL = url })
		}},
		{"chunk", func(url string) journal.Record {
			return with("chunk 0-10", func(r *journal.Record) { r.Chunk.URL = url })
		}},
		{"logs.json", func(url string) journal.Record {
			return with("logs.json log", func(r *journal.Record) { r.Receipt.URL = url })
		}},
	} {
		for _, url := range signed {
			c := s.Clone()
			var refused *journal.StepError
			err := c.Apply(place.put(url))
			if journal.MayHold(url) {
				t.Errorf("%q may be held", url)
			}
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "signed URL") {
				t.Errorf("%s %q: %v", place.name, url, err)
			} else if strings.Contains(fmt.Sprintf("%v %#v", err, refused), "geheim") {
				t.Errorf("the error repeats the URL: %v", err)
			}
		}
		for _, url := range plain {
			c := s.Clone()
			if err := c.Apply(place.put(url)); err != nil || !journal.MayHold(url) {
				t.Errorf("%s %q: %v", place.name, url, err)
			}
		}
	}
}

// A state that was handed out stays what it was, and what the caller does with his record or with the state changes nothing.
func TestStateIsACopy(t *testing.T) {
	d := newDisk(1)
	records := wholeRun()
	j, err := journal.Create(d, stateDir, records[0])
	if err != nil {
		t.Fatal(err)
	}
	type kept struct {
		state journal.State
		text  string
	}
	var states []kept
	keep := func() {
		s := j.State()
		states = append(states, kept{s, describe(t, s)})
	}
	for _, r := range records[1:] {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
		keep()
		spoil(r)
	}
	for i, k := range states {
		if now := describe(t, k.state); now != k.text {
			t.Errorf("state %d has changed from %s to %s", i, k.text, now)
		}
	}
	last := states[len(states)-1]
	s := j.State()
	s.Logs[0].Chunks[0].Size, s.Logs[0].Name, s.LogNames[0], s.Added[0].Name = 99, "x", "x", "x"
	s.Stored["x"], s.Missing["x"] = journal.Receipt{}, "x"
	s.LogsStored.Name, s.Outcome.Logs[0].Name, s.Outcome.Result[0], s.Frozen.Size, s.Result.Size = "x", "x", 'x', 99, 99
	s.Outcome.Success = false
	if now := describe(t, j.State()); now != last.text {
		t.Errorf("the journal's state has changed from %s to %s", last.text, now)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// TestApplyKeepsNothingOfTheRecord is the same for the pure state.
func TestApplyKeepsNothingOfTheRecord(t *testing.T) {
	var s journal.State
	for _, r := range wholeRun() {
		if err := s.Apply(r); err != nil {
			t.Fatal(err)
		}
		was := describe(t, s)
		spoil(r)
		if now := describe(t, s); now != was {
			t.Errorf("%s: the state has changed from %s to %s", r.Step, was, now)
		}
	}
}

// spoil writes over whatever a record points to.
func spoil(r journal.Record) {
	if r.Receipt != nil {
		*r.Receipt = journal.Receipt{}
	}
	if r.Chunk != nil {
		*r.Chunk = schema.Chunk{}
	}
	if r.Outcome != nil {
		r.Outcome.Result[1], r.Outcome.Logs[0].Name = 'x', "x"
		*r.Outcome = journal.Outcome{}
	}
	if r.Frozen != nil {
		*r.Frozen = journal.Frozen{}
	}
	clear(r.Names)
}

func describe(t *testing.T, s journal.State) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Sprintf("%+v", s) + err.Error()
	}
	return string(text)
}

func TestConcurrentUse(t *testing.T) {
	d := newDisk(1)
	j := create(t, d)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := errors.Join(j.Append(addLog(3*i)), j.Note(addLog(3*i+1)), j.Sync(), j.Append(addLog(3*i+2)), j.Err()); err != nil {
				t.Error(err)
			}
			if s := j.State(); !slices.ContainsFunc(s.Logs, func(l journal.Log) bool { return l.Name == addLog(3*i+2).Log }) {
				t.Error("the state lags behind")
			}
		})
	}
	all.Wait()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if s, err := journal.Read(d.Restart(true), stateDir); err != nil || len(s.Logs) != 60 {
		t.Errorf("%v, %d logs", err, len(s.Logs))
	}
}

// logs.json is stored again after a resume; how long its readers had to wait for it is known from the first time.
func TestLogsAgain(t *testing.T) {
	var s journal.State
	records := []journal.Record{claimed(), makeEvents()["logs.json empty"], makeEvents()["add log"], makeEvents()["logs.json log"]}
	for i, r := range records {
		r.At = start.Add(time.Duration(i) * time.Second)
		if err := s.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	if !s.LogsFirst.Equal(start.Add(time.Second)) || s.LogsStored.Size != 5 || !slices.Equal(s.LogNames, []string{"log"}) {
		t.Errorf("first %v, %+v, names %q", s.LogsFirst, s.LogsStored, s.LogNames)
	}
}

// The state is made of what is in the file, even where JSON cannot hold all that the record held.
func TestStateIsThatOfTheFile(t *testing.T) {
	d := newDisk(1)
	j := create(t, d)
	r := makeEvents()["outcome empty"]
	r.Outcome.Result = json.RawMessage("{ \"exit\":\n0 }")
	err := errors.Join(
		j.Append(journal.Record{At: time.Now(), Step: journal.ArtifactMissing, Missing: &journal.Missing{Name: "a", Reason: "l\xff"}}),
		j.Append(r))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := journal.Read(d, stateDir); err != nil || !reflect.DeepEqual(s, j.State()) {
		t.Errorf("%v, read %+v, want %+v", err, s, j.State())
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestPoints(t *testing.T) {
	points := journal.Points()
	if len(points) != 3*16 || !slices.Contains(points, "artifact stored: written") || len(slices.Compact(slices.Sorted(slices.Values(points)))) != len(points) {
		t.Errorf("%q", points)
	}
}
