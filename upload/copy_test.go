package upload_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/taskcluster/upload-agent/upload"
)

func TestCopyTo(t *testing.T) {
	data := random(200_000)
	path := old(t, file(t, data))
	for name, source := range map[string]upload.Source{"file": upload.File(path), "bytes": upload.Bytes(data), "empty": upload.Bytes(nil)} {
		want := data
		if name == "empty" {
			want = nil
		}
		var b bytes.Buffer
		if size, digest, err := source.CopyTo(&b); size != int64(len(want)) || digest != upload.Sum(want) || err != nil || !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s: %d, %s, %v and %d bytes", name, size, digest, err, b.Len())
		}
	}
	broken := errors.New("broken")
	if _, _, err := upload.File(path).CopyTo(writer(func([]byte) error { return broken })); !errors.Is(err, broken) || errors.Is(err, upload.ErrSource) {
		t.Errorf("error of a broken writer: %v", err)
	}
	shrink := func([]byte) error { return os.Truncate(path, 70_000) }
	if _, _, err := upload.File(path).CopyTo(writer(shrink)); !errors.Is(err, upload.ErrChanged) {
		t.Errorf("error of a file that shrinks: %v", err)
	}
	touch := func([]byte) error { writeAt(t, path, 0, []byte("others")); return nil }
	if _, _, err := upload.File(old(t, path)).CopyTo(writer(touch)); !errors.Is(err, upload.ErrChanged) {
		t.Errorf("error of a file that is written to: %v", err)
	}
}

type writer func([]byte) error

func (w writer) Write(p []byte) (int, error) { return len(p), w(p) }
