package sidecar

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// The files of a run folder.
const (
	claimFile     = "claim.json"
	finishFile    = "finish.json"
	statusFile    = "status.json"
	claimLostFile = "claim-lost"
	logsDir       = "logs"
	artifactsDir  = "artifacts"
)

// The largest that are read.
const (
	mostClaim  = 1 << 20
	mostFinish = 16 << 20
)

// document is a file of the worker's that is renamed into place. It is read again only when it has changed.
type document[T schema.Document] struct {
	name string
	most int64

	size    int64
	changed time.Time
	id      identity
	known   bool
	doc     T
	err     error
}

// read gives the document, or what is wrong with it: fs.ErrNotExist if it is not there. owners say who may have written it.
func (d *document[T]) read(root *os.Root, mayOwn func(fs.FileInfo) error) (T, error) {
	info, err := root.Lstat(d.name)
	if err != nil {
		d.known = false
		return d.doc, withoutPath(err)
	}
	if d.isAsRead(info) {
		return d.doc, d.err
	}
	d.size, d.changed, d.id, d.known = info.Size(), info.ModTime(), identify(info), true
	d.doc, d.err = d.load(root, mayOwn)
	if errors.Is(d.err, fs.ErrNotExist) {
		d.known = false
	}
	return d.doc, d.err
}

// isAsRead reports whether the file is as it was when it was read.
func (d *document[T]) isAsRead(info fs.FileInfo) bool {
	return d.known && d.size == info.Size() && d.changed.Equal(info.ModTime()) && d.id == identify(info)
}

func (d *document[T]) load(root *os.Root, mayOwn func(fs.FileInfo) error) (none T, err error) {
	f, info, err := openPlain(root, d.name)
	if err != nil {
		return none, err
	}
	defer f.Close() // only read
	if err := mayOwn(info); err != nil {
		return none, err
	}
	data, err := readWhole(f, d.most)
	if err != nil {
		return none, err
	}
	return schema.Decode[T](d.name, data)
}
