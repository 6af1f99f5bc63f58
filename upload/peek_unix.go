//go:build linux || darwin

package upload

import "syscall"

// canPeek: on this system, wire can look whether a connection is still good.
const canPeek = true

// empty says of an open socket that nothing waits there to be read, not even its end.
func empty(fd uintptr) bool {
	var one [1]byte
	_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN
}
