package disk

import (
	"errors"

	"golang.org/x/sys/windows"
)

// farAway is where the one locked byte lies. A lock on Windows keeps others from reading the bytes it covers,
// and who only shows a state folder has to read them: it is behind all that a file can hold.
func farAway() *windows.Overlapped { return &windows.Overlapped{OffsetHigh: 0x7fffffff} }

func lock(fd uintptr) error {
	err := windows.LockFileEx(windows.Handle(fd), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, farAway())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

func unlock(fd uintptr) error { return windows.UnlockFileEx(windows.Handle(fd), 0, 1, 0, farAway()) }
