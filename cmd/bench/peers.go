package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// job is what one process of a peer has to do.
type job struct {
	Workload workload
	Files    string // the folder of all files
	Sink     sinkAddress
	Starts   int // for start latency: how many runs
}

func (j job) path(i int) string { return j.Workload.path(j.Files, i) }

// url is where a peer puts a file that needs no signed URL.
func (j job) url(i int) string {
	return fmt.Sprintf("%s/bare/%05d.bin", j.Sink.url(j.Workload.TLS), i)
}

// peer is one way to upload.
type peer struct {
	name    string
	command func(job) (*exec.Cmd, error)
	inside  func(context.Context, job) error // what the process does, if it is one of ours
}

// missingError says that a peer is not here.
type missingError struct{ program string }

func (e *missingError) Error() string { return e.program + " is not installed" }

// ours is the peer that all others are compared with.
const ours = "agent"

// peers are all of them.
var peers = []peer{
	own(ours, uploadThroughAgent),
	own("bare", uploadBare),
	{name: "curl", command: curl},
	own("manager", uploadThroughManager),
	own("manager-tuned", uploadThroughTunedManager),
	{name: "rclone", command: rclone},
	{name: "mc", command: mc},
}

// own is a peer that is a process of this program.
func own(name string, do func(context.Context, job) error) peer {
	return peer{name: name, inside: do, command: func(j job) (*exec.Cmd, error) {
		cmd, err := ourselves(name)
		if err != nil {
			return nil, err
		}
		input, err := json.Marshal(j)
		cmd.Stdin = bytes.NewReader(input)
		return cmd, err
	}}
}

// curl puts one file with -T, and many with -Z from a list in a file of options.
func curl(j job) (*exec.Cmd, error) {
	program, err := find("curl")
	if err != nil {
		return nil, err
	}
	args := []string{"--silent", "--show-error", "--fail", "--insecure", "--output", os.DevNull}
	w := j.Workload
	if w.Files == 1 {
		return exec.Command(program, append(args, "-T", j.path(0), j.url(0))...), nil
	}
	list := filepath.Join(j.Files, w.Name+".curl")
	var b strings.Builder
	for i := range w.Files {
		fmt.Fprintf(&b, "upload-file = %q\nurl = %q\noutput = %q\n", j.path(i), j.url(i), os.DevNull)
	}
	if err := os.WriteFile(list, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	return exec.Command(program, "--silent", "--show-error", "--fail", "--insecure",
		"--parallel", "--parallel-immediate", "--parallel-max", fmt.Sprint(w.AtOnce), "--config", list), nil
}

// rclone copies the folder, with what its manual advises for speed.
func rclone(j job) (*exec.Cmd, error) {
	program, err := find("rclone")
	if err != nil {
		return nil, err
	}
	remote := ":s3,provider=Other,access_key_id=a,secret_access_key=b,force_path_style=true,endpoint='" + j.Sink.url(j.Workload.TLS) + "':bucket/rclone"
	cmd := exec.Command(program, "copy", j.Workload.dir(j.Files), remote, "--config", os.DevNull, "--no-check-certificate",
		"--transfers", fmt.Sprint(j.Workload.AtOnce), "--checkers", "16", "--no-check-dest", "--ignore-checksum",
		"--s3-no-check-bucket", "--s3-no-head", "--s3-disable-checksum", "--s3-chunk-size", "64M", "--s3-upload-concurrency", "4", "--s3-use-multipart-etag", "false")
	return cmd, nil
}

// mc copies the folder, as many files at once as it thinks right.
func mc(j job) (*exec.Cmd, error) {
	program, err := find("mc")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--quiet", "--insecure", "--config-dir", filepath.Join(j.Files, "mc"), "cp", "--recursive",
		j.Workload.dir(j.Files)+"/", "bench/bucket/mc/")
	host := j.Sink.url(j.Workload.TLS)
	scheme, address, _ := strings.Cut(host, "://")
	cmd.Env = append(os.Environ(), "MC_HOST_bench="+scheme+"://accesskey:secretkey@"+address)
	return cmd, nil
}

// find looks for a program where -install puts it, then in PATH.
func find(program string) (string, error) {
	if dir, err := toolDir(); err == nil {
		path := filepath.Join(dir, program)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(program)
	if errors.Is(err, exec.ErrNotFound) {
		return "", &missingError{program}
	}
	return path, err
}

func toolDir() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "upload-agent-bench"), err
}

// tools are what -install builds.
var tools = []string{"github.com/rclone/rclone@v1.76.0", "github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9"}

// install builds the peers that are written in Go, outside of any module.
func install() error {
	dir, err := toolDir()
	if err != nil {
		return err
	}
	var errs []error
	for _, tool := range tools {
		cmd := exec.Command("go", "install", tool)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
		cmd.Dir = os.TempDir()
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			errs = append(errs, fmt.Errorf("go install %s: %w", tool, err))
		}
	}
	return errors.Join(errs...)
}
