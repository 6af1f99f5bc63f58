package upload_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/taskcluster/upload-agent/upload"
)

func TestHead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("some text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]upload.Source{"file": upload.File(path), "bytes": upload.Bytes([]byte("some text"))} {
		for n, want := range map[int]string{0: "", 4: "some", 9: "some text", 100: "some text"} {
			if got, err := source.Head(n); err != nil || string(got) != want {
				t.Errorf("%s: Head(%d) = %q, %v; want %q", name, n, got, err, want)
			}
		}
	}
	if _, err := upload.File(filepath.Join(t.TempDir(), "none")).Head(10); !errors.Is(err, upload.ErrSource) {
		t.Errorf("Head of no file: %v", err)
	}
	if _, err := upload.File(t.TempDir()).Head(10); !errors.Is(err, upload.ErrNotRegular) {
		t.Errorf("Head of a folder: %v", err)
	}
}
