//go:build unix

package upload_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/upload"
)

func TestFIFODoesNotHang(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStorage(t)
	_, err := client(t).Put(within(t), s.grant("a"), upload.File(path), upload.PutOptions{})
	wantError(t, err, upload.ErrNotRegular, 0)
	s.wantRequests(t, 0)
}
