package agent

import (
	"log/slog"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/upload"
)

// DefaultLog is the log that a run has if [Options.Logs] names none.
const DefaultLog = "terminal.log"

// Options of a run. The zero value works.
type Options struct {
	// Logs are declared in logs.json from the start. Others may be added by using them.
	// Default: DefaultLog. An empty, non-nil slice declares none.
	Logs []string

	// Redact are the values that show up in no log, nor in its spool on the disk; see [Run.Redact] for more of them later.
	// They are kept in memory only: who resumes the run gives them again. One that is too short is
	// a *[livelog.ShortSecretError]. Default: none.
	Redact []string

	// LogLimit is how many bytes a log may have, with the agent's own lines. A log that has reached it keeps its beginning and its
	// newest bytes, see [livelog.Quota]. At least [livelog.MinLimit], else a *[livelog.LimitError]; negative: no limit.
	// A run that is resumed keeps the limits of the logs that it has. Default: [livelog.DefaultLimit], 1 GiB.
	LogLimit int64

	// StateDir is the folder below which the run keeps its state folder: its journal, and its logs
	// until they are stored. It is made if need be. Default: the system's temporary folder, but
	// then nobody finds the run again once its process has ended; see [Resume].
	StateDir string

	// Uploads bounds how many artifacts are uploaded at once, the smallest first, but of two and more one is kept for large ones, of
	// more than 1 MiB, and one for the others. Logs and documents do not count: they always go first. Default: 4.
	Uploads int

	// Pool bounds the artifacts of all runs that share it, besides Uploads. Default: none.
	Pool *Pool

	// GiveUpAfter bounds how long an artifact, or a log that has ended, is tried again
	// after its first failure before it counts as missing. The documents are tried for
	// as long as the claim lasts. Default: 15 minutes.
	GiveUpAfter time.Duration

	// ReadBack reads each artifact once more where readers find it, after it was stored. One that they cannot read as it was
	// sent, or that we have no right to read there, is missing; see [upload.PutOptions]. Logs and documents are not read back. A run that is
	// resumed does not remember it. Default: what the storage answers is believed.
	ReadBack bool

	// Observer is told what happens. Default: nobody is.
	Observer Observer

	// Uploader stores the objects. Share one between runs, so that they share
	// connections. Default: one of the run's own.
	Uploader *upload.Client

	// Storage is where readers find the task storage. With it, a report whose answer
	// was lost is settled by the task's resolution; without it, by its status alone.
	Storage *queue.Storage

	// Stream serves the logs while they are written, where readers can reach the worker: share one between all runs of the
	// process. Default: none.
	Stream *Stream

	// Publish tunes the live logs. Its Logger is the run's by default.
	Publish livelog.PublishOptions

	// Logger takes what an operator wants to know. Default: none.
	Logger *slog.Logger

	disk disk.Disk // of the state folder; the real one but in tests
}

func (o Options) withDefaults() Options {
	if o.Logs == nil {
		o.Logs = []string{DefaultLog}
	}
	if o.disk == nil {
		o.disk = disk.OS()
	}
	if o.LogLimit == 0 {
		o.LogLimit = livelog.DefaultLimit
	}
	if o.Uploads <= 0 {
		o.Uploads = 4
	}
	if o.GiveUpAfter <= 0 {
		o.GiveUpAfter = 15 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Publish.Logger == nil {
		o.Publish.Logger = o.Logger
	}
	return o
}

// check says what is wrong with options that have their defaults.
func (o Options) check() error {
	if o.LogLimit > 0 && o.LogLimit < livelog.MinLimit {
		return &livelog.LimitError{Limit: o.LogLimit}
	}
	return nil
}
