package main

import (
	"os"
	"os/exec"
)

var endSignals = []os.Signal{os.Interrupt}

func ignoreBrokenPipes() {}

func runSignals() []os.Signal { return endSignals }

func prepare(*exec.Cmd, bool) {}

func alsoPassed(bool) (<-chan os.Signal, func()) { return nil, func() {} }

func suspend(os.Signal, func(os.Signal), <-chan struct{}) bool { return false }

func fromTerminal(any, os.Signal) bool { return false }

func groupLives(*exec.Cmd) bool { return false }

func signalCommand(cmd *exec.Cmd, _ os.Signal, _ bool) error { return cmd.Process.Kill() }

func signalStatus(*os.ProcessState) (int, string, bool) { return 0, "", false }

var terminate os.Signal = os.Kill
