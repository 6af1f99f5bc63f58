package schema

// PendingMessage says that a task waits for a worker.
type PendingMessage struct {
	Version string     `json:"version" jsonschema_description:"Version of the format of this document."`
	Status  TaskStatus `json:"status" jsonschema_description:"Status of the task that waits for a worker."`
}

// RunningMessage says that a run of a task has started.
type RunningMessage struct {
	Version string     `json:"version" jsonschema_description:"Version of the format of this document."`
	Status  TaskStatus `json:"status" jsonschema_description:"Status of the task."`
	RunID   RunID      `json:"runId" jsonschema_description:"Run of the task."`
	LogsURL string     `json:"logsUrl" jsonschema:"format=uri" jsonschema_description:"Where logs.json of the run is read."`
	Worker
}

// CompletedMessage says that a run was completed; its result.json can be read.
type CompletedMessage struct {
	Version   string     `json:"version" jsonschema_description:"Version of the format of this document."`
	Status    TaskStatus `json:"status" jsonschema_description:"Status of the task."`
	RunID     RunID      `json:"runId" jsonschema_description:"Run of the task."`
	Success   bool       `json:"success" jsonschema_description:"Whether the task itself succeeded."`
	ResultURL string     `json:"resultUrl" jsonschema:"format=uri" jsonschema_description:"Where result.json of the run is read."`
	LogsURL   string     `json:"logsUrl" jsonschema:"format=uri" jsonschema_description:"Where logs.json of the run is read."`
	Worker
}

// FailedMessage says that the infrastructure could not run a task to completion.
type FailedMessage struct {
	Version     string     `json:"version" jsonschema_description:"Version of the format of this document."`
	Status      TaskStatus `json:"status" jsonschema_description:"Status of the task."`
	RunID       *RunID     `json:"runId,omitempty" jsonschema_description:"Last run of the task, if there was one."`
	WorkerGroup string     `json:"workerGroup,omitempty" jsonschema:"pattern=^[A-Za-z0-9_-]{1\\,22}$" jsonschema_description:"Group that the worker belongs to, such as its data centre."`
	WorkerID    string     `json:"workerId,omitempty" jsonschema:"pattern=^[A-Za-z0-9_-]{1\\,22}$" jsonschema_description:"Worker, unique within its group."`
}
