package main

import (
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// workload is what every peer has to do.
type workload struct {
	Name   string // for -workloads
	Files  int
	Size   int64 // of each file, in bytes
	AtOnce int   // uploads
	TLS    bool
	Parts  bool // ours has a grant in parts
}

// workloads are those of files. What comes before the first byte is measured by startLatency.
var workloads = []workload{
	{Name: "1GiB", Files: 1, Size: 1 << 30, AtOnce: 1},
	{Name: "1GiB-tls", Files: 1, Size: 1 << 30, AtOnce: 1, TLS: true},
	{Name: "1GiB-parts", Files: 1, Size: 1 << 30, AtOnce: 1, Parts: true},
	{Name: "10000x4KiB", Files: 10_000, Size: 4 << 10, AtOnce: 16},
	{Name: "200x5MiB", Files: 200, Size: 5 << 20, AtOnce: 4},
}

// scaled is a workload with 1/n of the bytes, for a quick look.
func (w workload) scaled(n int) workload {
	if w.Files > 1 {
		w.Files = max(w.Files/n, 1)
	} else {
		w.Size = max(w.Size/int64(n), 1)
	}
	return w
}

func (w workload) bytes() int64 { return int64(w.Files) * w.Size }

// dir is where its files are below the folder of all files. Workloads with the same files share them.
func (w workload) dir(files string) string {
	return filepath.Join(files, fmt.Sprintf("%dx%d", w.Files, w.Size))
}

// path is that of one of its files.
func (w workload) path(files string, i int) string {
	return filepath.Join(w.dir(files), fmt.Sprintf("%05d.bin", i))
}

// makeFiles makes its files, unless another workload has.
func (w workload) makeFiles(files string) error {
	err := os.Mkdir(w.dir(files), 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	seed := [32]byte{1} // the same bytes each time, and nothing that compresses
	source := mathrand.NewChaCha8(seed)
	for i := range w.Files {
		if err := makeFile(w.path(files, i), io.LimitReader(source, w.Size)); err != nil {
			return err
		}
	}
	return nil
}

func makeFile(path string, from io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Sync(), f.Close()) // else the disk would be busy while the peers are measured
}

// deadline is for one process. None needs so much unless it hangs.
const deadline = 5 * time.Minute
