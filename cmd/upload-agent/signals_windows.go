package main

import (
	"os"
	"os/exec"
)

var endSignals = []os.Signal{os.Interrupt}

func ignoreBrokenPipes() {}

func ownGroup(*exec.Cmd) {}

func signalCommand(cmd *exec.Cmd, _ os.Signal, _ bool) error { return cmd.Process.Kill() }

func signalStatus(*os.ProcessState) (int, string, bool) { return 0, "", false }

var terminate os.Signal = os.Kill
