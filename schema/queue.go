package schema

import "time"

// ClaimRequest claims a task, or reclaims a run of it if RunID is set.
type ClaimRequest struct {
	Worker
	RunID *RunID `json:"runId,omitempty" jsonschema_description:"Run to reclaim; without it the task is claimed."`
}

// ClaimAnswer is the queue's answer to a claim or a reclaim.
type ClaimAnswer struct {
	Status       TaskStatus `json:"status" jsonschema_description:"Status of the task; perhaps still the one from before the claim."`
	RunID        RunID      `json:"runId" jsonschema_description:"Run that was claimed or reclaimed."`
	LogsPutURL   SignedURL  `json:"logsPutUrl" jsonschema_description:"Signed URL to put logs.json to; valid as long as the claim."`
	ResultPutURL SignedURL  `json:"resultPutUrl" jsonschema_description:"Signed URL to put result.json to; valid as long as the claim."`
}

// Claim is claim.json: the queue's answer to a claim, plus the worker that made it.
// The first queue may answer with another task's status (see PROTOCOL), so TaskID, where it is known, counts.
type Claim struct {
	ClaimAnswer
	Worker
	TaskID TaskID `json:"taskId,omitempty" jsonschema_description:"Task that was claimed; it counts more than the one in the status."`
}

// ArtifactURLsRequest asks for signed URLs for artifacts of a run, by name.
type ArtifactURLsRequest struct {
	RunID RunID `json:"runId" jsonschema_description:"Run of the task."`
	Worker
	Artifacts map[string]ArtifactRequest `json:"artifacts" jsonschema_description:"What the artifacts to store are, by their names."`
}

// ArtifactRequest is what has to be known of an artifact before its URL is signed.
type ArtifactRequest struct {
	ContentType string `json:"contentType" jsonschema_description:"Content type of the artifact; to be sent exactly so."`
	// Multipart asks for parts. Only a queue that has made a MultipartOffer knows it; others refuse the request.
	Multipart *MultipartRequest `json:"multipart,omitempty" jsonschema_description:"Asks for a grant in parts; only for a queue that has offered it."`
}

// ArtifactURLsAnswer is the queue's answer.
type ArtifactURLsAnswer struct {
	Status    TaskStatus              `json:"status" jsonschema_description:"Status of the task."`
	Expires   time.Time               `json:"expires" jsonschema_description:"When the signed URLs expire."`
	Artifacts map[string]ArtifactURLs `json:"artifacts" jsonschema_description:"Where to store the artifacts, by their names."`
	Multipart *MultipartOffer         `json:"multipart,omitempty" jsonschema_description:"Says that the queue grants artifacts in parts; one that does not know it leaves it out."`
}

// ArtifactURLs is where one artifact is put, and where it is read.
type ArtifactURLs struct {
	ArtifactPutURL SignedURL `json:"artifactPutUrl" jsonschema_description:"Signed URL to put the artifact to."`
	ArtifactURL    string    `json:"artifactUrl" jsonschema:"format=uri" jsonschema_description:"Where the artifact is read once it is stored."`
	ContentType    string    `json:"contentType" jsonschema_description:"Content type of the artifact; to be sent exactly so."`
	// Multipart is the answer to a MultipartRequest. A queue may leave it out: then there is the single PUT.
	Multipart *MultipartURLs `json:"multipart,omitempty" jsonschema_description:"Where to store the artifact in parts, where that was asked for."`
}

// CompletedRequest reports a run completed.
type CompletedRequest struct {
	RunID   RunID `json:"runId" jsonschema_description:"Run of the task."`
	Success bool  `json:"success" jsonschema_description:"Whether the task itself succeeded."`
	Worker
}

// StatusAnswer is the queue's answer to most calls.
type StatusAnswer struct {
	Status TaskStatus `json:"status" jsonschema_description:"Status of the task."`
}

// DefineTasksRequest asks for ids of new tasks.
type DefineTasksRequest struct {
	TasksRequested int `json:"tasksRequested" jsonschema:"minimum=1" jsonschema_description:"How many tasks to define."`
}

// DefineTasksAnswer gives ids and the signed URLs for their task.json.
type DefineTasksAnswer struct {
	Expires time.Time              `json:"expires" jsonschema_description:"When the signed URLs expire."`
	Tasks   map[TaskID]TaskPutURLs `json:"tasks" jsonschema_description:"Where to put the definitions of the tasks, by their new ids."`
}

// TaskPutURLs is where the definition of one task is put.
type TaskPutURLs struct {
	TaskPutURL SignedURL `json:"taskPutUrl" jsonschema_description:"Signed URL to put task.json to."`
}

// AMQPAnswer is the connection string of the event exchanges; it holds a password.
type AMQPAnswer struct {
	URL SignedURL `json:"url" jsonschema_description:"URL to connect to the message broker with, password included."`
}

// ErrorAnswer is what the queue says when it refuses; Error has no fixed shape.
type ErrorAnswer struct {
	Message string `json:"message" jsonschema_description:"What went wrong, for people."`
	Error   any    `json:"error,omitempty" jsonschema_description:"More about it; the queue gives it no fixed shape."`
}
