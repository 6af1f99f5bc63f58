// Package versitygw builds and starts versitygw, a real S3 server that somebody else wrote, for tests on demand.
//
// It is no dependency of this module: Install builds it with the go command into the user's cache folder, which takes some
// minutes the first time. It runs on Linux and macOS.
package versitygw

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Version is the one that is built.
const Version = "v1.8.0"

const program = "github.com/versity/versitygw/cmd/versitygw@" + Version

// folder is where the program is kept.
func folder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find versitygw: %w", err)
	}
	return filepath.Join(cache, "upload-agent", "versitygw-"+Version), nil
}

// Find gives the path of the program, if it was built before.
func Find() (path string, ok bool) {
	dir, err := folder()
	if err != nil {
		return "", false
	}
	path = filepath.Join(dir, "versitygw")
	info, err := os.Stat(path)
	return path, err == nil && info.Mode().IsRegular()
}

// Install gives the path of the program, and builds it if need be.
func Install(ctx context.Context) (path string, err error) {
	if path, ok := Find(); ok {
		return path, nil
	}
	dir, err := folder()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("build versitygw: %w", err)
	}
	// Beside its place and then into it: who looks meanwhile finds none or a whole one.
	building, err := os.MkdirTemp(dir, "building-")
	if err != nil {
		return "", fmt.Errorf("build versitygw: %w", err)
	}
	defer os.RemoveAll(building)
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", program)
	cmd.Dir = building // outside of this module
	cmd.Env = append(os.Environ(), "GOBIN="+building, "GOFLAGS=", "GOOS=", "GOARCH=", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build versitygw: go install %s: %w\n%s", program, err, output)
	}
	path = filepath.Join(dir, "versitygw")
	if err := os.Rename(filepath.Join(building, "versitygw"), path); err != nil {
		return "", fmt.Errorf("build versitygw: %w", err)
	}
	return path, nil
}

// Server is a running versitygw.
type Server struct {
	Endpoint                             string // http://host:port, buckets are addressed in the path
	Region, AccessKeyID, SecretAccessKey string // of an account that may do everything

	buckets string // folder of the buckets
	process *exec.Cmd
	stdin   io.Closer
	ended   chan struct{}
}

// Start starts the program on a port of its own on loopback, with its buckets below dir, which is made if missing. It ends with Close,
// or with the process that has started it.
func Start(ctx context.Context, path, dir string) (*Server, error) {
	var failed error
	for range 5 { // the port may be taken by somebody else before the program has it
		s, err := start(ctx, path, dir)
		if err == nil || ctx.Err() != nil {
			return s, err
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// untilStdinEnds is a shell script that runs a program for as long as the script's input is open.
const untilStdinEnds = `exec 3<&0; "$0" "$@" 3<&- & program=$!; { read -r _ <&3; kill -9 $program; } & wait $program`

func start(ctx context.Context, path, dir string) (*Server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, fmt.Errorf("start versitygw: %w", err)
	}
	for _, sub := range []string{"buckets", "meta"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("start versitygw: %w", err)
		}
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start versitygw: %w", err)
	}
	defer log.Close() // the process has its own
	s := &Server{buckets: filepath.Join(dir, "buckets"), Endpoint: "http://" + address, Region: "us-east-1", AccessKeyID: "test", SecretAccessKey: rand.Text(), ended: make(chan struct{})}
	// A folder for what is known of the objects, because not every file system keeps that with the files.
	s.process = exec.Command("sh", "-c", untilStdinEnds, path, "--port", address, "--keep-alive", "--quiet", "--health", "/health",
		"posix", "--sidecar", filepath.Join(dir, "meta"), s.buckets)
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKeyID, "ROOT_SECRET_KEY="+s.SecretAccessKey)
	s.process.Stdout, s.process.Stderr = log, log
	if s.stdin, err = s.process.StdinPipe(); err == nil {
		err = s.process.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start versitygw: %w", err)
	}
	go func() {
		defer close(s.ended)
		s.process.Wait() // killed in the end, whatever it says
	}()
	if err := s.ready(ctx); err != nil {
		s.Close()
		output, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("start versitygw: %w\n%s", err, output)
	}
	return s, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/health", nil)
		if err != nil {
			return err
		}
		req.Close = true
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return errors.New("it has ended at once")
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", context.Cause(ctx))
		}
	}
}

// MakeBucket makes an empty bucket of the account.
func (s *Server) MakeBucket(name string) error {
	if err := os.Mkdir(filepath.Join(s.buckets, name), 0o755); err != nil { // all that versitygw wants
		return fmt.Errorf("make bucket: %w", err)
	}
	return nil
}

// Close ends the server.
func (s *Server) Close() error {
	err := s.stdin.Close()
	<-s.ended
	return err
}
