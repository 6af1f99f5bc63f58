package journal

import (
	"encoding/json"
	"time"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Step is what a record says was done.
type Step string

// The steps of a run. Each names the members of Record that it needs.
const (
	Claimed          Step = "claimed"           // Claim
	Renewed          Step = "claim renewed"     // Until
	LogAdded         Step = "log added"         // Log; Limit
	LogLoss          Step = "log loss"          // Log, Loss; takes the place of the one before
	ChunkStored      Step = "chunk stored"      // Log, Chunk; which may replace the latest ones
	LogsStored       Step = "logs.json stored"  // Names, Receipt
	ArtifactAdded    Step = "artifact added"    // Artifact
	ArtifactReplaced Step = "artifact replaced" // Artifact, in the place of what was added or missing under its name: it is neither stored nor missing from there on
	ArtifactStored   Step = "artifact stored"   // Receipt; its Name is the artifact's, or a log's whose text it is
	ArtifactMissing  Step = "artifact missing"  // Missing; also of a log that is not whole, and of a name that was never added. It stands, whatever was or is stored, until the artifact is replaced
	LogsEnded        Step = "logs ended"        // Ended: nothing is added to these logs, although the outcome is not known
	OutcomeKnown     Step = "outcome known"     // Outcome: nothing is added to logs or artifacts after it
	ResultFrozen     Step = "result frozen"     // Frozen: the bytes are in the state folder's result.json
	ResultStored     Step = "result stored"     // Receipt
	CompletedSent    Step = "completed sent"    // about to be sent; may come several times
	CompletedKnown   Step = "completed acknowledged"
)

// Record is one line of the journal. It holds no signed URL: those of receipts and chunks are where readers find the object.
type Record struct {
	Number   int64         `json:"n"`  // from 1, without a gap; filled in by the journal
	At       time.Time     `json:"at"` // filled in by the journal if zero
	Step     Step          `json:"step"`
	Claim    *Claim        `json:"claim,omitempty"`
	Until    *time.Time    `json:"until,omitempty"`
	Log      string        `json:"log,omitempty"`
	Limit    int64         `json:"limit,omitempty"` // bytes that the log may have; negative: any number; 0: it is not known
	Loss     *Loss         `json:"loss,omitempty"`
	Names    []string      `json:"names,omitempty"`
	Chunk    *schema.Chunk `json:"chunk,omitempty"`
	Artifact *Artifact     `json:"artifact,omitempty"`
	Missing  *Missing      `json:"missing,omitempty"`
	Ended    []SealedLog   `json:"ended,omitempty"`
	Outcome  *Outcome      `json:"outcome,omitempty"`
	Frozen   *Frozen       `json:"frozen,omitempty"`
	Receipt  *Receipt      `json:"receipt,omitempty"`
}

// Claim is whose run it is.
type Claim struct {
	TaskID schema.TaskID `json:"taskId"`
	RunID  schema.RunID  `json:"runId"`
	schema.Worker
	Queue string    `json:"queue"` // the base URL of the queue's API
	Until time.Time `json:"until"` // when the claim lapses, by our own clock
}

// Artifact is one that was added.
type Artifact struct {
	Name               string          `json:"name"`
	ContentType        string          `json:"contentType,omitempty"` // "" is told from the bytes
	Gzip               bool            `json:"gzip,omitempty"`
	CacheControl       string          `json:"cacheControl,omitempty"`
	ContentDisposition string          `json:"contentDisposition,omitempty"`
	Path               string          `json:"path,omitempty"`   // absolute, or below Folder; "" if it was no file
	Folder             string          `json:"folder,omitempty"` // of an upload.Place, as the next two; "" if it was none
	Symlinks           upload.Symlinks `json:"symlinks,omitempty"`
	HardLinks          bool            `json:"hardLinks,omitempty"`
}

// Missing is an artifact or a log that is not stored, or not whole.
type Missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Loss is what is missing in a log, and where its newest mark is: a livelog.Loss.
type Loss struct {
	Bytes         int64  `json:"bytes"`
	Lines         int64  `json:"lines"`
	AtLeast       bool   `json:"atLeast,omitempty"`
	Reason        string `json:"reason,omitempty"`
	Unmarked      int64  `json:"unmarked,omitempty"`
	UnmarkedLines int64  `json:"unmarkedLines,omitempty"`
	Open          bool   `json:"open,omitempty"`
	At            int64  `json:"at"`
	Block         int64  `json:"block"`
	Own           int64  `json:"own,omitempty"`
}

// Outcome is what the worker said of the run, and how long its logs were then.
type Outcome struct {
	Success bool            `json:"success"`
	Result  json.RawMessage `json:"result,omitempty"` // the worker's own object
	Report  bool            `json:"report"`           // the agent reports; else the worker does
	Logs    []SealedLog     `json:"logs,omitempty"`   // every log that was added
}

// SealedLog is a log that has ended and is whole on the disk, but for what Lost or Incomplete says.
type SealedLog struct {
	Name       string `json:"name"`
	Size       int64  `json:"size"`
	Lost       string `json:"lost,omitempty"`       // why it is not whole, and does not say so itself; "" if it is or does
	Incomplete string `json:"incomplete,omitempty"` // what is missing in it, where it says so itself
}

// Frozen are the bytes of result.json.
type Frozen struct {
	Size   int64         `json:"size"`
	Digest upload.Digest `json:"digest"`
}

// Receipt is an upload.Receipt, as far as it matters later.
type Receipt struct {
	Name     string        `json:"name"`
	URL      string        `json:"url,omitempty"`
	Size     int64         `json:"size"`
	Digest   upload.Digest `json:"digest"`
	ETag     string        `json:"etag,omitempty"`
	Expires  time.Time     `json:"expires,omitzero"`
	Attempts int           `json:"attempts"`
}
