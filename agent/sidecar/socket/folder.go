package socket

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
)

// The files of a socket's folder.
const (
	socketName = "socket"
	tokenName  = "token"
	lockName   = "lock" // held by who serves the socket
)

// folder is where a socket lies.
type folder struct {
	path      string
	temporary bool
	lock      disk.File
	token     []byte
}

// openFolder makes the folder dir private, or makes a new one if dir is "", and takes it for this process.
func openFolder(dir string) (_ *folder, err error) {
	f := &folder{path: dir, temporary: dir == ""}
	if f.temporary {
		f.path, err = temporaryFolder()
	} else if f.path, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(f.path, 0o700)
	}
	if err == nil {
		err = f.take()
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// temporaryFolder makes one whose path is short enough, wherever TMPDIR is.
func temporaryFolder() (string, error) {
	dir, err := os.MkdirTemp("", "upload-agent-")
	if err == nil && len(filepath.Join(dir, socketName)) > maxPath {
		err = errors.Join(os.Remove(dir))
		if err == nil {
			dir, err = os.MkdirTemp("/tmp", "upload-agent-")
		}
	}
	return dir, err
}

func (f *folder) take() error {
	if len(f.socket()) > maxPath {
		return fmt.Errorf("%s: %w; choose a shorter one", f.socket(), ErrPathTooLong)
	}
	if err := checkPrivate(f.path); err != nil {
		return err
	}
	lock, err := openLock(filepath.Join(f.path, lockName))
	if err != nil {
		return err
	}
	if err := lock.Lock(); err != nil {
		if errors.Is(err, disk.ErrLocked) {
			err = fmt.Errorf("%s is %w", f.socket(), ErrInUse)
		}
		return errors.Join(err, lock.Close())
	}
	f.lock = lock
	return f.makeToken()
}

func openLock(path string) (disk.File, error) {
	file, err := disk.OS().Create(path)
	if errors.Is(err, fs.ErrExist) {
		file, err = disk.OS().Open(path)
	}
	return file, err
}

// makeToken writes a new token. Whoever reads it sees the whole of it.
func (f *folder) makeToken() error {
	random := make([]byte, 32)
	rand.Read(random) // never fails: it ends the program instead
	f.token = []byte(hex.EncodeToString(random))
	path := filepath.Join(f.path, tokenName)
	if err := os.RemoveAll(path + ".new"); err != nil {
		return err
	}
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(f.token)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// hasToken compares in a time that tells nothing.
func (f *folder) hasToken(token string) bool {
	return subtle.ConstantTimeCompare([]byte(token), f.token) == 1
}

// listen replaces the socket that a process has left which was killed. There is none that lives: we have the lock.
func (f *folder) listen() (*net.UnixListener, error) {
	if err := os.Remove(f.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.socket(), Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(f.socket(), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (f *folder) socket() string { return filepath.Join(f.path, socketName) }

// close gives the folder up.
func (f *folder) close() error {
	var errs []error
	if f.lock != nil {
		for _, name := range []string{socketName, tokenName} {
			if err := os.Remove(filepath.Join(f.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		errs = append(errs, f.lock.Close()) // the file stays: somebody may wait for it
	}
	if f.temporary && f.path != "" {
		errs = append(errs, os.RemoveAll(f.path))
	}
	return errors.Join(errs...)
}

// readToken is the token that lies next to a socket.
func readToken(socket string) (string, error) {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(socket), tokenName))
	return strings.TrimSpace(string(text)), err
}
