package livelog

import "fmt"

const (
	// DefaultLimit is how many bytes a log may have if [QuotaOptions] do not say.
	DefaultLimit = 1 << 30
	// MinLimit is the least that a limit can be.
	MinLimit = 64 << 10
)

// LimitError says that a log cannot have so low a limit.
type LimitError struct{ Limit int64 }

// Error says so.
func (e *LimitError) Error() string {
	return fmt.Sprintf("limit logs to %s: the least is %d", count(e.Limit, "byte"), MinLimit)
}

// QuotaOptions adjust a [Quota]. The zero value works.
type QuotaOptions struct {
	// Limit is how many bytes the log may have, with all marks; default [DefaultLimit], a negative one means none.
	Limit int64
	// Tail keeps the newest bytes of a log that has reached its limit. Default: none, then no more than the newest 64 KiB are kept, in memory.
	Tail TailFiles
	// Loss is what an earlier process was told last of this log.
	Loss Loss
	// OnLoss, if not nil, remembers a Loss until the next one, so that the next process knows it. One with a Block
	// it has to make durable. An error means that it cannot; then the log is not marked.
	OnLoss func(Loss) error
	// MakeRoom, if not nil, makes room on the disk for up to 64 KiB, if it can; called when the log has ended and its last mark does not fit.
	MakeRoom func() error
}
