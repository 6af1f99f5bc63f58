package sidecar

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/taskcluster/upload-agent/schema"
)

// record is what we keep of a run folder ourselves, where no worker can write. It goes when the folder is gone.
type record struct {
	Folder string        `json:"folder"`
	TaskID schema.TaskID `json:"taskId"`
	RunID  schema.RunID  `json:"runId"`
	Over   schema.Phase  `json:"over,omitempty"` // how the run ended; "" while it has not
	Reason string        `json:"reason,omitempty"`
}

// run is the name of the run's state folder.
func (r record) run() string { return fmt.Sprintf("%s-%d", r.TaskID, r.RunID) }

// recordName is the name of a folder's record, without its ending: a folder may be called anything.
func recordName(folder string) string {
	sum := sha256.Sum256([]byte(folder))
	return hex.EncodeToString(sum[:16])
}

const (
	recordEnding = ".json"
	placesEnding = ".places"
)

// records are those of all folders below one.
type records struct{ dir string }

func openRecords(dir string) (records, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return records{}, fmt.Errorf("make folder for records: %w", err)
	}
	return records{dir}, nil
}

func (r records) path(folder, ending string) string {
	return filepath.Join(r.dir, recordName(folder)+ending)
}

// read gives the record of a folder; there may be none.
func (r records) read(folder string) (one record, ok bool, err error) {
	data, err := os.ReadFile(r.path(folder, recordEnding))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &one)
	}
	if err != nil {
		return record{}, false, fmt.Errorf("read record of run folder: %w", err)
	}
	return one, true, nil
}

// write makes a record durable.
func (r records) write(one record) (err error) {
	data, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("write record of run folder: %w", err)
	}
	path := r.path(one.Folder, recordEnding)
	if err = writeDurably(path, data); err != nil {
		return fmt.Errorf("write record of run folder: %w", err)
	}
	return nil
}

func writeDurably(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// forget removes what is kept of a folder.
func (r records) forget(folder string) error {
	var errs []error
	for _, ending := range []string{placesEnding, recordEnding} {
		if err := os.Remove(r.path(folder, ending)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// all gives all records.
func (r records) all() ([]record, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, err
	}
	var all []record
	var errs []error
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != recordEnding {
			continue
		}
		var one record
		data, err := os.ReadFile(filepath.Join(r.dir, entry.Name()))
		if err == nil {
			err = json.Unmarshal(data, &one)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read record %s: %w", entry.Name(), err))
			continue
		}
		all = append(all, one)
	}
	return all, errors.Join(errs...)
}
