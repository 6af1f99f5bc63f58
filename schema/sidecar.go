package schema

import "time"

// Finish is finish.json: what a worker that works through a run folder says at the end of its run.
type Finish struct {
	Success bool           `json:"success" jsonschema_description:"Whether the task itself succeeded."`
	Result  map[string]any `json:"result,omitempty" jsonschema_description:"What the worker has to say of the run, in a form of its own; it becomes a part of result.json."` // numbers decode as json.Number
}

// Phase is how far the run of a run folder has come.
type Phase string

// The phases of a run folder.
const (
	PhaseRefused      Phase = "refused"       // something has to be put right first: Reason says what
	PhaseWaiting      Phase = "waiting"       // for another run to end
	PhaseRunning      Phase = "running"       // the task may run
	PhaseFinishing    Phase = "finishing"     // finish.json was read: the rest is being stored
	PhaseResultStored Phase = "result stored" // the worker may report the run completed: the agent will not
	PhaseCompleted    Phase = "completed"     // the queue has recorded the run as completed
	PhaseClaimLost    Phase = "claim lost"    // the run is no longer this worker's: stop the task
	PhaseFailed       Phase = "failed"        // the run could not be completed
)

// Status is status.json: what has become of the run of a run folder so far.
type Status struct {
	Version string    `json:"version" jsonschema_description:"Version of the format of this document."`
	Phase   Phase     `json:"phase" jsonschema_description:"How far the run has come."`
	Reason  string    `json:"reason,omitempty" jsonschema_description:"Why it is no further: what is wrong, or what is waited for."`
	Updated time.Time `json:"updated" jsonschema_description:"When this was written."`

	TaskID TaskID `json:"taskId,omitempty" jsonschema_description:"Task of the run, once the claim was read."`
	RunID  *RunID `json:"runId,omitempty" jsonschema_description:"Run of the task, once the claim was read."`

	Logs     map[string]int64  `json:"logs" jsonschema_description:"Bytes of each log that the agent has read so far."`
	Stored   map[string]int64  `json:"stored" jsonschema_description:"Sizes of the artifacts that are stored, by their names; at the end the logs are among them."`
	Waiting  int               `json:"waiting" jsonschema:"minimum=0" jsonschema_description:"Artifacts that are being stored, or will be."`
	Missing  map[string]string `json:"missing" jsonschema_description:"Artifacts that could not be stored, with the reasons; result.json lists them too."`
	Problems map[string]string `json:"problems" jsonschema_description:"Files and folders of the run folder that are not what they should be, and what is wrong with them."`
}

// SchemaName is "finish".
func (Finish) SchemaName() string { return "finish" }

// SchemaName is "status".
func (Status) SchemaName() string { return "status" }
