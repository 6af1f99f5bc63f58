package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// profileVariable names a folder for profiles of the processes that are measured. It slows them a little.
const profileVariable = "UPLOAD_AGENT_BENCH_PROFILE"

// profiled does something, and writes down where its time went and what it has allocated.
func profiled(do func() error) (err error) {
	dir := os.Getenv(profileVariable)
	if dir == "" {
		return do()
	}
	name := filepath.Join(dir, fmt.Sprintf("%s.%d", os.Getenv(roleVariable), os.Getpid()))
	file, err := os.Create(name + ".cpu")
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(err, file.Close())
	}
	err = do()
	pprof.StopCPUProfile()
	err = errors.Join(err, file.Close())
	if file, err2 := os.Create(name + ".mem"); err2 == nil {
		runtime.GC()
		err = errors.Join(err, pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
	}
	return err
}
