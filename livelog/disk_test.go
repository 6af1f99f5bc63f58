package livelog

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// fullDisk takes room more bytes and, like a disk, leaves a part of the write that hits the end.
type fullDisk struct {
	*os.File
	room int
}

func (f *fullDisk) WriteAt(p []byte, off int64) (int, error) {
	fits := min(len(p), f.room)
	n, err := f.File.WriteAt(p[:fits], off)
	f.room -= n
	if err == nil && fits < len(p) {
		// Garbage that was never counted must not become visible later.
		f.File.WriteAt([]byte("#garbage#"), off+int64(n))
		err = &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return n, err
}

func TestFullDiskUnderTheSpool(t *testing.T) {
	s, err := Create(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	disk := &fullDisk{File: s.file.(*os.File), room: 10}
	s.file = disk

	write := func(text string, want int, wantErr error) {
		t.Helper()
		n, err := io.WriteString(s, text)
		if n != want || !errors.Is(err, wantErr) {
			t.Errorf("write %q: %d, %v; want %d, %v", text, n, err, want, wantErr)
		}
		var typed *SpoolError
		if wantErr != nil && (!errors.As(err, &typed) || typed.Size != s.Size()) {
			t.Errorf("write %q: %#v, want a *SpoolError with size %d", text, err, s.Size())
		}
	}
	write("first\n", 6, nil)
	if lost, err := s.Lost(); lost != 0 || err != nil {
		t.Errorf("Lost = %d, %v, before anything is", lost, err)
	}
	write("second\n", 4, syscall.ENOSPC)
	write("third\n", 0, syscall.ENOSPC)
	disk.room = 100
	write("\nfourth\n", 8, nil)

	got, err := io.ReadAll(s.Section(0, s.Size()))
	if want := "first\nseco\nfourth\n"; string(got) != want || err != nil {
		t.Errorf("the log is %q (%v), want %q", got, err, want)
	}
	var first *SpoolError
	if lost, err := s.Lost(); lost != 9 || !errors.As(err, &first) || first.Size != 10 {
		t.Errorf("Lost = %d, %v; want 9 bytes, since byte 10", lost, err)
	}
}
