package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Members of result.json's result that are the agent's own.
const (
	missingArtifacts = "missingArtifacts" // what could not be stored, with the reasons
	artifactsExpire  = schema.ArtifactsExpire
	incompleteLogs   = "incompleteLogs" // logs that are stored and say themselves what is missing in them
)

// Outcome is what the worker says of a run.
type Outcome struct {
	// Success is whether the task did what it was for. A run with Success false is
	// completed all the same: the task has failed, not its infrastructure.
	Success bool
	// Result is the worker's own part of result.json: anything that is a JSON object.
	// Its members "missingArtifacts", "incompleteLogs" and "artifactsExpire" are written by the agent.
	Result map[string]any
}

func (o Outcome) check() error {
	for _, member := range []string{missingArtifacts, incompleteLogs, artifactsExpire} {
		if _, taken := o.Result[member]; taken {
			return fmt.Errorf("check outcome: result.%s is the agent's own; give it another name", member)
		}
	}
	// Whether it can be part of the document is known best by encoding one.
	trial := &Summary{Started: time.Now(), Finished: time.Now()}
	if _, err := schema.Encode(trial.result(schema.Worker{WorkerGroup: "x", WorkerID: "x"}, o)); err != nil {
		return fmt.Errorf("check outcome: %w", err)
	}
	return nil
}

// journalled is the outcome as the journal keeps it.
func (o Outcome) journalled(report bool) (journal.Outcome, error) {
	said := journal.Outcome{Success: o.Success, Report: report}
	if len(o.Result) > 0 {
		result, err := json.Marshal(o.Result)
		if err != nil {
			return said, fmt.Errorf("check outcome: %w", err)
		}
		said.Result = result
	}
	return said, nil
}

// outcomeOf is the outcome that the journal has kept.
func outcomeOf(said journal.Outcome) (Outcome, error) {
	o := Outcome{Success: said.Success}
	if len(said.Result) == 0 {
		return o, nil
	}
	d := json.NewDecoder(bytes.NewReader(said.Result))
	d.UseNumber() // a number stays as the worker wrote it
	if err := d.Decode(&o.Result); err != nil {
		return o, fmt.Errorf("read outcome: %w", err)
	}
	return o, nil
}

// Summary is what became of a run. Its maps are to be read only: those of ten thousand artifacts are not copied.
type Summary struct {
	TaskID   schema.TaskID
	RunID    schema.RunID
	Success  bool
	Started  time.Time
	Finished time.Time // when the logs were sealed
	// Logs and Result are the receipts of logs.json and result.json.
	Logs, Result upload.Receipt
	// LogsAfter is the time from Start until logs.json was stored for the first time.
	LogsAfter time.Duration
	// Artifacts are what is stored, by name; the full logs among them.
	Artifacts map[string]upload.Receipt
	// Missing are the artifacts that are not stored, with their reasons.
	Missing map[string]string
	// Incomplete are the logs among the artifacts in which bytes are missing, because of the log's limit or the disk,
	// with how many and why. The log itself says so where they are missing.
	Incomplete map[string]string
	// Skipped are the artifacts that were stored already when the run was resumed, sorted; see [Resume].
	Skipped []string
	// Continued says, for each log of a resumed run, how many of its bytes did not have to be stored again.
	Continued map[string]int64
	// Reported says that the queue has recorded the run as completed.
	Reported bool
}

// result makes the document of a run.
func (s *Summary) result(w schema.Worker, o Outcome) schema.Result {
	doc := schema.Result{
		Version:    schema.Version,
		Artifacts:  make(map[string]string, len(s.Artifacts)),
		Statistics: schema.Statistics{Started: schema.Timestamp(s.Started), Finished: schema.Timestamp(s.Finished)},
		Metadata:   schema.ResultMetadata{Worker: w, Success: s.Success},
		Result:     maps.Clone(o.Result),
	}
	expire := map[string]string{}
	for name, receipt := range s.Artifacts {
		doc.Artifacts[name] = receipt.URL
		if !receipt.Expires.IsZero() {
			expire[name] = receipt.Expires.Format(time.RFC3339)
		}
	}
	if doc.Result == nil {
		doc.Result = map[string]any{}
	}
	if len(s.Missing) > 0 {
		doc.Result[missingArtifacts] = s.Missing
	}
	if len(expire) > 0 {
		doc.Result[artifactsExpire] = expire
	}
	if len(s.Incomplete) > 0 {
		doc.Result[incompleteLogs] = s.Incomplete
	}
	return doc
}

// shown is what callers get: of what does not change any more, nothing is copied.
func (s *Summary) shown() *Summary {
	c := *s
	return &c
}
