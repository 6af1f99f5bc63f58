//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// peakOf is ru_maxrss of getrusage(2): kilobytes, but bytes on macOS.
func peakOf(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(usage.Maxrss)
	}
	return int64(usage.Maxrss) << 10
}
