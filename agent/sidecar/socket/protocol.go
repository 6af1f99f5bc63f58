package socket

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Variable is the environment variable in which a task finds the path of the socket.
const Variable = "UPLOAD_AGENT_SOCKET"

const (
	// MaxRequest is how many bytes a request may have.
	MaxRequest = 4 << 20
	// MaxRedaction is how many bytes the values may have that one request wants redacted.
	MaxRedaction = 64 << 10
)

// Upload asks for files to be uploaded as artifacts. Dir and Specs are needed.
type Upload struct {
	Dir     string   `json:"dir"`   // absolute; where the specs are looked for
	Specs   []string `json:"specs"` // as files.Parse reads them
	Exclude []string `json:"exclude,omitempty"`
	// Symlinks are inside, follow or skip, as files.Options have it. Default: inside.
	Symlinks string `json:"symlinks,omitempty"`
	// Gzip and Replace are as in agent.ArtifactOptions.
	Gzip    bool `json:"gzip,omitempty"`
	Replace bool `json:"replace,omitempty"`
	// NoWait answers when the files are added, not when they are stored: until then they have to stay as they are.
	NoWait bool `json:"noWait,omitempty"`
}

// State is what has become of a file.
type State string

const (
	// Stored files are stored and verified.
	Stored State = "stored"
	// Waiting files are added, and not stored yet.
	Waiting State = "waiting"
	// Missing files could not be stored. The run's result says so, too.
	Missing State = "missing"
	// Refused files were not added, and the run's result knows nothing of them: they may be asked for again.
	Refused State = "refused"
)

// File is what has become of a file, or of a spec that stands for none.
type File struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Size   int64  `json:"size,omitempty"`   // in bytes, if it is stored; gzipped if it was
	Digest string `json:"digest,omitempty"` // of what is stored, with its kind before a colon
	Reason string `json:"reason,omitempty"` // if it is missing or refused
}

// Log is a log, and how much of it there is.
type Log struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // in bytes
}

// Status is how far a run has come.
type Status struct {
	TaskID     schema.TaskID `json:"taskId"`
	RunID      schema.RunID  `json:"runId"`
	Started    time.Time     `json:"started"`
	TakenUntil time.Time     `json:"takenUntil"` // when the claim lapses, if it is not reclaimed before, as it is as a rule
	Ended      string        `json:"ended,omitempty"`
	Logs       []Log         `json:"logs"`      // sorted by name
	Artifacts  []File        `json:"artifacts"` // sorted by name
}

// statusOf is how far a run has come.
func statusOf(p agent.Progress) Status {
	s := Status{
		TaskID: p.TaskID, RunID: p.RunID, Started: schema.Timestamp(p.Started), TakenUntil: schema.Timestamp(p.TakenUntil), Logs: []Log{}, Artifacts: []File{},
	}
	if p.Err != nil {
		s.Ended = p.Err.Error()
	}
	for _, name := range slices.Sorted(maps.Keys(p.Logs)) {
		s.Logs = append(s.Logs, Log{name, p.Logs[name]})
	}
	for _, receipt := range p.Stored {
		if _, log := p.Logs[receipt.Name]; !log {
			s.Artifacts = append(s.Artifacts, storedFile(receipt))
		}
	}
	for name, reason := range p.Missing {
		s.Artifacts = append(s.Artifacts, File{Name: name, State: Missing, Reason: reason})
	}
	for _, name := range p.Queue {
		s.Artifacts = append(s.Artifacts, File{Name: name, State: Waiting})
	}
	slices.SortFunc(s.Artifacts, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

func storedFile(r upload.Receipt) File {
	return File{Name: r.Name, State: Stored, Size: r.Size, Digest: string(r.Digest)}
}

// redactions is the body of POST /v1/redactions.
type redactions struct {
	Values []string `json:"values,omitempty"`
	Base64 [][]byte `json:"base64,omitempty"` // those that JSON cannot hold, as they are not UTF-8
}

// line is one of an answer to POST /v1/artifacts.
type line struct {
	*File
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
	Code  code   `json:"code,omitempty"`
}

// failure is what an agent answers instead.
type failure struct {
	Message string `json:"error"`
	Code    code   `json:"code"`
}

type code string

const (
	codeBadRequest code = "bad-request"
	codeClaimLost  code = "claim-lost"
	codeEnded      code = "ended"
	codeNoRun      code = "no-run"
	codeTooLarge   code = "too-large"
	codeTooShort   code = "too-short"
	codeToken      code = "token"
	codeUser       code = "user"
)

// Error is what an agent has answered instead of doing what it was asked for. Its cause, for errors.Is, is one of
// ErrUser, ErrToken, ErrNoRun, agent.ErrClaimLost, agent.ErrEnded and livelog.ErrShortSecret, or nothing.
type Error struct {
	Message string
	Err     error
}

// Error is what the agent said.
func (e *Error) Error() string { return "the agent answers: " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

var (
	// ErrNoAgent says that nobody serves the socket.
	ErrNoAgent = errors.New("no agent there")
	// ErrUser says that the caller, or who serves the socket, is neither of the own user nor root.
	ErrUser = errors.New("another user's")
	// ErrToken says that the caller does not have the token.
	ErrToken = errors.New("wrong token")
	// ErrNoRun says that the agent does not have the run, or that it is not clear which is meant.
	ErrNoRun = errors.New("no such run")
	// ErrInUse says that another agent serves the socket.
	ErrInUse = errors.New("in use by another process")
	// ErrPathTooLong says that a system cannot have a socket of that path.
	ErrPathTooLong = fmt.Errorf("path is too long for a unix socket: at most %d bytes", maxPath)
)
