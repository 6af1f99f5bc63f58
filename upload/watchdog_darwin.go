package upload

import "syscall"

// unacknowledged is SO_NWRITE of setsockopt(2): bytes in the send buffer that the peer has not acknowledged.
func unacknowledged(fd uintptr) int {
	const soNWrite = 0x1024
	n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, soNWrite)
	if err != nil {
		return 0
	}
	return n
}
