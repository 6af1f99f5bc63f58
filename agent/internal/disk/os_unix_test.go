//go:build !windows

package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
)

func TestNobodyElseCanReadIt(t *testing.T) {
	d, dir := disk.OS(), t.TempDir()
	check(t, d.MkdirAll(filepath.Join(dir, "a", "b")))
	check(t, d.Mkdir(filepath.Join(dir, "c")))
	temp, err := d.MkdirTemp("upload-agent-test-")
	check(t, err)
	t.Cleanup(func() { check(t, d.RemoveAll(temp)) })
	create(t, d, filepath.Join(dir, "f"), "")
	for path, mode := range map[string]os.FileMode{
		filepath.Join(dir, "a"):      os.ModeDir | 0o700,
		filepath.Join(dir, "a", "b"): os.ModeDir | 0o700,
		filepath.Join(dir, "c"):      os.ModeDir | 0o700,
		temp:                         os.ModeDir | 0o700,
		filepath.Join(dir, "f"):      0o600,
	} {
		info, err := os.Stat(path)
		check(t, err)
		if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
		}
	}
}

// A child between fork and exec has a copy of every descriptor, here for as long as the test likes.
func TestCloseReleasesTheLockOfACopy(t *testing.T) {
	d, path := disk.OS(), filepath.Join(t.TempDir(), "journal")
	first := create(t, d, path, "")
	check(t, first.Lock())
	copied, err := syscall.Dup(int(first.(interface{ Fd() uintptr }).Fd()))
	check(t, err)
	defer syscall.Close(copied)
	check(t, first.Close())
	check(t, reopen(t, d, path).Lock())
}

func TestSyncDirOfNothing(t *testing.T) {
	if err := disk.OS().SyncDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("SyncDir of no folder: %v", err)
	}
}
