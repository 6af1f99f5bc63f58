package schema

import "time"

// Version is the version of every document here.
const Version = "0.2.0"

// TaskID names a task: a UUID in URL-safe base64 without padding, 22 characters ("YpsYjqE5Q_-NIvzSmpNnFA").
type TaskID string

// RunID numbers the runs of one task, from 0.
type RunID int

// Worker names a worker: its group and its id within the group.
type Worker struct {
	WorkerGroup string `json:"workerGroup" jsonschema:"pattern=^[A-Za-z0-9_-]{1\\,22}$" jsonschema_description:"Group that the worker belongs to, such as its data centre."`
	WorkerID    string `json:"workerId" jsonschema:"pattern=^[A-Za-z0-9_-]{1\\,22}$" jsonschema_description:"Worker, unique within its group."`
}

// TaskState is the state of a task.
type TaskState string

// The states of a task.
const (
	Pending   TaskState = "pending"
	Running   TaskState = "running"
	Completed TaskState = "completed"
	Failed    TaskState = "failed"
)

// Reason says why a task is in its state.
type Reason string

// The reasons of a state.
const (
	ReasonNone             Reason = "none"
	ReasonDeadlineExceeded Reason = "deadline-exceeded"
	ReasonRetriesExhausted Reason = "retries-exhausted"
	ReasonCanceled         Reason = "canceled"
	ReasonRerunRequested   Reason = "rerun-requested"
)

// Task is task.json: a task as it was posted.
type Task struct {
	Version       string            `json:"version" jsonschema_description:"Version of the format of this document."`
	ProvisionerID string            `json:"provisionerId" jsonschema:"pattern=^[A-Za-z0-9_-]{1\\,22}$" jsonschema_description:"Provisioner that starts the workers for this task."`
	WorkerType    string            `json:"workerType" jsonschema:"pattern=^[A-Za-z0-9_-]{1\\,22}$" jsonschema_description:"Type of worker, known to the provisioner, that may run this task."`
	Routing       string            `json:"routing" jsonschema:"maxLength=128" jsonschema_description:"Last part of the routing key of every message about this task; it may hold dots and may be empty."`
	Retries       int               `json:"retries" jsonschema:"minimum=0,maximum=999" jsonschema_description:"How many more runs may be tried when the infrastructure loses one."`
	Timeout       int               `json:"timeout" jsonschema:"minimum=30,maximum=1200" jsonschema_description:"Length of a claim, in seconds."`
	Priority      float64           `json:"priority" jsonschema_description:"Priority of the task; any number."`
	Created       time.Time         `json:"created" jsonschema_description:"When the task was created."`
	Deadline      time.Time         `json:"deadline" jsonschema_description:"When the task has to be resolved; after that it fails."`
	Payload       map[string]any    `json:"payload" jsonschema_description:"What the worker is to do, in whatever form that type of worker wants it."`
	Metadata      TaskMetadata      `json:"metadata" jsonschema_description:"What people want to know about the task."`
	Tags          map[string]string `json:"tags" jsonschema_description:"Names and values to find tasks by; the queue gives them no meaning."`
}

// TaskMetadata says whose task it is, for people.
type TaskMetadata struct {
	Name        string `json:"name" jsonschema:"maxLength=255" jsonschema_description:"Name of the task, for people."`
	Description string `json:"description,omitempty" jsonschema:"maxLength=32768" jsonschema_description:"What the task is for, for people."`
	Owner       string `json:"owner" jsonschema:"format=email,maxLength=255" jsonschema_description:"E-mail address of whom to ask about the task."`
	Source      string `json:"source" jsonschema:"format=uri,maxLength=4096" jsonschema_description:"URL of what defined the task, such as a file in a repository."`
	TaskGraphID TaskID `json:"taskGraphId,omitempty" jsonschema_description:"Task graph that the task is part of."`
}

// Run is one run of a task, as its status lists it.
type Run struct {
	RunID RunID `json:"runId" jsonschema_description:"Number of the run."`
	Worker
}

// TaskStatus is what the queue knows of a task.
type TaskStatus struct {
	TaskID        TaskID    `json:"taskId" jsonschema_description:"Task that this is the status of."`
	ProvisionerID string    `json:"provisionerId" jsonschema:"pattern=^[A-Za-z0-9_-]{1\\,22}$" jsonschema_description:"Provisioner that starts the workers for this task."`
	WorkerType    string    `json:"workerType" jsonschema:"pattern=^[A-Za-z0-9_-]{1\\,22}$" jsonschema_description:"Type of worker, known to the provisioner, that may run this task."`
	Runs          []Run     `json:"runs" jsonschema_description:"Runs of the task so far."`
	State         TaskState `json:"state" jsonschema_description:"State of the task."`
	Reason        Reason    `json:"reason" jsonschema_description:"Why the task is in this state."`
	Routing       string    `json:"routing" jsonschema:"maxLength=128" jsonschema_description:"Last part of the routing key of every message about this task; it may hold dots and may be empty."`
	Timeout       int       `json:"timeout" jsonschema:"minimum=30,maximum=1200" jsonschema_description:"Length of a claim, in seconds."`
	Retries       int       `json:"retries" jsonschema:"minimum=0,maximum=999" jsonschema_description:"How many runs may still be tried when the infrastructure loses one."`
	Priority      float64   `json:"priority" jsonschema_description:"Priority of the task; any number."`
	Created       time.Time `json:"created" jsonschema_description:"When the task was created."`
	Deadline      time.Time `json:"deadline" jsonschema_description:"When the task has to be resolved; after that it fails."`
	TakenUntil    time.Time `json:"takenUntil" jsonschema_description:"When the current claim ends, unless it is reclaimed; long ago for a task that nobody has claimed."`
}
