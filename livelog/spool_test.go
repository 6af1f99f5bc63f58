package livelog_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/taskcluster/upload-agent/livelog"
)

func TestSpoolKeepsWhatIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	s, err := livelog.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v (%v), want 0600", info.Mode(), err)
	}
	if _, err := livelog.Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create a second time: %v, want fs.ErrExist", err)
	}
	for _, line := range []string{"one\n", "", "two\n"} {
		if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("write %q: %d, %v", line, n, err)
		}
	}
	if s.Size() != 8 {
		t.Errorf("size is %d, want 8", s.Size())
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := s.Write([]byte("three")); n != 0 || !errors.Is(err, livelog.ErrSealed) {
		t.Errorf("write after close: %d, %v, want 0, ErrSealed", n, err)
	}
	got, err := io.ReadAll(s.Section(4, 100))
	if string(got) != "two\n" || err != nil {
		t.Errorf("section is %q, %v", got, err)
	}
	for range 2 {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after remove: %v, want fs.ErrNotExist", err)
	}
	if _, err := s.Section(0, 1).Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read after remove: %v, want fs.ErrClosed", err)
	}
}

func TestSpoolWritesAreContiguous(t *testing.T) {
	s := newSpool(t)
	const writers, lines = 8, 200
	var wg sync.WaitGroup
	for i := range writers {
		line := []byte(strings.Repeat(string(rune('a'+i)), 999) + "\n")
		wg.Go(func() {
			for range lines {
				if _, err := s.Write(line); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	data, err := io.ReadAll(s.Section(0, s.Size()))
	if err != nil || len(data) != writers*lines*1000 {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	for line := range bytes.Lines(data) {
		if len(line) != 1000 || bytes.Count(line, line[:1]) != 999 {
			t.Fatalf("torn line %.40q...", line)
		}
	}
}

func TestSpoolWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	synctest.Test(t, func(t *testing.T) {
		s, err := livelog.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Remove()
		type answer struct {
			size   int64
			sealed bool
			err    error
		}
		wait := func(ctx context.Context, seen int64, n int) <-chan answer {
			answers := make(chan answer, n)
			for range n {
				go func() {
					size, sealed, err := s.Wait(ctx, seen)
					answers <- answer{size, sealed, err}
				}()
			}
			synctest.Wait()
			return answers
		}
		check := func(answers <-chan answer, want answer) {
			t.Helper()
			synctest.Wait()
			if len(answers) != cap(answers) {
				t.Fatalf("%d of %d waits have ended", len(answers), cap(answers))
			}
			for range cap(answers) {
				if got := <-answers; got.size != want.size || got.sealed != want.sealed || !errors.Is(got.err, want.err) {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		}

		all := wait(t.Context(), 0, 5)
		if len(all) != 0 {
			t.Error("waiting ended before there was anything")
		}
		io.WriteString(s, "abc")
		check(all, answer{3, false, nil})
		check(wait(t.Context(), 2, 1), answer{3, false, nil})

		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancelled := wait(ctx, 3, 2)
		cancel(cause)
		check(cancelled, answer{3, false, cause})

		later := wait(t.Context(), 3, 3)
		s.Close()
		check(later, answer{3, true, nil})
		check(wait(t.Context(), 100, 1), answer{3, true, nil})
	})
}

// A Store that never answers must not be felt by the writer.
func TestWriteNeverWaitsForTheStorage(t *testing.T) {
	s := newSpool(t)
	called := make(chan struct{}, 1)
	store := func(ctx context.Context, _ livelog.Object) (string, error) {
		called <- struct{}{}
		<-ctx.Done()
		return "", ctx.Err()
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(within(t))
	ended := make(chan error)
	go func() {
		_, err := livelog.Publish(ctx, "log", s, store, livelog.PublishOptions{})
		ended <- err
	}()
	block := make([]byte, 1<<20)
	if _, err := s.Write(block); err != nil {
		t.Fatal(err)
	}
	<-called
	for range 63 {
		if _, err := s.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if s.Size() != 64<<20 {
		t.Errorf("size is %d", s.Size())
	}
	if len(ended) != 0 {
		t.Error("publish has ended")
	}
	cancel(cause)
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("publish: %v, want the cause of its context", err)
	}
}

func BenchmarkSpoolWrite(b *testing.B) {
	for name, size := range map[string]int{"64KiB": 64 << 10, "100B": 100} {
		block := bytes.Repeat([]byte("x"), size)
		// The same part of the file again and again, so that the disk is not what is measured.
		const most = 64 << 20
		run := func(b *testing.B, open func(path string) (io.Writer, func())) {
			b.SetBytes(int64(size))
			dir := b.TempDir()
			var w io.Writer
			closer := func() {}
			written := most
			for b.Loop() {
				if written += size; written > most {
					b.StopTimer()
					closer()
					w, closer = open(filepath.Join(dir, "file"))
					written = 0
					b.StartTimer()
				}
				if _, err := w.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			closer()
		}
		b.Run("spool/"+name, func(b *testing.B) {
			run(b, func(path string) (io.Writer, func()) {
				s, err := livelog.Create(path)
				if err != nil {
					b.Fatal(err)
				}
				return s, func() { s.Remove() }
			})
		})
		b.Run("file/"+name, func(b *testing.B) {
			run(b, func(path string) (io.Writer, func()) {
				f, err := os.Create(path)
				if err != nil {
					b.Fatal(err)
				}
				return f, func() { f.Close(); os.Remove(path) }
			})
		})
	}
}

// What a flush pays for a log that a power cut cannot take back: new bytes in an open file and their fsync.
func BenchmarkSpoolSync(b *testing.B) {
	for name, size := range map[string]int{"1KiB": 1 << 10, "64KiB": 64 << 10, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			s := newSpool(b)
			block := bytes.Repeat([]byte("x"), size)
			for b.Loop() {
				b.StopTimer()
				_, err := s.Write(block)
				b.StartTimer()
				if _, syncErr := s.Sync(); err != nil || syncErr != nil {
					b.Fatal(err, syncErr)
				}
			}
		})
	}
}
