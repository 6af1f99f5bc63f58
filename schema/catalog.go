package schema

import (
	"maps"
	"reflect"
	"slices"

	"github.com/invopop/jsonschema"
)

// entry is what is known of one document besides its type.
type entry struct {
	doc    Document // the zero value
	title  string
	about  string
	extend func(*jsonschema.Schema)   // what struct tags cannot say; may be nil
	check  func(doc Document) []fault // what a schema cannot say; may be nil
}

func (e entry) name() string { return e.doc.SchemaName() }

// catalog lists all documents.
var catalog = []entry{
	{doc: Task{}, title: "Task", about: "A task as it was posted: task.json.", extend: shortTags},
	{doc: TaskStatus{}, title: "Task status", about: "What the queue knows of a task."},
	{doc: Logs{}, title: "Logs", about: "Where the logs of a run are read: logs.json.", extend: urls("logs")},
	{doc: Result{}, title: "Result", about: "What a completed run leaves: result.json.", extend: urls("artifacts")},
	{doc: Resolution{}, title: "Resolution", about: "How a task was resolved: resolution.json."},
	{doc: Claim{}, title: "Claim", about: "The queue's answer to a claim, and the worker that made it: claim.json."},
	{doc: ClaimRequest{}, title: "Claim request", about: "Asks to claim a task, or to reclaim a run of it."},
	{doc: ClaimAnswer{}, title: "Claim answer", about: "The queue's answer to a claim or a reclaim."},
	{doc: ArtifactURLsRequest{}, title: "Artifact URLs request", about: "Asks for signed URLs for artifacts of a run."},
	{doc: ArtifactURLsAnswer{}, title: "Artifact URLs answer", about: "Signed URLs for artifacts of a run."},
	{doc: CompletedRequest{}, title: "Completed request", about: "Reports a run completed."},
	{doc: StatusAnswer{}, title: "Status answer", about: "The queue's answer to most calls: the status of the task."},
	{doc: DefineTasksRequest{}, title: "Define tasks request", about: "Asks for ids of new tasks."},
	{doc: DefineTasksAnswer{}, title: "Define tasks answer", about: "Ids of new tasks, and signed URLs for their definitions.", extend: tasksByID},
	{doc: AMQPAnswer{}, title: "AMQP connection string answer", about: "How to connect to the message broker."},
	{doc: ErrorAnswer{}, title: "Error answer", about: "What the queue says when it refuses."},
	{doc: AgentStatus{}, title: "Agent status", about: "What an agent that serves many runs says of itself."},
	{doc: Config{}, title: "Configuration", about: "What the command line takes, by the names of the flags: for all commands, or for one. Written in YAML."},
	{doc: PendingMessage{}, title: "Task pending message", about: "Says that a task waits for a worker."},
	{doc: RunningMessage{}, title: "Task running message", about: "Says that a run of a task has started."},
	{doc: CompletedMessage{}, title: "Task completed message", about: "Says that a run was completed; its result.json can be read."},
	{doc: FailedMessage{}, title: "Task failed message", about: "Says that the infrastructure could not run a task to completion."},
	{doc: LogIndex{}, title: "Log index", about: "The index of a live log: its stored parts, and its newest bytes.", check: checkLogIndex},
	{doc: Finish{}, title: "Finish", about: "How a run ended, as the worker of a run folder says: finish.json."},
	{doc: Status{}, title: "Status", about: "What has become of the run of a run folder: status.json."},
}

// parts describes the objects inside documents that have no member of their own to describe them.
var parts = map[reflect.Type]string{
	reflect.TypeFor[Run]():             "A run of the task.",
	reflect.TypeFor[Chunk]():           "A stored part of the log.",
	reflect.TypeFor[AgentRun]():        "A run of the agent.",
	reflect.TypeFor[ArtifactRequest](): "What has to be known of an artifact before its URL is signed.",
	reflect.TypeFor[ArtifactURLs]():    "Where the artifact is put, and where it is read.",
	reflect.TypeFor[TaskPutURLs]():     "Where the definition of the task is put.",
}

// Names lists the names of all documents, sorted.
func Names() []string { return slices.Sorted(maps.Keys(forms)) }

// entryOf finds the document of a type; a stranger's type that calls itself one is not.
func entryOf(t reflect.Type) (entry, bool) {
	for _, e := range catalog {
		if reflect.TypeOf(e.doc) == t {
			return e, true
		}
	}
	return entry{}, false
}

func entryNamed(name string) (entry, bool) {
	for _, e := range catalog {
		if e.name() == name {
			return e, true
		}
	}
	return entry{}, false
}

func shortTags(s *jsonschema.Schema) {
	limit := uint64(4096)
	s.Properties.Value("tags").AdditionalProperties.MaxLength = &limit
}

func urls(member string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		s.Properties.Value(member).AdditionalProperties.Format = "uri"
	}
}

func tasksByID(s *jsonschema.Schema) {
	tasks := s.Properties.Value("tasks")
	tasks.PatternProperties = map[string]*jsonschema.Schema{slugPattern: tasks.AdditionalProperties}
	tasks.AdditionalProperties = jsonschema.FalseSchema
}
