package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/crashpoint"
	"github.com/taskcluster/upload-agent/agent/internal/disk"
)

const (
	fileName    = "journal"
	reserveName = "reserve"
	reserveSize = 64 << 10 // bytes put by for the last records of a run on a full disk
)

// Path is where the journal of the state folder dir is.
func Path(dir string) string { return filepath.Join(dir, fileName) }

// deadPath is where a journal goes that nobody may rely on.
func deadPath(dir string) string { return Path(dir) + ".dead" }

// open opens the file of the journal in dir.
func open(d disk.Disk, dir string) (disk.File, error) {
	file, err := d.Open(Path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		if dead, deadErr := d.Open(deadPath(dir)); deadErr == nil {
			return nil, errors.Join(ErrDead, dead.Close())
		}
	}
	return file, err
}

// Journal is one run's journal, open and locked. Safe for concurrent use.
type Journal struct {
	disk disk.Disk
	dir  string
	file disk.File

	mu      sync.Mutex
	changed *sync.Cond    // work, synced, waiting, due, closing or err
	state   State         // a light one
	found   State         // see Found
	number  int64         // of the last record
	lines   []byte        // of records that are not in the file yet
	jotted  []Step        // of these
	written int64         // bytes of the file that hold records
	synced  int64         // of which survive a power cut
	waiting int           // how many wait for that
	due     bool          // what was noted has waited long enough
	closing bool          // nothing more is written
	err     *Error        // why the journal is dead
	failed  chan struct{} // closed when it is

	ended    chan struct{} // closed when the syncer has ended
	close    sync.Once
	closeErr error
}

func newJournal(d disk.Disk, dir string, file disk.File) *Journal {
	j := &Journal{state: State{light: true}, disk: d, dir: dir, file: file, failed: make(chan struct{}), ended: make(chan struct{})}
	j.changed = sync.NewCond(&j.mu)
	return j
}

// Create begins the journal of a run in its state folder dir, which has to exist. claimed is the first record;
// it is durable when Create returns, and so is a reserve of 64 KiB for when the disk is full.
// The error is [fs.ErrExist] if there is a journal. After another error the folder holds parts of one: remove it.
func Create(d disk.Disk, dir string, claimed Record) (*Journal, error) {
	if err := new(State).check(claimed); err != nil {
		return nil, err
	}
	file, err := d.Create(Path(dir))
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	j := newJournal(d, dir, file)
	err = file.Lock()
	if err == nil {
		err = makeReserve(d, dir)
	}
	if err == nil {
		err = j.begin(claimed)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create journal %s: %w", Path(dir), err), file.Close())
	}
	go j.keepSynced()
	return j, nil
}

// begin makes the first record durable.
func (j *Journal) begin(claimed Record) error {
	end, err := j.write(claimed, false)
	if err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	if err := j.disk.SyncDir(j.dir); err != nil {
		return err
	}
	crashpoint.Reach(string(Claimed) + durable)
	j.synced = end
	return nil
}

// reserve is what fills the reserve. It is never written to: a thousand runs that start at once share it.
var reserve [reserveSize]byte

func makeReserve(d disk.Disk, dir string) error {
	file, err := d.Create(filepath.Join(dir, reserveName))
	if err != nil {
		return err
	}
	_, err = file.WriteAt(reserve[:], 0)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// Open takes up the journal in the state folder dir. What a torn write has left at its end is cut off, and what
// [Journal.Found] gives then survives a power cut. The error is [fs.ErrNotExist] if there is none, [ErrDead] if it
// could not be synced once, [ErrEmpty] if it holds nothing yet, [ErrLocked] if another process works with it, a *[DamagedError] if it cannot be relied on.
func Open(d disk.Disk, dir string) (*Journal, error) {
	file, err := open(d, dir)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := newJournal(d, dir, file)
	if err := j.takeUp(); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", Path(dir), err), file.Close())
	}
	go j.keepSynced()
	return j, nil
}

func (j *Journal) takeUp() error {
	if err := j.file.Lock(); err != nil {
		return err
	}
	p, size, err := readFile(j.file, j.dir)
	if err != nil {
		return err
	}
	if p.size < size {
		if err := j.file.Truncate(p.size); err != nil {
			return err
		}
	}
	// The process before may have died between a write and its fsync; what is acted upon has to last.
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.state, j.found, j.number, j.written, j.synced = p.state.Clone(), p.state, p.number, p.size, p.size
	j.state.lighten()
	return nil
}

// Read shows the state of the run in the state folder dir, whoever works with its journal.
// The errors are those of [Open], but for ErrLocked.
func Read(d disk.Disk, dir string) (State, error) {
	file, err := open(d, dir)
	if err != nil {
		return State{}, fmt.Errorf("read journal: %w", err)
	}
	p, _, err := readFile(file, dir)
	if err = errors.Join(err, file.Close()); err != nil {
		return State{}, fmt.Errorf("read journal %s: %w", Path(dir), err)
	}
	return p.state, nil
}

// readFile replays a journal, and gives the size of its file.
func readFile(file disk.File, dir string) (replayed, int64, error) {
	size, err := file.Size()
	if err != nil {
		return replayed{}, 0, err
	}
	data := make([]byte, size)
	n, err := file.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) { // EOF: its writer has cut it meanwhile
		return replayed{}, 0, err
	}
	p, err := replay(data[:n])
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		damaged.Path = Path(dir)
	}
	return p, size, err
}

// Append writes a record, and returns when it survives a power cut. Concurrent callers share one fsync.
// A step that cannot be is a *[StepError], and changes nothing. Any other error is an *[Error]: it is
// not known whether the record will be found.
func (j *Journal) Append(r Record) error {
	end, err := j.write(r, false)
	if err != nil {
		return err
	}
	if err := j.waitSynced(end); err != nil {
		return err
	}
	crashpoint.Reach(string(r.Step) + durable)
	return nil
}

// Note writes a record, and returns when it survives the end of the process. The fsync follows in the background,
// some 100 ms later, for all that was noted until then.
// Errors are those of [Journal.Append].
func (j *Journal) Note(r Record) error {
	_, err := j.write(r, false)
	return err
}

// Jot takes up a record that is written a little later, together with others: before the next one that is noted or appended, and with the next
// fsync, some 100 ms later at most. Until then it is lost with the process: so it is for what can be done again.
// Errors are those of [Journal.Append]; one of the disk shows up in what is called next.
func (j *Journal) Jot(r Record) error {
	_, err := j.write(r, true)
	return err
}

// Found is what the records that [Open] has found make of the run. It is to be read only.
func (j *Journal) Found() State { return j.found }

// mostJotted is how many records wait at most.
const mostJotted = 256

// write adds a record to the file, or to those that are written later, and to the state, and gives where it ends.
func (j *Journal) write(r Record, later bool) (end int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return 0, j.err
	}
	if j.closing {
		return 0, &Error{Op: "write", Path: Path(j.dir), Err: fs.ErrClosed}
	}
	r.Number = j.number + 1
	if r.At.IsZero() {
		r.At = time.Now().UTC().Round(0)
	}
	if err := j.state.check(r); err != nil {
		return 0, err
	}
	lines, err := appendLine(j.lines, r)
	if err == nil && !r.asIs() {
		r, err = reread(lines[len(j.lines):]) // the state is made of what is in the file
	}
	if err != nil {
		return 0, &StepError{Phase: j.state.Phase(), Step: r.Step, Reason: "it cannot be written as JSON: " + err.Error()}
	}
	crashpoint.Reach(string(r.Step) + before)
	idle := j.idle()
	j.lines, j.jotted = lines, append(j.jotted, r.Step)
	if !later || len(j.jotted) == mostJotted {
		if err := j.flush(); err != nil {
			return 0, err
		}
	}
	j.state.set(r)
	j.number = r.Number
	if idle {
		j.changed.Broadcast()
	}
	return j.written, nil
}

// idle says that all there is survives a power cut. The caller holds mu.
func (j *Journal) idle() bool { return j.written == j.synced && len(j.jotted) == 0 }

// flush writes what was jotted down. The caller holds mu.
func (j *Journal) flush() error {
	switch {
	case j.err != nil:
		return j.err
	case len(j.jotted) == 0:
		return nil
	}
	if err := j.put(j.lines); err != nil {
		j.lines, j.jotted = nil, nil
		j.die("write", err)
		return j.err
	}
	for _, step := range j.jotted {
		crashpoint.Reach(string(step) + written)
	}
	j.written += int64(len(j.lines))
	j.lines, j.jotted = j.lines[:0], j.jotted[:0]
	return nil
}

// put writes lines at the end, all of them or none. On a full disk it takes to the reserve. The caller holds mu.
func (j *Journal) put(lines []byte) error {
	try := func() error {
		_, err := j.file.WriteAt(lines, j.written)
		if err == nil {
			return nil
		}
		if cut := j.file.Truncate(j.written); cut != nil { // parts of them may be there, and garbage behind
			return fmt.Errorf("%w; cut off the rest: %w", err, cut)
		}
		return err
	}
	err := try()
	if err != nil && errors.Is(err, syscall.ENOSPC) && j.FreeReserve() == nil {
		err = try()
	}
	return err
}

// FreeReserve gives the room that was put by back to the disk, for what is worth as much as the journal. The journal does it
// by itself for its own records. There is one reserve for all the life of a journal; without it FreeReserve does nothing.
func (j *Journal) FreeReserve() error {
	return j.disk.RemoveAll(filepath.Join(j.dir, reserveName))
}

// The crash points of a step.
const (
	before  = ": before"
	written = ": written"
	durable = ": durable"
)

// Points are the crash points of the journal: of each step before its write, after it, and, for [Journal.Append], after the fsync.
func Points() []string {
	var points []string
	for _, rule := range rules {
		for _, point := range []string{before, written, durable} {
			points = append(points, string(rule.step)+point)
		}
	}
	return points
}
