//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// checkPrivate refuses a folder that somebody else has made, or can write to.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(owner.Uid) != os.Getuid() {
		return fmt.Errorf("%s is not a folder that only you can use", dir)
	}
	return nil
}
