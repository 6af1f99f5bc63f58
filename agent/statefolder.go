package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"

	"github.com/taskcluster/upload-agent/agent/internal/crashpoint"
	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// stateFolder is what a run leaves on the local disk, for itself or for whoever resumes it:
//
//	journal      what the run has done so far
//	logs/0 ...   the spools of its logs, numbered in the order in which the journal names them
//	logs/0.tail-...  the newest bytes of a log that has reached its limit (logfiles.go)
//	logs/reserve room for the last marks of the logs on a full disk
//	packed/0 ... artifacts gzipped, each until it is stored; gone with the process
//	result.json  the frozen result
//
// Only its owner can read it: logs may hold what is nobody else's business.
type stateFolder struct {
	disk      disk.Disk
	path      string
	temporary bool // nobody will look for it after this process
	journal   *journal.Journal
}

// folderName is the name of a run's state folder.
func folderName(id schema.TaskID, run schema.RunID) string { return fmt.Sprintf("%s-%d", id, run) }

var isFolderName = regexp.MustCompile(`^[A-Za-z0-9_-]{22}-[0-9]+$`)

// makeStateFolder makes the folder of a run below dir, or a temporary one if dir is "", and begins its journal.
func makeStateFolder(d disk.Disk, dir string, claim journal.Claim) (*stateFolder, error) {
	for try := 1; ; try++ {
		f, err := tryStateFolder(d, dir, claim)
		if err == nil {
			return f, nil
		}
		// Somebody who resumes runs may take a folder that has just been made for one that was left.
		if try == 3 || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, disk.ErrLocked) {
			return nil, fmt.Errorf("make state folder: %w", err)
		}
	}
}

func tryStateFolder(d disk.Disk, dir string, claim journal.Claim) (_ *stateFolder, err error) {
	f := &stateFolder{disk: d, temporary: dir == ""}
	name := folderName(claim.TaskID, claim.RunID)
	if f.temporary {
		f.path, err = d.MkdirTemp("upload-agent-" + name + "-")
	} else {
		f.path, err = f.claimPath(dir, name)
	}
	if err != nil {
		return nil, err
	}
	if err = d.MkdirAll(filepath.Join(f.path, "logs")); err == nil {
		err = f.makeReserve()
	}
	if err == nil {
		f.journal, err = journal.Create(d, f.path, journal.Record{Step: journal.Claimed, Claim: &claim})
	}
	if err != nil {
		return nil, errors.Join(err, d.RemoveAll(f.path))
	}
	return f, nil
}

// claimPath makes the folder name below dir, and no other process can.
func (f *stateFolder) claimPath(dir, name string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := makeDurably(f.disk, dir); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	err = f.disk.Mkdir(path)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s exists: another agent works on this run, or one has died and 'upload-agent resume' goes on with it: %w", path, fs.ErrExist)
	}
	if err != nil {
		return "", err
	}
	return path, f.disk.SyncDir(dir)
}

// makeDurably makes the folder dir and those above it that are missing, so that they survive a power cut.
func makeDurably(d disk.Disk, dir string) error {
	err := d.Mkdir(dir)
	if above := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && above != dir {
		if err := makeDurably(d, above); err != nil {
			return err
		}
		err = d.Mkdir(dir)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := d.SyncDir(filepath.Dir(dir)); !errors.Is(err, fs.ErrPermission) { // a folder that one may write to but not read
		return err
	}
	return nil
}

// openStateFolder takes over a folder that another process has left. One without a record of what it is for is removed: ErrNotBegun.
func openStateFolder(d disk.Disk, path string) (*stateFolder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, &StateError{Dir: path, Err: err}
	}
	f := &stateFolder{disk: d, path: path}
	f.journal, err = journal.Open(d, path)
	switch {
	case errors.Is(err, disk.ErrLocked):
		return nil, &StateError{Dir: path, Err: ErrInUse}
	case errors.Is(err, fs.ErrNotExist):
		if _, err := d.ReadDir(path); err != nil {
			return nil, &StateError{Dir: path, Err: err}
		}
		return nil, errors.Join(&StateError{Dir: path, Err: ErrNotBegun}, d.RemoveAll(path))
	case err != nil:
		return nil, &StateError{Dir: path, Err: err}
	}
	return f, nil
}

func (f *stateFolder) logPath(number int) string {
	return filepath.Join(f.path, "logs", strconv.Itoa(number)) // "a" and "a/b" may both be logs
}

// createLog makes the file of the log of that number, so that it survives a power cut: the journal must not know
// a log without a file. A file that is there belongs to no log, else the journal would know it.
func (f *stateFolder) createLog(number int) (disk.File, error) {
	file, err := f.disk.Create(f.logPath(number))
	if errors.Is(err, fs.ErrExist) {
		if err = f.disk.RemoveAll(f.logPath(number)); err == nil {
			file, err = f.disk.Create(f.logPath(number))
		}
	}
	if err != nil {
		return nil, err
	}
	if err := f.disk.SyncDir(filepath.Dir(f.logPath(number))); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// openLog opens the file of a log that the journal knows.
func (f *stateFolder) openLog(number int) (file disk.File, size int64, err error) {
	if file, err = f.disk.Open(f.logPath(number)); err != nil {
		return nil, 0, err
	}
	if size, err = file.Size(); err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, size, nil
}

// freeze fixes the bytes of result.json on the disk. On a full disk it takes the room that the journal has put by.
func (f *stateFolder) freeze(body []byte) error {
	err := f.writeResult(body)
	if errors.Is(err, syscall.ENOSPC) && f.journal.FreeReserve() == nil {
		err = f.writeResult(body)
	}
	if err != nil {
		return fmt.Errorf("freeze result.json: %w", err)
	}
	frozen := journal.Frozen{Size: int64(len(body)), Digest: upload.Sum(body)}
	return f.journal.Append(journal.Record{Step: journal.ResultFrozen, Frozen: &frozen})
}

func (f *stateFolder) resultPath() string { return filepath.Join(f.path, "result.json") }

func (f *stateFolder) writeResult(body []byte) (err error) {
	temporary := f.resultPath() + ".new"
	if err := f.disk.RemoveAll(temporary); err != nil {
		return err
	}
	file, err := f.disk.Create(temporary)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(body, 0)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	crashpoint.Reach(pointResultWritten)
	if err := f.disk.Rename(temporary, f.resultPath()); err != nil {
		return err
	}
	crashpoint.Reach(pointResultRenamed)
	return f.disk.SyncDir(f.path)
}

// The points at which a test kills the process, besides the journal's own.
const (
	pointResultWritten = "result.json: written"
	pointResultRenamed = "result.json: renamed"
)

// frozen reads the bytes of result.json, which have to be those that the journal knows.
func (f *stateFolder) frozen(want journal.Frozen) ([]byte, error) {
	file, err := f.disk.Open(f.resultPath())
	if err != nil {
		return nil, fmt.Errorf("read frozen result.json: %w", err)
	}
	body := make([]byte, want.Size)
	n, err := file.ReadAt(body, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read frozen result.json: %w", err)
	}
	if upload.Sum(body[:n]) != want.Digest {
		return nil, errors.New("read frozen result.json: its bytes are not those that were frozen")
	}
	return body, nil
}

// close leaves the folder to whoever resumes the run.
func (f *stateFolder) close() error { return f.journal.Close() }

// remove deletes the folder. The journal goes first: without it there is nothing to resume.
func (f *stateFolder) remove() error {
	err := f.disk.RemoveAll(journal.Path(f.path))
	if err == nil {
		err = f.disk.SyncDir(f.path)
	}
	return errors.Join(err, f.disk.RemoveAll(f.path), f.journal.Close())
}
