package schema

// Config is the agent's configuration file: what its command line takes, by the names of the flags. It is written in YAML.
//
// What stands at the top counts for every command that has such a flag; what stands below Commands counts for that command, and
// more. A flag on the command line or in the environment counts more than the file.
type Config struct {
	ConfigLog
	Queue      string         `json:"queue,omitempty" jsonschema_description:"URL of the queue's API, ending in /v1."`
	Storage    string         `json:"storage,omitempty" jsonschema_description:"URL of the task storage, as readers see it."`
	State      string         `json:"state,omitempty" jsonschema_description:"Folder that keeps the state of runs."`
	Grace      Duration       `json:"grace,omitempty" jsonschema_description:"How long runs have to end after the first SIGINT or SIGTERM."`
	LogLimit   Size           `json:"log-limit,omitempty" jsonschema_description:"How many bytes a log may have before it is cut in the middle; 0 is no limit."`
	FlushEvery Duration       `json:"flush-interval,omitempty" jsonschema_description:"The least time between two flushes of a live log."`
	Exclude    []string       `json:"exclude,omitempty" jsonschema_description:"Globs of what is left out of folders and globs of artifacts."`
	Symlinks   string         `json:"symlinks,omitempty" jsonschema:"enum=inside,enum=follow,enum=skip" jsonschema_description:"Which symbolic links among the artifacts are followed."`
	Gzip       string         `json:"gzip,omitempty" jsonschema:"enum=auto,enum=off" jsonschema_description:"Whether artifacts are stored gzipped where that saves a tenth."`
	RedactEnv  []string       `json:"redact-env,omitempty" jsonschema_description:"Patterns of names of environment variables whose values no log may show."`
	RedactFile string         `json:"redact-file,omitempty" jsonschema_description:"File whose lines no log may show."`
	Commands   ConfigCommands `json:"commands,omitempty" jsonschema_description:"Settings for single commands."`
}

// Duration is a time as the flags take it, such as "30s" or "1h30m".
type Duration string

// Rate is a number of bytes per second as the flags take it, such as "10M".
type Rate string

// Size is a number of bytes as the flags take it, such as "1GiB", "500MB" or "65536".
type Size string

// ConfigCommands are the settings for single commands.
type ConfigCommands struct {
	Simulate ConfigSimulate `json:"simulate,omitempty" jsonschema_description:"Settings for simulate."`
	Exec     ConfigExec     `json:"exec,omitempty" jsonschema_description:"Settings for exec."`
	Resume   ConfigResume   `json:"resume,omitempty" jsonschema_description:"Settings for resume."`
	Queue    ConfigQueue    `json:"queue,omitempty" jsonschema_description:"Settings for queue, the embedded queue and storage."`
	Inspect  ConfigInspect  `json:"inspect,omitempty" jsonschema_description:"Settings for inspect."`
	Events   ConfigEvents   `json:"events,omitempty" jsonschema_description:"Settings for events."`
	Tail     ConfigTail     `json:"tail,omitempty" jsonschema_description:"Settings for tail."`
	Sidecar  ConfigSidecar  `json:"sidecar,omitempty" jsonschema_description:"Settings for sidecar."`
	Artifact ConfigArtifact `json:"artifact,omitempty" jsonschema_description:"Settings for artifact."`
	Redact   ConfigRedact   `json:"redact,omitempty" jsonschema_description:"Settings for redact."`
	Status   ConfigStatus   `json:"status,omitempty" jsonschema_description:"Settings for status."`
}

// ConfigLog says what is logged on stderr.
type ConfigLog struct {
	LogLevel  string `json:"log-level,omitempty" jsonschema:"enum=debug,enum=info,enum=warn,enum=error" jsonschema_description:"What is logged on stderr."`
	LogFormat string `json:"log-format,omitempty" jsonschema:"enum=text,enum=json" jsonschema_description:"How it is logged."`
}

// ConfigRun are the settings of the commands that run a command as a task.
type ConfigRun struct {
	ConfigLog
	Artifact   []string `json:"artifact,omitempty" jsonschema_description:"Artifacts to store when the command has ended: NAME=PATH, a folder, or a glob."`
	Exclude    []string `json:"exclude,omitempty" jsonschema_description:"Globs of what is left out of folders and globs of artifacts."`
	Symlinks   string   `json:"symlinks,omitempty" jsonschema:"enum=inside,enum=follow,enum=skip" jsonschema_description:"Which symbolic links among the artifacts are followed."`
	Gzip       string   `json:"gzip,omitempty" jsonschema:"enum=auto,enum=off" jsonschema_description:"Whether artifacts are stored gzipped where that saves a tenth."`
	Grace      Duration `json:"grace,omitempty" jsonschema_description:"How long the run has to end after the first SIGINT or SIGTERM."`
	LogLimit   Size     `json:"log-limit,omitempty" jsonschema_description:"How many bytes a log may have before it is cut in the middle; 0 is no limit."`
	FlushEvery Duration `json:"flush-interval,omitempty" jsonschema_description:"The least time between two flushes of a live log."`
	Timeout    Duration `json:"timeout,omitempty" jsonschema_description:"How long the command may run; 0 is no limit."`
	Stream     string   `json:"stream,omitempty" jsonschema_description:"Address, host:port, at which the log is served to readers while it is written."`
	StreamURL  string   `json:"stream-url,omitempty" jsonschema_description:"URL at which readers reach that address."`
	RedactEnv  []string `json:"redact-env,omitempty" jsonschema_description:"Patterns of names of environment variables whose values no log may show."`
	RedactFile string   `json:"redact-file,omitempty" jsonschema_description:"File whose lines no log may show."`
	BWLimit    Rate     `json:"bwlimit,omitempty" jsonschema_description:"How many bytes per second all artifacts of the process together are uploaded with; 0 is no limit."`
	Progress   string   `json:"progress,omitempty" jsonschema:"enum=auto,enum=plain,enum=off" jsonschema_description:"How the progress of uploads is shown."`
	ReadBack   bool     `json:"read-back,omitempty" jsonschema_description:"Whether artifacts are read back from where readers find them."`
	Settle     Duration `json:"settle,omitempty" jsonschema_description:"How long an artifact must not have changed to be uploaded before the end; 0 is at the end."`
}

// ConfigSimulate are the settings for simulate.
type ConfigSimulate struct {
	ConfigRun
	Dir           string `json:"dir,omitempty" jsonschema_description:"Folder of the storage."`
	Serve         string `json:"serve,omitempty" jsonschema_description:"Whether to serve the inspector page: true, false, or the address to serve it at."`
	S3            string `json:"s3,omitempty" jsonschema_description:"URL of the bucket in which objects are kept, such as http://host:9000/bucket; its credentials are in the environment."`
	AMQP          string `json:"amqp,omitempty" jsonschema_description:"URL of the RabbitMQ to which the queue's messages are published."`
	Fault         string `json:"fault,omitempty" jsonschema_description:"How the queue and the storage misbehave."`
	Seed          int64  `json:"seed,omitempty" jsonschema:"minimum=0" jsonschema_description:"Seed of the faults."`
	MultipartFrom Size   `json:"multipart-from,omitempty" jsonschema_description:"Size from which on the queue grants artifacts in parts."`
	PartSize      Size   `json:"part-size,omitempty" jsonschema_description:"Size of a part."`
	Signature     string `json:"signature,omitempty" jsonschema:"enum=v2,enum=v4" jsonschema_description:"Version of AWS's signatures in the URLs that the queue hands out."`
	Quirks2014    bool   `json:"quirks-2014,omitempty" jsonschema_description:"Whether the queue errs as the first one did."`
}

// ConfigExec are the settings for exec.
type ConfigExec struct {
	ConfigRun
	Queue       string `json:"queue,omitempty" jsonschema_description:"URL of the queue's API, ending in /v1."`
	Storage     string `json:"storage,omitempty" jsonschema_description:"URL of the task storage, as readers see it."`
	TaskID      string `json:"task-id,omitempty" jsonschema_description:"Task to claim."`
	Claim       string `json:"claim,omitempty" jsonschema_description:"File that holds the claim to take."`
	WorkerGroup string `json:"worker-group,omitempty" jsonschema_description:"Group of the worker as which a task is claimed."`
	WorkerID    string `json:"worker-id,omitempty" jsonschema_description:"Worker as which a task is claimed."`
	State       string `json:"state,omitempty" jsonschema_description:"Folder that keeps the state of the run."`
}

// ConfigResume are the settings for resume.
type ConfigResume struct {
	ConfigLog
	Queue    string   `json:"queue,omitempty" jsonschema_description:"URL of the queue whose runs are resumed."`
	State    string   `json:"state,omitempty" jsonschema_description:"Folder that keeps the state of runs."`
	Storage  string   `json:"storage,omitempty" jsonschema_description:"URL of the task storage, as readers see it."`
	Grace    Duration `json:"grace,omitempty" jsonschema_description:"How long the runs have to end after the first SIGINT or SIGTERM."`
	JSON     bool     `json:"json,omitempty" jsonschema_description:"Whether to print JSON."`
	BWLimit  Rate     `json:"bwlimit,omitempty" jsonschema_description:"How many bytes per second all artifacts of the process together are uploaded with; 0 is no limit."`
	Progress string   `json:"progress,omitempty" jsonschema:"enum=auto,enum=plain,enum=off" jsonschema_description:"How the progress of uploads is shown."`
	ReadBack bool     `json:"read-back,omitempty" jsonschema_description:"Whether artifacts are read back from where readers find them."`
}

// ConfigQueue are the settings for queue.
type ConfigQueue struct {
	ConfigLog
	Dir           string `json:"dir,omitempty" jsonschema_description:"Folder of the storage."`
	Listen        string `json:"listen,omitempty" jsonschema_description:"Address at which the queue is served."`
	StorageListen string `json:"storage-listen,omitempty" jsonschema_description:"Address at which the storage is served."`
	Serve         string `json:"serve,omitempty" jsonschema_description:"Whether to serve the inspector page: true, false, or the address to serve it at."`
	S3            string `json:"s3,omitempty" jsonschema_description:"URL of the bucket in which objects are kept, such as http://host:9000/bucket; its credentials are in the environment."`
	AMQP          string `json:"amqp,omitempty" jsonschema_description:"URL of the RabbitMQ to which the queue's messages are published."`
	Fault         string `json:"fault,omitempty" jsonschema_description:"How the queue and the storage misbehave."`
	Seed          int64  `json:"seed,omitempty" jsonschema:"minimum=0" jsonschema_description:"Seed of the faults."`
	MultipartFrom Size   `json:"multipart-from,omitempty" jsonschema_description:"Size from which on the queue grants artifacts in parts."`
	PartSize      Size   `json:"part-size,omitempty" jsonschema_description:"Size of a part."`
	Signature     string `json:"signature,omitempty" jsonschema:"enum=v2,enum=v4" jsonschema_description:"Version of AWS's signatures in the URLs that the queue hands out."`
	Quirks2014    bool   `json:"quirks-2014,omitempty" jsonschema_description:"Whether the queue errs as the first one did."`
}

// ConfigInspect are the settings for inspect.
type ConfigInspect struct {
	ConfigLog
	Storage string `json:"storage,omitempty" jsonschema_description:"URL of the task storage."`
	Serve   string `json:"serve,omitempty" jsonschema_description:"Whether to serve the inspector page: true, false, or the address to serve it at."`
}

// ConfigEvents are the settings for events.
type ConfigEvents struct {
	ConfigLog
	AMQP  string `json:"amqp,omitempty" jsonschema_description:"URL of the RabbitMQ from which the messages are read."`
	Queue string `json:"queue,omitempty" jsonschema_description:"URL of the queue's API, ending in /v1."`
	Task  string `json:"task,omitempty" jsonschema_description:"Task whose messages are printed; default: those of all."`
	JSON  bool   `json:"json,omitempty" jsonschema_description:"Whether to print JSON."`
}

// ConfigTail are the settings for tail.
type ConfigTail struct {
	ConfigLog
	Follow      bool     `json:"follow,omitempty" jsonschema_description:"Whether to go on until the log is complete."`
	Lines       int      `json:"lines,omitempty" jsonschema:"minimum=0" jsonschema_description:"How many lines of the end to begin with."`
	Offset      int64    `json:"offset,omitempty" jsonschema:"minimum=0" jsonschema_description:"Byte to begin at, from 0."`
	Raw         bool     `json:"raw,omitempty" jsonschema_description:"Whether to print the bytes as they are on a terminal, too."`
	Storage     string   `json:"storage,omitempty" jsonschema_description:"URL of the task storage."`
	Queue       string   `json:"queue,omitempty" jsonschema_description:"URL of the queue that is asked whether a run has ended."`
	GiveUpAfter Duration `json:"give-up-after,omitempty" jsonschema_description:"How long the log of a run that has ended must stay as it is to count as unfinished."`
}

// ConfigSidecar are the settings for sidecar.
type ConfigSidecar struct {
	ConfigLog
	Queue      string   `json:"queue,omitempty" jsonschema_description:"URL of the queue's API, ending in /v1."`
	Storage    string   `json:"storage,omitempty" jsonschema_description:"URL of the task storage, as readers see it."`
	Runs       string   `json:"runs,omitempty" jsonschema_description:"Folder of the run folders."`
	State      string   `json:"state,omitempty" jsonschema_description:"Folder that keeps the state of runs."`
	Report     bool     `json:"report,omitempty" jsonschema_description:"Whether to report runs completed; if not, their workers do."`
	MaxRuns    int      `json:"max-runs,omitempty" jsonschema:"minimum=1" jsonschema_description:"How many runs may be open at once."`
	Uploads    int      `json:"uploads,omitempty" jsonschema:"minimum=1" jsonschema_description:"How many artifacts of all runs are uploaded at once."`
	Settle     Duration `json:"settle,omitempty" jsonschema_description:"How long an artifact must not have changed to be uploaded before the end."`
	Poll       Duration `json:"poll,omitempty" jsonschema_description:"How often every folder is looked at."`
	NoEvents   bool     `json:"no-events,omitempty" jsonschema_description:"Whether to do without the system's events of changes."`
	Grace      Duration `json:"grace,omitempty" jsonschema_description:"How long runs that are finishing have to end after the first SIGINT or SIGTERM."`
	LogLimit   Size     `json:"log-limit,omitempty" jsonschema_description:"How many bytes a log may have before it is cut in the middle; 0 is no limit."`
	FlushEvery Duration `json:"flush-interval,omitempty" jsonschema_description:"The least time between two flushes of a live log."`
	Listen     string   `json:"listen,omitempty" jsonschema_description:"Address at which health, metrics and status are served; a port alone is one of 127.0.0.1."`
	BWLimit    Rate     `json:"bwlimit,omitempty" jsonschema_description:"How many bytes per second all artifacts of the process together are uploaded with; 0 is no limit."`
	RedactEnv  []string `json:"redact-env,omitempty" jsonschema_description:"Patterns of names of environment variables whose values no log may show."`
	RedactFile string   `json:"redact-file,omitempty" jsonschema_description:"File whose lines no log may show."`
	SocketDir  string   `json:"socket-dir,omitempty" jsonschema_description:"Folder of the socket for the commands of runs."`
}

// ConfigArtifact are the settings for artifact.
type ConfigArtifact struct {
	Upload ConfigArtifactUpload `json:"upload,omitempty" jsonschema_description:"Settings for artifact upload."`
}

// ConfigArtifactUpload are the settings for artifact upload.
type ConfigArtifactUpload struct {
	NoWait   bool     `json:"no-wait,omitempty" jsonschema_description:"Whether not to wait until the artifacts are stored."`
	Exclude  []string `json:"exclude,omitempty" jsonschema_description:"Globs of what is left out of folders and globs of artifacts."`
	Symlinks string   `json:"symlinks,omitempty" jsonschema:"enum=inside,enum=follow,enum=skip" jsonschema_description:"Which symbolic links among the artifacts are followed."`
	Gzip     string   `json:"gzip,omitempty" jsonschema:"enum=auto,enum=off" jsonschema_description:"Whether artifacts are stored gzipped where that saves a tenth."`
	Socket   string   `json:"socket,omitempty" jsonschema_description:"The agent's socket."`
	JSON     bool     `json:"json,omitempty" jsonschema_description:"Whether to print JSON."`
	Replace  bool     `json:"replace,omitempty" jsonschema_description:"Whether to store other bytes in the place of artifacts that were added before."`
}

// ConfigRedact are the settings for redact.
type ConfigRedact struct {
	Add ConfigRedactAdd `json:"add,omitempty" jsonschema_description:"Settings for redact add."`
}

// ConfigRedactAdd are the settings for redact add.
type ConfigRedactAdd struct {
	Socket string `json:"socket,omitempty" jsonschema_description:"The agent's socket."`
}

// ConfigStatus are the settings for status.
type ConfigStatus struct {
	Watch  bool   `json:"watch,omitempty" jsonschema_description:"Whether to print what changes, until the command has ended."`
	Socket string `json:"socket,omitempty" jsonschema_description:"The agent's socket."`
	JSON   bool   `json:"json,omitempty" jsonschema_description:"Whether to print JSON."`
}
