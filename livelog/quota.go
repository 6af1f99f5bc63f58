package livelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"
)

const (
	mostTail    = 16 << 20 // bytes that are kept of the end of a log that has reached its limit
	markReserve = 2 << 10  // bytes of a limit that are kept for the agent's own lines
	retryBytes  = 32 << 10 // a disk that took nothing is tried again after so many bytes
	retryAfter  = time.Second
)

// Quota bounds a log, and says in the log itself what is missing. It writes to a [Spool], and is the only one that does.
//
// A log that has reached its limit keeps its beginning and its newest bytes. All is written through, until a sixteenth of the limit is
// left (16 MiB at most). Then a line in the log says so; what comes after that goes to the files of the tail, of which the oldest
// are dropped. When the log ends, a line follows that says how many bytes and lines are missing, then the newest bytes,
// from the beginning of a line on if possible.
//
// A disk that does not take what is written, because it is full or broken, is handled alike: up to 64 KiB are held in
// memory, and it is tried again every 32 KiB or, if there are writes, every second, and when the log ends. Where it works again,
// a line says how many bytes are missing at that very place, then the newest ones follow, and the log goes on. If nothing
// had to be given up there is no such line, and no loss.
//
// Such a line and what follows it appear in the log as a whole, and only once they survive a power cut and [QuotaOptions].OnLoss knows
// of them. So whoever has read the log sees it go on from there, wherever the process dies; a process that dies while bytes
// are held in memory leaves a loss of which the next one says "at least".
//
// It is safe for concurrent use: the bytes of one Write stay together, but for the lines of the agent.
type Quota struct {
	spool    *Spool
	o        QuotaOptions
	head     int64 // bytes that are written through
	tailMost int64 // bytes that are kept of the rest

	mu      sync.Mutex
	closed  bool
	limited bool  // the log has reached its limit: nothing is written through any more
	noticed bool  // and says so, so that it has to be marked
	tail    *tail // the newest bytes of a log that has reached its limit; nil: before, and where the disk does not take them
	held    *ring // the newest bytes that the disk does not take; nil: there are none
	marked  Loss  // up to the newest mark
	own     int64 // bytes of the spool that are the quota's own lines
	reason  string

	piece   []byte           // being written through
	failed  func(int, error) // fail
	tried   time.Time        // when the disk was tried last
	untried int              // bytes since then
}

// NewQuota makes the quota of a log, or takes up the one that an earlier process has left: then the spool is cut back
// to what readers can have seen. The error is a *[LimitError], or about the files.
func NewQuota(s *Spool, o QuotaOptions) (*Quota, error) {
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	q := &Quota{spool: s, o: o, marked: o.Loss, own: o.Loss.Own}
	q.failed = q.fail
	switch {
	case o.Limit < 0:
		q.o.Limit, q.head, q.tailMost = math.MaxInt64, math.MaxInt64, mostTail
	case o.Limit < MinLimit:
		return nil, &LimitError{o.Limit}
	default:
		q.tailMost = min(o.Limit/16, mostTail)
		q.head = o.Limit - q.tailMost - markReserve
	}
	if s.found == 0 && !o.Loss.Open {
		return q, nil
	}
	if err := q.takeUp(); err != nil {
		return nil, fmt.Errorf("take up the end of a log: %w", err)
	}
	return q, nil
}

// Write takes over all of p, whatever the disk does with it: see [Quota.Lost]. It waits for the disk only. It fails
// after Close with [ErrSealed], where the spool has died with that *[SpoolError], and with one where the disk takes neither
// p nor, by OnLoss, that p is held in memory: then only n bytes are taken over, and the others are lost, see [Spool.Lost].
func (q *Quota) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, ErrSealed
	}
	n := 0
	if q.held == nil && !q.limited {
		n = int(min(int64(len(p)), max(q.head-q.spool.Size(), 0)))
		q.piece = p[:n]
		if n, err := q.spool.put(q.piece, q.failed); err != nil && q.held == nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
	}
	if q.spool.died() != nil {
		return q.spool.Write(p[n:]) // counts them
	}
	kept, err := q.keep(p[n:])
	if err != nil {
		q.spool.loseMore(len(p)-n-kept, err)
	}
	return n + kept, err
}

// fail begins to hold what the disk does not take. The holder of q.mu writes, and so does the spool.
func (q *Quota) fail(rest int, err error) {
	if q.hold(&ring{data: append([]byte(nil), q.piece[len(q.piece)-rest:]...)}, err) != nil {
		q.spool.lose(rest, err)
	}
}

// hold goes on in memory, because the disk does not take the newest bytes; but not where nobody would remember that if the process died.
func (q *Quota) hold(r *ring, err error) error {
	was := q.reason
	q.held, q.tried, q.untried = r, time.Now(), 0
	q.reason = "the disk did not take them: " + cause(err)
	if err := q.tell(q.lost()); err != nil {
		q.held, q.reason = nil, was
		return err
	}
	return nil
}

// cause is what the system says; readers have no use for paths.
func cause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

func (q *Quota) tell(l Loss) error {
	if q.o.OnLoss == nil {
		return nil
	}
	return q.o.OnLoss(l)
}

// keep takes what is not written through.
func (q *Quota) keep(p []byte) (n int, err error) {
	if q.held == nil && q.tail == nil {
		if err := q.reachLimit(); err != nil {
			return 0, err
		}
	}
	if q.tail != nil {
		if n, err = q.tail.write(p); err == nil {
			return n, nil
		}
		if err := q.leaveTail(err); err != nil {
			return n, err
		}
	}
	q.held.write(p[n:])
	if q.untried += len(p); !q.limited && (q.untried >= retryBytes || time.Since(q.tried) >= retryAfter) {
		q.tryAgain()
	}
	return len(p), nil
}

// reachLimit says in the log that from here on only its newest bytes are kept.
func (q *Quota) reachLimit() error {
	size := q.spool.Size()
	behindTail := size > q.head && q.marked.Block > 0 && q.marked.At+q.marked.Block == size // that an earlier process has put there
	q.limited = true
	if !q.noticed && !behindTail {
		// Durable before there is a file of the tail: one that survives a power cut shall find all that is before it.
		text := q.lineBreak() + notice(q.o.Limit)
		err := q.spool.add(strings.NewReader(text), func(int64) error { return nil })
		if q.spool.died() != nil {
			return err
		}
		if err != nil {
			return q.hold(&ring{}, err)
		}
		q.noticed = true
		q.own += int64(len(text))
	}
	q.reason = limitReason(q.o.Limit)
	if q.o.Tail == nil {
		q.held = &ring{}
		return nil
	}
	q.tail = &tail{files: q.o.Tail, at: q.spool.Size(), most: q.tailMost}
	return nil
}

// leaveTail goes on in memory. The room that the files of the tail take is given back to the disk.
func (q *Quota) leaveTail(err error) error {
	t := q.tail
	r := &ring{bytes: t.end, lines: t.lines}
	from, lines, readErr := t.newest(mostHeld)
	if readErr == nil {
		data, readErr := io.ReadAll(t.reader(from))
		if readErr == nil && int64(len(data)) == t.end-from {
			r = &ring{data: data, bytes: from, lines: lines}
		}
	}
	if err := q.hold(r, err); err != nil {
		return err
	}
	q.tail = nil
	_ = t.drop(len(t.kept)) // what is left of them, the next process removes
	return nil
}

// tryAgain sees whether the disk works again.
func (q *Quota) tryAgain() {
	q.tried, q.untried = time.Now(), 0
	room := q.head - q.spool.Size()
	if int64(len(q.held.data))+mostMark > room {
		q.limited = true // what there is follows when the log ends
		return
	}
	_ = q.putHeld(room) // or it stays held, and is tried again; a spool that has died tells the next Write
}

// putHeld appends what is held, behind a mark if something is missing, to at most room bytes more.
func (q *Quota) putHeld(room int64) error {
	r := q.held
	text := int64(len(r.data))
	if r.lost() || q.noticed || text > room {
		r.keep(min(text, room-mostMark))
	}
	marked := ""
	if r.lost() || q.noticed {
		marked = q.mark(r.bytes, r.lines, r.atLeast)
	}
	err := q.put(marked, bytes.NewReader(r.data), int64(len(r.data)), room, Loss{Bytes: r.bytes, Lines: r.lines, AtLeast: r.atLeast})
	if err == nil {
		q.held = nil
	}
	return err
}

// putTail appends the newest bytes of a log that has reached its limit.
func (q *Quota) putTail() error {
	t, room := q.tail, q.o.Limit-q.spool.Size()
	want := min(q.tailMost, room-mostMark)
	from, lines, err := t.newest(want)
	if err != nil {
		return err
	}
	marked := ""
	if from > 0 || q.noticed {
		marked = q.mark(from, lines, false)
	}
	return q.put(marked, t.reader(from), t.end-from, room, Loss{Bytes: from, Lines: lines})
}

var (
	errNoRoom  = errors.New("the log has no room left for it")
	errChanged = errors.New("the files of the tail have changed")
)

// put appends a mark of what is lost and, of that length, what follows; and remembers that it is marked.
func (q *Quota) put(marked string, r io.Reader, length, room int64, lost Loss) error {
	size := int64(len(marked)) + length
	if size > room {
		return errNoRoom
	}
	now := Loss{
		Bytes: q.marked.Bytes + lost.Bytes, Lines: q.marked.Lines + lost.Lines, AtLeast: q.marked.AtLeast || lost.AtLeast,
		Reason: q.marked.Reason, At: q.spool.Size(), Block: size, Own: q.own + int64(len(marked)),
	}
	if lost.Any() {
		now.Reason = q.reason
	}
	err := q.spool.add(io.MultiReader(strings.NewReader(marked), r), func(n int64) error {
		if n != size {
			return errChanged
		}
		return q.tell(now)
	})
	if err == nil {
		q.marked, q.own = now, now.Own
		q.noticed = false
	}
	return err
}

func (q *Quota) mark(bytes, lines int64, atLeast bool) string {
	return q.lineBreak() + mark(bytes, lines, atLeast, q.reason)
}

// lineBreak is what lets a line begin at the end of the log.
func (q *Quota) lineBreak() string {
	if q.spool.Size() == 0 || q.endsWith("\n") {
		return ""
	}
	return "\n"
}

func (q *Quota) endsWith(text string) bool { return q.holds(text, q.spool.Size()-int64(len(text))) }

// holds says whether the spool has text at that place.
func (q *Quota) holds(text string, at int64) bool {
	if at < 0 {
		return false
	}
	there := make([]byte, len(text))
	_, err := io.ReadFull(q.spool.Section(at, int64(len(text))), there)
	return err == nil && string(there) == text
}

// EndsWith says whether text is the end of what was written, as far as that is known.
func (q *Quota) EndsWith(text string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.held != nil && len(q.held.data) == 0 && q.held.lost():
		return text == "\n" // a mark comes before what follows
	case q.held != nil && len(q.held.data) > 0:
		return strings.HasSuffix(string(q.held.data), text)
	case q.tail != nil && q.tail.end > 0:
		from := q.tail.end - int64(len(text))
		if from < q.tail.first() {
			return false
		}
		last, err := io.ReadAll(q.tail.reader(from))
		return err == nil && string(last) == text
	}
	return q.endsWith(text)
}

// Lost says what of the log is missing. After Close that is all there is to say, but for the loss of a spool that has died: see [Spool.Lost].
func (q *Quota) Lost() Loss {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost()
}

func (q *Quota) lost() Loss {
	l := q.marked
	switch {
	case q.held != nil:
		l.Unmarked, l.UnmarkedLines = q.held.bytes+int64(len(q.held.data)), q.held.lines+newlines(q.held.data)
		l.AtLeast = l.AtLeast || q.held.atLeast
	case q.tail != nil:
		l.Unmarked, l.UnmarkedLines = q.tail.end, q.tail.lines
	default:
		return l
	}
	l.Open, l.At, l.Block, l.Own = true, q.spool.Size(), 0, q.own
	l.Bytes += l.Unmarked
	l.Lines += l.UnmarkedLines
	l.Reason = q.reason
	return l
}

// Taken is how many bytes were written to the log in all: those that are in it, those that are kept for its end, and those that it
// counts as missing. After the process has died that is what outlived it, and the next one's Quota says the same: whoever
// can read again what he wrote goes on with the byte of that number.
func (q *Quota) Taken() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.spool.Size() - q.own + q.lost().Bytes
}
