package socket

import (
	"net"

	"golang.org/x/sys/unix"
)

// maxPath is sun_path in unix(4), less the zero at its end.
const maxPath = 103

// peer is the user at the other end of a connection.
func peer(c *net.UnixConn) (uid int, known bool, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, true, err
	}
	var credentials *unix.Xucred
	if ctlErr := raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	}); ctlErr != nil {
		return 0, true, ctlErr
	}
	if err != nil {
		return 0, true, err
	}
	return int(credentials.Uid), true, nil
}
