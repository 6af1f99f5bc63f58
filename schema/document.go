package schema

// Document is one of the documents of this package, each a plain struct.
// Its name is that of its published schema, without ".json#".
type Document interface{ SchemaName() string }

// SchemaName is "task".
func (Task) SchemaName() string { return "task" }

// SchemaName is "task-status".
func (TaskStatus) SchemaName() string { return "task-status" }

// SchemaName is "logs".
func (Logs) SchemaName() string { return "logs" }

// SchemaName is "result".
func (Result) SchemaName() string { return "result" }

// SchemaName is "resolution".
func (Resolution) SchemaName() string { return "resolution" }

// SchemaName is "claim".
func (Claim) SchemaName() string { return "claim" }

// SchemaName is "task-claim-request".
func (ClaimRequest) SchemaName() string { return "task-claim-request" }

// SchemaName is "task-claim-response".
func (ClaimAnswer) SchemaName() string { return "task-claim-response" }

// SchemaName is "artifact-url-request".
func (ArtifactURLsRequest) SchemaName() string { return "artifact-url-request" }

// SchemaName is "artifact-url-response".
func (ArtifactURLsAnswer) SchemaName() string { return "artifact-url-response" }

// SchemaName is "task-completed-request".
func (CompletedRequest) SchemaName() string { return "task-completed-request" }

// SchemaName is "task-status-response".
func (StatusAnswer) SchemaName() string { return "task-status-response" }

// SchemaName is "define-tasks-request".
func (DefineTasksRequest) SchemaName() string { return "define-tasks-request" }

// SchemaName is "define-tasks-response".
func (DefineTasksAnswer) SchemaName() string { return "define-tasks-response" }

// SchemaName is "amqp-connection-string-response".
func (AMQPAnswer) SchemaName() string { return "amqp-connection-string-response" }

// SchemaName is "error-response".
func (ErrorAnswer) SchemaName() string { return "error-response" }

// SchemaName is "task-pending-message".
func (PendingMessage) SchemaName() string { return "task-pending-message" }

// SchemaName is "task-running-message".
func (RunningMessage) SchemaName() string { return "task-running-message" }

// SchemaName is "task-completed-message".
func (CompletedMessage) SchemaName() string { return "task-completed-message" }

// SchemaName is "task-failed-message".
func (FailedMessage) SchemaName() string { return "task-failed-message" }

// SchemaName is "log-index".
func (LogIndex) SchemaName() string { return "log-index" }

// SchemaName is "agent-status".
func (AgentStatus) SchemaName() string { return "agent-status" }

// SchemaName is "config".
func (Config) SchemaName() string { return "config" }
