package schema

import "time"

// AgentStatus is what an agent that serves many runs says of itself: status.json of its operator's endpoint. It holds no secrets.
type AgentStatus struct {
	Version string      `json:"version" jsonschema_description:"Version of the format of this document."`
	Agent   string      `json:"agent" jsonschema_description:"Version of the program."`
	State   AgentState  `json:"state" jsonschema_description:"Whether the agent takes runs."`
	Healthy bool        `json:"healthy" jsonschema_description:"Whether the agent works as it should; if not, a restart may help."`
	Reason  string      `json:"reason,omitempty" jsonschema_description:"Why the agent is not ready, or not healthy."`
	Started time.Time   `json:"started" jsonschema_description:"When the agent was started."`
	Runs    []AgentRun  `json:"runs" jsonschema_description:"Runs that the agent has at the moment, and folders that it cannot take a run from."`
	Totals  AgentTotals `json:"totals" jsonschema_description:"What has happened since the agent was started."`
}

// AgentState is whether an agent takes runs.
type AgentState string

// The states of an agent.
const (
	AgentStarting AgentState = "starting"
	AgentReady    AgentState = "ready"
	AgentStopping AgentState = "stopping"
)

// AgentRun is one run of an agent.
type AgentRun struct {
	Name             string    `json:"name" jsonschema_description:"Name of the run's folder, or of its task."`
	TaskID           TaskID    `json:"taskId,omitempty" jsonschema_description:"Task of the run, if it is known."`
	RunID            *RunID    `json:"runId,omitempty" jsonschema_description:"Number of the run, if it is known."`
	Phase            string    `json:"phase" jsonschema_description:"How far the run is, in a word or two."`
	Problem          string    `json:"problem,omitempty" jsonschema_description:"What is wrong with the run."`
	TakenUntil       time.Time `json:"takenUntil,omitempty" jsonschema_description:"When the claim ends, unless it is reclaimed."`
	LogBytes         int64     `json:"logBytes" jsonschema:"minimum=0" jsonschema_description:"Bytes of all logs so far."`
	ArtifactsStored  int       `json:"artifactsStored" jsonschema:"minimum=0" jsonschema_description:"How many artifacts are stored."`
	ArtifactsMissing int       `json:"artifactsMissing" jsonschema:"minimum=0" jsonschema_description:"How many artifacts could not be stored."`
}

// AgentTotals is what has happened since an agent was started.
type AgentTotals struct {
	RunsOpen         int   `json:"runsOpen" jsonschema:"minimum=0" jsonschema_description:"Runs that are not over."`
	RunsSucceeded    int64 `json:"runsSucceeded" jsonschema:"minimum=0" jsonschema_description:"Runs reported completed whose tasks succeeded."`
	RunsFailed       int64 `json:"runsFailed" jsonschema:"minimum=0" jsonschema_description:"Runs reported completed whose tasks failed."`
	RunsNotCompleted int64 `json:"runsNotCompleted" jsonschema:"minimum=0" jsonschema_description:"Runs that ended without being reported, lost claims among them."`
	LogBytes         int64 `json:"logBytes" jsonschema:"minimum=0" jsonschema_description:"Bytes of logs that were taken in."`
	ArtifactsStored  int64 `json:"artifactsStored" jsonschema:"minimum=0" jsonschema_description:"Artifacts stored."`
	ArtifactsMissing int64 `json:"artifactsMissing" jsonschema:"minimum=0" jsonschema_description:"Artifacts that could not be stored."`
	BytesUploaded    int64 `json:"bytesUploaded" jsonschema:"minimum=0" jsonschema_description:"Bytes of all objects that were stored."`
}
