//go:build unix

package livelog_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/livelog"
)

func TestOpenOfAFIFODoesNotHang(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	in(t, "open", func() {
		if s, err := livelog.Open(path); s != nil || !errors.Is(err, livelog.ErrNotRegular) {
			t.Errorf("open: %v, want ErrNotRegular", err)
		}
	})
}
