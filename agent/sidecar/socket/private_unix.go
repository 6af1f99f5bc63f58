//go:build unix

package socket

import (
	"fmt"
	"os"
	"syscall"
)

// checkPrivate refuses a folder that somebody else can enter, or has made.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a folder that only its own user can enter (mode 0700)", dir)
	}
	return nil
}
