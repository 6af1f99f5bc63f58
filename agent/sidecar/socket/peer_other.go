//go:build !linux && !darwin

package socket

import "net"

// maxPath is what the least of these systems takes.
const maxPath = 103

// peer is not known here: the mode of the folder has to do.
func peer(*net.UnixConn) (uid int, known bool, err error) { return 0, false, nil }
