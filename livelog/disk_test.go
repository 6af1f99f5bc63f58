package livelog_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/livelog"
)

// memoryFile is a file on a disk that misbehaves on cue.
type memoryFile struct {
	room   int          // bytes that still fit; a write that hits the end leaves a part and garbage behind it
	onSync func() error // called within each Sync; may take its time

	mu      sync.Mutex
	data    []byte
	garbage int  // of the latest write, behind what fitted
	durable int  // bytes that survive a power cut
	broken  bool // a Sync has failed: the pages count as clean, so that nothing new ever becomes durable
	syncs   int
	within  int // Syncs at this moment
	closed  bool
}

func newFile() *memoryFile { return &memoryFile{room: 1 << 30} }

func (f *memoryFile) Name() string { return "/disk/spool" }

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	n := min(len(p), f.room)
	f.room -= n
	left := p[:n]
	if n < len(p) {
		left = append(bytes.Clone(left), "#garbage#"...)
		f.garbage = len(left) - n
	}
	f.data = append(f.data, make([]byte, max(0, int(off)+len(left)-len(f.data)))...)
	copy(f.data[off:], left)
	if n < len(p) {
		return n, &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return n, nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room += max(len(f.data)-int(size)-f.garbage, 0)
	f.garbage = 0
	f.data = f.data[:min(size, int64(len(f.data)))]
	f.durable = min(f.durable, len(f.data))
	return nil
}

func (f *memoryFile) Sync() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return fs.ErrClosed
	}
	f.syncs++
	f.within++
	size, onSync := len(f.data), f.onSync
	f.mu.Unlock()
	var err error
	if onSync != nil {
		err = onSync()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.within--
	switch {
	case err != nil:
		f.broken = true
	case !f.broken:
		f.durable = size
	}
	return err
}

func (f *memoryFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.within > 0 {
		return errors.New("closed twice or during a sync")
	}
	f.closed = true
	return nil
}

// again is the file as the next process opens it. keep bytes of it survived.
func (f *memoryFile) again(keep int) *memoryFile {
	return &memoryFile{room: f.room, data: bytes.Clone(f.data[:keep]), durable: min(f.durable, keep)}
}

// survives is how many bytes a power cut leaves at least.
func (f *memoryFile) survives() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durable
}

// failSyncs makes every further Sync fail.
func (f *memoryFile) failSyncs() error {
	err := &fs.PathError{Op: "sync", Path: f.Name(), Err: syscall.EIO}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onSync = func() error { return err }
	return err
}

func text(t *testing.T, s *livelog.Spool) string {
	t.Helper()
	data, err := io.ReadAll(s.Section(0, s.Size()))
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

func TestFullDiskUnderTheSpool(t *testing.T) {
	disk := newFile()
	disk.room = 10
	s := livelog.NewSpool(disk, 0)
	defer s.Release()

	write := func(text string, want int, wantErr error) {
		t.Helper()
		n, err := io.WriteString(s, text)
		if n != want || !errors.Is(err, wantErr) {
			t.Errorf("write %q: %d, %v; want %d, %v", text, n, err, want, wantErr)
		}
		var typed *livelog.SpoolError
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
	if size, err := s.Sync(); size != 10 || err != nil {
		t.Errorf("sync: %d, %v; want 10 bytes: a full disk does not end the log", size, err)
	}
	disk.room = 100
	write("\nfourth\n", 8, nil)

	if got, want := text(t, s), "first\nseco\nfourth\n"; got != want {
		t.Errorf("the log is %q, want %q", got, want)
	}
	var first *livelog.SpoolError
	if lost, err := s.Lost(); lost != 9 || !errors.As(err, &first) || first.Size != 10 {
		t.Errorf("Lost = %d, %v; want 9 bytes, since byte 10", lost, err)
	}
}

func TestSyncSaysWhatSurvivesAPowerCut(t *testing.T) {
	disk := newFile()
	s := livelog.NewSpool(disk, 0)
	defer s.Release()
	sync := func(want int64, syncs int) {
		t.Helper()
		if got, err := s.Sync(); got != want || err != nil || int64(disk.durable) < got || disk.syncs != syncs {
			t.Errorf("sync: %d, %v after %d fsyncs, %d bytes durable; want %d after %d", got, err, disk.syncs, disk.durable, want, syncs)
		}
	}
	sync(0, 0)
	io.WriteString(s, "one")
	sync(3, 1)
	sync(3, 1) // nothing new
	io.WriteString(s, "two")
	s.Close()
	sync(6, 2)

	// Of what another process has written nobody knows whether it was synced.
	disk = disk.again(6)
	s = livelog.NewSpool(disk, 6)
	defer s.Release()
	if s.Size() != 6 {
		t.Errorf("size is %d, want 6", s.Size())
	}
	sync(6, 1)
}

// Pages that could not be written count as clean: a second fsync would succeed and prove nothing.
func TestSyncThatFailsEndsTheLog(t *testing.T) {
	disk := newFile()
	s := livelog.NewSpool(disk, 0)
	defer s.Release()
	io.WriteString(s, "durable|")
	if _, err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(s, "in the cache")
	section := s.Section(0, s.Size())
	before := make([]byte, 10)
	if _, err := io.ReadFull(section, before); err != nil {
		t.Fatal(err)
	}
	cause := disk.failSyncs()
	for range 2 {
		size, err := s.Sync()
		var typed *livelog.SpoolError
		if size != 8 || !errors.Is(err, cause) || !errors.As(err, &typed) || typed.Op != "sync" || typed.Size != 8 {
			t.Errorf("sync: %d, %v; want 8 and a *SpoolError", size, err)
		}
		disk.onSync = nil // it would succeed now
	}
	if disk.syncs != 2 {
		t.Errorf("%d fsyncs, want none after the one that failed", disk.syncs)
	}
	if size, sealed, err := s.Wait(t.Context(), 20); size != 8 || !sealed || err != nil {
		t.Errorf("wait: %d, %v, %v; want that the log ended with 8 bytes", size, sealed, err)
	}
	if n, err := io.WriteString(s, "more"); n != 0 || !errors.Is(err, cause) {
		t.Errorf("write: %d, %v; want 0, %v", n, err, cause)
	}
	if lost, err := s.Lost(); lost != 16 || !errors.Is(err, cause) {
		t.Errorf("Lost = %d, %v; want the 12 bytes that were not synced and the 4 after", lost, err)
	}
	if s.Size() != 8 || text(t, s) != "durable|" {
		t.Errorf("the log has %d bytes: %q", s.Size(), text(t, s))
	}
	// Who was reading finds the end.
	rest, err := io.ReadAll(section)
	if got := string(before) + string(rest); got != "durable|in" || err != nil {
		t.Errorf("a section from before reads %q, %v", got, err)
	}
}

// slowSync makes the next Sync of the file wait. It has begun once begun is closed, and ends with what end sends.
func slowSync(f *memoryFile) (begun chan struct{}, end chan error) {
	begun, end = make(chan struct{}), make(chan error, 1)
	var once sync.Once
	f.onSync = func() (err error) {
		once.Do(func() { close(begun); err = <-end })
		return err
	}
	return begun, end
}

// in runs f and fails when it does not end.
func in(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-within(t).Done():
		t.Fatalf("%s waits for ever", what)
	}
}

type synced struct {
	size int64
	err  error
}

func syncing(s *livelog.Spool) <-chan synced {
	result := make(chan synced, 1)
	go func() {
		size, err := s.Sync()
		result <- synced{size, err}
	}()
	return result
}

func TestWriteDoesNotWaitForASync(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		end  error
		want int64
		lost int64
	}{"that works": {nil, 3, 0}, "that fails": {broken, 0, 6}} {
		t.Run(name, func(t *testing.T) {
			disk := newFile()
			s := livelog.NewSpool(disk, 0)
			defer s.Release()
			begun, end := slowSync(disk)
			io.WriteString(s, "one")
			first := syncing(s)
			<-begun
			in(t, "write", func() {
				if n, err := io.WriteString(s, "two"); n != 3 || err != nil {
					t.Errorf("write: %d, %v", n, err)
				}
			})
			in(t, "size", func() { s.Size(); s.Lost() })
			end <- c.end
			if got := <-first; got.size != c.want || !errors.Is(got.err, c.end) {
				t.Errorf("sync: %+v, want %d, %v", got, c.want, c.end)
			}
			if lost, _ := s.Lost(); lost != c.lost {
				t.Errorf("%d bytes lost, want %d", lost, c.lost)
			}
		})
	}
}

func TestTwoSyncsAtOnce(t *testing.T) {
	for _, cause := range []error{nil, errors.New("broken")} {
		disk := newFile()
		s := livelog.NewSpool(disk, 0)
		begun, end := slowSync(disk)
		io.WriteString(s, "one")
		first := syncing(s)
		<-begun
		second := syncing(s)
		end <- cause
		want := synced{3, nil}
		if cause != nil {
			want.size = 0
		}
		for _, got := range []synced{<-first, <-second} {
			if got.size != want.size || !errors.Is(got.err, cause) {
				t.Errorf("sync: %+v, want %d, %v", got, want.size, cause)
			}
		}
		if disk.syncs != 1 {
			t.Errorf("%d fsyncs, want 1", disk.syncs)
		}

		if err := s.Release(); err != nil {
			t.Error(err)
		}
	}
}

func TestReleaseWaitsForASync(t *testing.T) {
	disk := newFile()
	s := livelog.NewSpool(disk, 0)
	begun, end := slowSync(disk)
	io.WriteString(s, "one")
	first := syncing(s)
	<-begun
	released := make(chan error)
	go func() { released <- s.Release() }()
	s.Wait(within(t), 100) // until it is sealed
	end <- nil
	if got := <-first; got.size != 3 || got.err != nil {
		t.Errorf("sync: %+v, want 3", got)
	}
	if err := <-released; err != nil { // the file notices if it is closed during a sync
		t.Error(err)
	}
}

func TestReleaseKeepsTheFile(t *testing.T) {
	path := t.TempDir() + "/spool"
	s, err := livelog.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(s, "one\n")
	for range 2 {
		if err := s.Release(); err != nil {
			t.Error(err)
		}
	}
	if n, err := io.WriteString(s, "x"); n != 0 || !errors.Is(err, livelog.ErrSealed) {
		t.Errorf("write after release: %d, %v; want 0, ErrSealed", n, err)
	}
	var typed *livelog.SpoolError
	if size, err := s.Sync(); size != 0 || !errors.Is(err, fs.ErrClosed) || !errors.As(err, &typed) || typed.Path != path {
		t.Errorf("sync after release: %d, %v; want 0, a *SpoolError with fs.ErrClosed", size, err)
	}

	again, err := livelog.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.WriteString(again, "two\n"); n != 4 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if size, err := again.Sync(); size != 8 || err != nil {
		t.Errorf("sync: %d, %v; want 8", size, err)
	}
	if got := text(t, again); got != "one\ntwo\n" {
		t.Errorf("the log is %q", got)
	}
	if err := errors.Join(again.Release(), again.Remove()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after remove: %v, want fs.ErrNotExist", err)
	}
}

func TestReleaseSaysWhenTheFileDoesNotClose(t *testing.T) {
	disk := newFile()
	s := livelog.NewSpool(disk, 0)
	disk.Close()
	for range 2 {
		var typed *livelog.SpoolError
		if err := s.Release(); !errors.As(err, &typed) || typed.Op != "release" || typed.Path != disk.Name() {
			t.Errorf("release: %v, want a *SpoolError", err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]error{dir: livelog.ErrNotRegular, dir + "/none": fs.ErrNotExist} {
		s, err := livelog.Open(path)
		var typed *livelog.SpoolError
		if s != nil || !errors.Is(err, want) || !errors.As(err, &typed) || typed.Op != "open" || typed.Path != path {
			t.Errorf("open %s: %v, want %v", path, err, want)
		}
	}
}

// Who opens the file of a log again after a kill finds either a shorter log that is known to be cut, or all of it.
func TestLossIsAnnouncedBeforeTheFileIsCut(t *testing.T) {
	forgotten := errors.New("nobody can remember it")
	for _, remembered := range []error{nil, forgotten} {
		disk := &memoryFile{room: 1 << 20}
		s := livelog.NewSpool(disk, 0)
		io.WriteString(s, "durable|")
		if _, err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(s, "in the cache")
		disk.onSync = disk.failSyncs
		calls := 0
		s.OnLoss(func() error {
			calls++
			if lost, err := s.Lost(); lost != 12 || err == nil || s.Size() != 8 {
				t.Errorf("told of %d bytes, %v, of a log of %d", lost, err, s.Size())
			}
			if got := string(disk.data); got != "durable|in the cache" {
				t.Errorf("the file is %q before the loss is remembered", got)
			}
			return remembered
		})
		if _, err := s.Sync(); err == nil {
			t.Fatal("the disk works")
		}
		if _, err := io.WriteString(s, "more"); err == nil {
			t.Error("a log that was cut goes on")
		}
		want := map[error]string{nil: "durable|", forgotten: "durable|in the cache"}[remembered]
		if got := string(disk.data); got != want || calls != 1 || s.Size() != 8 {
			t.Errorf("%v: the file is %q, want %q; announced %d times; size %d", remembered, got, want, calls, s.Size())
		}
		s.Release()
	}
}

// What a failed write has left behind the log is cut off at once, so that a power cut does not bring it back.
func TestWhatWasCutOffStaysAway(t *testing.T) {
	disk := &memoryFile{room: 8}
	s := livelog.NewSpool(disk, 0)
	defer s.Release()
	for range 2 { // the second one cuts without a byte of its own
		if _, err := io.WriteString(s, "does not fit"); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("write: %v", err)
		}
	}
	if disk.syncs != 2 || disk.survives() != 8 || string(disk.data) != "does not" {
		t.Errorf("%d fsyncs, %d bytes survive a power cut, the file is %q", disk.syncs, disk.survives(), disk.data)
	}
}
