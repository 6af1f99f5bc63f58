//go:build !windows

package disk

import (
	"errors"
	"syscall"
)

// lock uses flock(2): it belongs to the open file, so it is gone when the process is, however that ended.
func lock(fd uintptr) error {
	for {
		switch err := syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		default:
			return err
		}
	}
}

func unlock(fd uintptr) error { return syscall.Flock(int(fd), syscall.LOCK_UN) }
