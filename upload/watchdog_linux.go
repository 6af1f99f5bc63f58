package upload

import (
	"syscall"
	"unsafe"
)

// unacknowledged is SIOCOUTQ of tcp(7): bytes sent or to be sent that the peer has not acknowledged.
func unacknowledged(fd uintptr) int {
	var n int32
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0
	}
	return int(n)
}
