package schema

import "time"

// Logs is logs.json: where the logs of a run are.
type Logs struct {
	Version string            `json:"version" jsonschema_description:"Version of the format of this document."`
	Logs    map[string]string `json:"logs" jsonschema_description:"Where the logs are read, by their names; while the run goes on they need not be there yet."`
}

// Result is result.json: what a completed run leaves.
type Result struct {
	Version    string            `json:"version" jsonschema_description:"Version of the format of this document."`
	Artifacts  map[string]string `json:"artifacts" jsonschema_description:"Where the stored artifacts are read, by their names."`
	Statistics Statistics        `json:"statistics" jsonschema_description:"When the run took place."`
	Metadata   ResultMetadata    `json:"metadata" jsonschema_description:"Who ran the task, and how it went."`
	Result     map[string]any    `json:"result" jsonschema_description:"What the worker has to say of the run, in a form of its own."` // the worker's own; numbers decode as json.Number
}

// Statistics says when the run started and finished.
type Statistics struct {
	Started  time.Time `json:"started" jsonschema_description:"When the run started."`
	Finished time.Time `json:"finished" jsonschema_description:"When the run finished."`
}

// ResultMetadata says which worker ran it and whether the task succeeded.
type ResultMetadata struct {
	Worker
	Success bool `json:"success" jsonschema_description:"Whether the task itself succeeded."`
}

// Resolution is resolution.json: how a task was resolved.
type Resolution struct {
	Version   string     `json:"version" jsonschema_description:"Version of the format of this document."`
	Status    TaskStatus `json:"status" jsonschema_description:"Status of the task."`
	RunID     RunID      `json:"runId" jsonschema_description:"Run of the task."`
	Success   bool       `json:"success" jsonschema_description:"Whether the task itself succeeded."`
	ResultURL string     `json:"resultUrl" jsonschema:"format=uri" jsonschema_description:"Where result.json of the run is read."`
	LogsURL   string     `json:"logsUrl" jsonschema:"format=uri" jsonschema_description:"Where logs.json of the run is read."`
	Worker
}
