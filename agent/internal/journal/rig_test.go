package journal_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	stateDir = "/tmp"
	path     = "/tmp/journal"
)

var start = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func newDisk(seed uint64) *disktest.Disk { return disktest.New(rand.New(rand.NewPCG(seed, 1))) }

func claimed() journal.Record {
	return journal.Record{At: start, Step: journal.Claimed, Claim: &journal.Claim{
		TaskID: "YpsYjqE5Q_-NIvzSmpNnFA", RunID: 1, Worker: schema.Worker{WorkerGroup: "local", WorkerID: "w1"},
		Queue: "https://queue.example/v1", Until: start.Add(20 * time.Minute),
	}}
}

func receipt(name, content string) *journal.Receipt {
	return &journal.Receipt{
		Name: name, URL: "https://tasks.example/" + name + "?v=1", Size: int64(len(content)),
		Digest: upload.Sum([]byte(content)), ETag: `"e"`, Attempts: 2,
	}
}

// wholeRun is a run from the claim to the end, each record with a state of its own.
func wholeRun() []journal.Record {
	const log, text = "public/terminal.log", "https://tasks.example/live/0-10"
	until := start.Add(40 * time.Minute)
	records := []journal.Record{
		claimed(),
		{Step: journal.LogAdded, Log: log, Limit: 1 << 20},
		{Step: journal.LogsStored, Names: []string{log}, Receipt: receipt("logs.json", "{}")},
		{Step: journal.ChunkStored, Log: log, Chunk: &schema.Chunk{Offset: 0, Size: 10, URL: text, Encoding: "identity"}},
		{Step: journal.LogLoss, Log: log, Loss: &journal.Loss{Bytes: 9, Lines: 2, AtLeast: true, Reason: "disk full", Unmarked: 4, UnmarkedLines: 1, Open: true, At: 10}},
		{Step: journal.LogLoss, Log: log, Loss: &journal.Loss{Bytes: 9, Lines: 2, Reason: "disk full", At: 10, Block: 80}},
		{Step: journal.ArtifactAdded, Artifact: &journal.Artifact{Name: "public/a <b> & \u2028.txt", ContentType: "text/plain", Path: "/out/a"}},
		{Step: journal.Renewed, Until: &until},
		{Step: journal.ArtifactStored, Receipt: receipt("public/a <b> & \u2028.txt", "aaa")},
		{Step: journal.ArtifactAdded, Artifact: &journal.Artifact{Name: "public/gone.txt"}},
		{Step: journal.ArtifactMissing, Missing: &journal.Missing{Name: "public/gone.txt", Reason: "open gone.txt: no such file"}},
		{Step: journal.ArtifactReplaced, Artifact: &journal.Artifact{Name: "public/a <b> & \u2028.txt", Path: "/out/b", Folder: "/out"}},
		{Step: journal.ArtifactStored, Receipt: receipt("public/a <b> & \u2028.txt", "bbb")},
		{Step: journal.ArtifactMissing, Missing: &journal.Missing{Name: "../bad", Reason: "has a segment \"..\""}},
		{Step: journal.LogsEnded, Ended: []journal.SealedLog{{Name: log, Size: 30}}},
		{Step: journal.OutcomeKnown, Outcome: &journal.Outcome{
			Success: true, Result: json.RawMessage(`{"exit":0,"crc":"00000000"}`), Report: true,
			Logs: []journal.SealedLog{{Name: log, Size: 12, Lost: "disk full", Incomplete: "9 bytes"}},
		}},
		{Step: journal.ChunkStored, Log: log, Chunk: &schema.Chunk{Offset: 10, Size: 2, URL: text, Encoding: "gzip"}},
		{Step: journal.ArtifactStored, Receipt: receipt(log, "hello, world")},
		{Step: journal.ArtifactMissing, Missing: &journal.Missing{Name: log, Reason: "disk full"}},
		{Step: journal.ResultFrozen, Frozen: &journal.Frozen{Size: 6, Digest: upload.Sum([]byte("result"))}},
		{Step: journal.ResultStored, Receipt: receipt("result.json", "result")},
		{Step: journal.CompletedSent},
		{Step: journal.CompletedKnown},
	}
	for i := range records {
		records[i].At = start.Add(time.Duration(i) * time.Second)
	}
	return records
}

// statesOf are the states after none of the records, the first, the first two, ...
func statesOf(t *testing.T, records []journal.Record) []journal.State {
	t.Helper()
	states := []journal.State{{}}
	var s journal.State
	for i, r := range records {
		if err := s.Apply(r); err != nil {
			t.Fatalf("record %d: %v", i+1, err)
		}
		states = append(states, s.Clone())
	}
	return states
}

func create(t *testing.T, d disk.Disk) *journal.Journal {
	t.Helper()
	j, err := journal.Create(d, stateDir, claimed())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// writeAll writes a journal of records and gives the bytes of its file.
func writeAll(t *testing.T, records []journal.Record) []byte {
	t.Helper()
	d := newDisk(1)
	j, err := journal.Create(d, stateDir, records[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records[1:] {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return d.Files()[path]
}

// diskWith has a journal of these bytes.
func diskWith(t testing.TB, content []byte) *disktest.Disk {
	t.Helper()
	d := newDisk(1)
	f, err := d.Create(path)
	if err == nil {
		_, err = f.WriteAt(content, 0)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}
