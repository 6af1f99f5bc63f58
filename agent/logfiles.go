package agent

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/taskcluster/upload-agent/livelog"
)

// tailFiles are the files of the newest bytes of one log, beside its spool.
type tailFiles struct {
	folder *stateFolder
	number int // of the log
}

func (t tailFiles) path(name string) string {
	return fmt.Sprintf("%s.tail-%s", t.folder.logPath(t.number), name)
}

func (t tailFiles) List() ([]string, error) {
	all, err := t.folder.disk.ReadDir(filepath.Dir(t.path("")))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range all {
		if name, ok := strings.CutPrefix(file, filepath.Base(t.path(""))); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

func (t tailFiles) Create(name string) (livelog.File, error) {
	return t.folder.disk.Create(t.path(name))
}
func (t tailFiles) Open(name string) (livelog.File, error) { return t.folder.disk.Open(t.path(name)) }
func (t tailFiles) Remove(name string) error               { return t.folder.disk.RemoveAll(t.path(name)) }

// logsReserve is how many bytes are put by for the last marks of all logs together.
const logsReserve = 64 << 10

func (f *stateFolder) reservePath() string { return filepath.Join(f.path, "logs", "reserve") }

// reserve is what fills the reserve. It is never written to: a thousand runs that start at once share it.
var reserve [logsReserve]byte

// makeReserve puts room by, besides the journal's, which the end of the run needs for itself.
func (f *stateFolder) makeReserve() error {
	file, err := f.disk.Create(f.reservePath())
	if err != nil {
		return err
	}
	_, err = file.WriteAt(reserve[:], 0)
	return errors.Join(err, file.Close())
}

// freeReserve gives the room back to the disk, once.
func (f *stateFolder) freeReserve() error { return f.disk.RemoveAll(f.reservePath()) }
