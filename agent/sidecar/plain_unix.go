//go:build unix

package sidecar

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// linksTo is how many names a file has.
func linksTo(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 1
}

// ownerOf is the user that a file belongs to.
func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// identify tells a file from others for as long as it exists.
func identify(info fs.FileInfo) identity {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return identity{Device: uint64(stat.Dev), Inode: stat.Ino}
	}
	return identity{}
}

// syncDir makes names in a folder survive a power cut.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
