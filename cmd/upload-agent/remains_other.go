//go:build !linux

package main

import (
	"os"
	"syscall"
)

// adoptOrphans, dieWithUs and orphanedProcesses have nothing to do: a system but Linux does not tell which processes a command has left. Its
// process group is ended all the same; what has left that, too, lives on, and so does the command if we are killed.
func adoptOrphans() {}

func dieWithUs(*syscall.SysProcAttr) {}

func orphanedProcesses() (<-chan os.Signal, func()) { return nil, func() {} }

// remains are none that we know of.
type remains struct{}

func newRemains() remains                { return remains{} }
func (remains) except(int)               {}
func (remains) all() bool                { return false }
func (remains) living() []int            { return nil }
func (remains) signal(os.Signal)         {}
func (remains) signalOne(int, os.Signal) {}
func (remains) names([]int) string       { return "" }
