//go:build unix

package upload

import (
	"os"
	"syscall"
)

// linksTo is how many names a file has.
func linksTo(f *os.File) (uint64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink), nil
	}
	return 1, nil
}
