//go:build unix

package upload_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/upload"
)

// What is no regular file is refused, and nothing waits for it.
func TestPlaceOfWhatIsNoFile(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(folder, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", filepath.Join(folder, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := os.Symlink("fifo", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []upload.Symlinks{upload.SymlinksInside, upload.SymlinksFollow} {
		for name, kind := range map[string]string{"fifo": "named pipe", "s": "socket", "link": "named pipe"} {
			_, err := upload.Place{Folder: folder, Name: name, Symlinks: policy}.Source().Head(1)
			if !errors.Is(err, upload.ErrNotRegular) || !strings.Contains(err.Error(), kind) || strings.Contains(err.Error(), folder) {
				t.Errorf("%s, %q: %v", name, policy, err)
			}
		}
	}
	if _, err := (upload.Place{Folder: "/dev", Name: "null"}).Source().Head(1); !errors.Is(err, upload.ErrNotRegular) || !strings.Contains(err.Error(), "device") {
		t.Errorf("a device: %v", err)
	}
}
