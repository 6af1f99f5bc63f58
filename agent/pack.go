package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"github.com/taskcluster/upload-agent/agent/internal/content"
	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/upload"
)

// packer gzips the artifacts of a run.
type packer struct {
	content.Packer
	copies atomic.Int64 // made so far
}

// packedInMemory is the most bytes that an artifact may have to be gzipped in memory instead of on the disk.
const packedInMemory = 256 << 10

// packedCopy is an artifact gzipped.
type packedCopy struct {
	source  upload.Source
	discard func() // after use; nil if it is not worth it, or there was no room
}

// pack gzips a source. The error is that of the source, or why the run has ended.
func (r *Run) pack(source upload.Source, size int64) (packedCopy, error) {
	if size <= packedInMemory {
		var packed bytes.Buffer
		worth, err := r.packInto(&packed, source)
		if err != nil || !worth {
			return packedCopy{}, err
		}
		return packedCopy{upload.Bytes(packed.Bytes()), func() {}}, nil
	}
	file, err := r.folder.createPacked(int(r.packer.copies.Add(1)))
	if err != nil {
		r.o.Logger.Warn("artifact is stored without gzip", "error", err)
		return packedCopy{}, nil
	}
	discard := func() {
		if err := errors.Join(file.Close(), r.folder.disk.RemoveAll(file.Name())); err != nil {
			r.o.Logger.Warn("gzipped copy is left behind", "error", err)
		}
	}
	worth, err := r.packInto(io.NewOffsetWriter(file, 0), source)
	var packed int64
	if err == nil && worth {
		packed, err = file.Size()
	}
	if err != nil || !worth {
		discard()
		return packedCopy{}, err
	}
	return packedCopy{upload.Section(io.NewSectionReader(file, 0, packed)), discard}, nil
}

// packInto gzips a source to w, and says whether that was worth it: it is not where w fails.
func (r *Run) packInto(w io.Writer, source upload.Source) (worth bool, err error) {
	var size int64
	to := &endingWriter{ctx: r.ctx, to: w}
	err = r.packer.Pack(to, func(w io.Writer) (err error) {
		size, _, err = source.CopyTo(w)
		return err
	})
	if to.err != nil && r.ctx.Err() == nil {
		r.o.Logger.Warn("artifact is stored without gzip", "error", to.err)
		return false, nil
	}
	return err == nil && content.Saves(size, to.written), err
}

// endingWriter fails once the run has ended. It counts, and remembers why it failed.
type endingWriter struct {
	ctx     context.Context
	to      io.Writer
	written int64
	err     error
}

func (w *endingWriter) Write(p []byte) (n int, err error) {
	if w.err = context.Cause(w.ctx); w.err == nil {
		n, w.err = w.to.Write(p)
		w.written += int64(n)
	}
	return n, w.err
}

func (f *stateFolder) packedPath() string { return filepath.Join(f.path, "packed") }

// createPacked makes the file of a gzipped copy. It need not survive a power cut: a resumed run makes the same bytes again.
func (f *stateFolder) createPacked(number int) (disk.File, error) {
	if err := f.disk.MkdirAll(f.packedPath()); err != nil {
		return nil, fmt.Errorf("make gzipped copy: %w", err)
	}
	file, err := f.disk.Create(filepath.Join(f.packedPath(), strconv.Itoa(number)))
	if err != nil {
		return nil, fmt.Errorf("make gzipped copy: %w", err)
	}
	return file, nil
}

// removePacked removes the gzipped copies that an earlier process has left.
func (f *stateFolder) removePacked() error { return f.disk.RemoveAll(f.packedPath()) }
