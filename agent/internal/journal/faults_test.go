package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
)

func addLog(i int) journal.Record {
	return journal.Record{At: start, Step: journal.LogAdded, Log: fmt.Sprintf("log%d", i)}
}

// A hundred who append at once share a few fsyncs.
func TestGroupCommit(t *testing.T) {
	const callers = 100
	d := newDisk(1)
	j := create(t, d)
	var writes, syncs atomic.Int64
	allWriting := make(chan struct{})
	d.SetFaults(func(op disktest.Op) error {
		switch op.Name {
		case "write":
			if writes.Add(1) == callers {
				close(allWriting)
			}
		case "sync":
			syncs.Add(1)
			<-allWriting // a slow disk: the others come meanwhile
		}
		return nil
	})
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			if err := j.Append(addLog(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := syncs.Load(); n > 3 {
		t.Errorf("%d records took %d fsyncs", callers, n)
	}
	after := d.Restart(true)
	if s, err := journal.Read(after, stateDir); err != nil || len(s.Logs) != callers {
		t.Errorf("after a power cut: %v, %d logs", err, len(s.Logs))
	}
	_ = j.Close() // its disk is gone
}

// What is only noted, one after the other, shares fsyncs too; they come by themselves.
func TestNotesShareAnFsync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(1)
		j := create(t, d)
		var syncs atomic.Int64
		d.SetFaults(func(op disktest.Op) error {
			if op.Name == "sync" {
				syncs.Add(1)
			}
			return nil
		})
		const rounds, notes = 5, 20
		for i := range rounds * notes {
			if err := j.Note(addLog(i)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if i%notes == notes-1 {
				<-time.After(time.Second)
				synctest.Wait()
				if n := syncs.Load(); n != int64(i/notes+1) {
					t.Fatalf("%d fsyncs for %d times %d notes", n, i/notes+1, notes)
				}
			}
		}
		after := d.Restart(true)
		if s, err := journal.Read(after, stateDir); err != nil || len(s.Logs) != rounds*notes {
			t.Errorf("after a power cut: %v, %d logs", err, len(s.Logs))
		}
		_ = j.Close() // its disk is gone
	})
}

// Note, State and a look from outside do not wait for an fsync; Append waits for one that begins after its write.
func TestNothingButAppendWaitsForASlowDisk(t *testing.T) {
	d := newDisk(1)
	j := create(t, d)
	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	var syncs atomic.Int64
	d.SetFaults(func(op disktest.Op) error {
		if op.Name == "sync" {
			syncs.Add(1)
			begun <- struct{}{}
			<-goOn
		}
		return nil
	})
	for i := range 50 {
		if err := j.Note(addLog(i)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-begun // the fsync for the first is under way
		}
	}
	if n := len(j.State().Logs); n != 50 {
		t.Errorf("%d logs in the state", n)
	}
	if s, err := journal.Read(d, stateDir); err != nil || len(s.Logs) != 50 {
		t.Errorf("read: %v, %d logs", err, len(s.Logs))
	}
	appended := make(chan error)
	go func() { appended <- j.Append(addLog(50)) }()
	waitFor(t, func() bool { return len(j.State().Logs) == 51 })
	goOn <- struct{}{} // the first fsync began before that write, so it does not count
	select {
	case <-begun:
	case err := <-appended:
		t.Fatalf("append relied on an fsync that began before its write: %v", err)
	}
	select {
	case err := <-appended:
		t.Fatalf("append returned before its fsync: %v", err)
	default:
	}
	close(goOn)
	if err := <-appended; err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if n := syncs.Load(); n > 3 {
		t.Errorf("%d fsyncs", n)
	}
}

// waitFor polls until ok, or gives up.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	poll, late := time.NewTicker(time.Millisecond), time.After(20*time.Second)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-late:
			t.Fatal("it does not happen")
		}
	}
}

func TestSyncAndCloseMakeNotesDurable(t *testing.T) {
	for name, end := range map[string]func(*journal.Journal) error{"sync": (*journal.Journal).Sync, "close": (*journal.Journal).Close} {
		for seed := range uint64(20) {
			d := newDisk(seed)
			j := create(t, d)
			for i := range 5 {
				if err := j.Note(addLog(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := end(j); err != nil {
				t.Fatal(err)
			}
			if s, err := journal.Read(d.Restart(true), stateDir); err != nil || len(s.Logs) != 5 {
				t.Errorf("%s: %v, %d logs", name, err, len(s.Logs))
			}
			_ = j.Close()
		}
	}
}

// FAILURES: fsync error: the journal is dead; never fsync again and believe it.
func TestFsyncError(t *testing.T) {
	for seed := range uint64(20) {
		d := newDisk(seed)
		j := create(t, d)
		if err := j.Append(addLog(0)); err != nil {
			t.Fatal(err)
		}
		var syncs atomic.Int64
		d.SetFaults(func(op disktest.Op) error {
			if op.Name != "sync" {
				return nil
			}
			if syncs.Add(1) == 1 {
				return syscall.EIO
			}
			return nil
		})
		err := j.Append(addLog(1))
		var dead *journal.Error
		if !errors.As(err, &dead) || dead.Op != "sync" || dead.Path != path || !errors.Is(err, syscall.EIO) {
			t.Fatalf("got %v", err)
		}
		<-j.Failed()
		for _, again := range []error{j.Append(addLog(2)), j.Note(addLog(3)), j.Sync(), j.Err(), j.Close(), j.Close()} {
			if again != err {
				t.Errorf("afterwards: %v", again)
			}
		}
		if n := syncs.Load(); n != 1 {
			t.Errorf("%d fsyncs", n)
		}
		// The next process does not believe what it would read. After a power cut there may be what was synced before.
		if _, err := journal.Open(d, stateDir); !errors.Is(err, journal.ErrDead) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open after a failed fsync: %v", err)
		}
		if _, err := journal.Read(d, stateDir); !errors.Is(err, journal.ErrDead) {
			t.Errorf("Read after a failed fsync: %v", err)
		}
		s, err := journal.Read(d.Restart(true), stateDir)
		if !errors.Is(err, journal.ErrDead) && (err != nil || len(s.Logs) != 1) {
			t.Errorf("after a power cut: %v, %+v", err, s.Logs)
		}
	}
}

func TestWriteError(t *testing.T) {
	for seed := range uint64(20) {
		d := newDisk(seed)
		j := create(t, d)
		d.SetFaults(func(op disktest.Op) error {
			if op.Name == "write" {
				return syscall.EIO
			}
			return nil
		})
		before := j.State()
		err := j.Note(addLog(0))
		var dead *journal.Error
		if !errors.As(err, &dead) || dead.Op != "write" || !errors.Is(err, syscall.EIO) {
			t.Fatalf("got %v", err)
		}
		<-j.Failed()
		d.SetFaults(nil)
		for _, again := range []error{j.Append(addLog(0)), j.Note(addLog(0)), j.Err(), j.Close()} {
			if again != err {
				t.Errorf("afterwards: %v", again)
			}
		}
		if !reflect.DeepEqual(j.State(), before) {
			t.Error("a write that failed has changed the state")
		}
		if d.Files()["/tmp/reserve"] == nil {
			t.Error("the reserve was given up although the disk is not full")
		}
		if s, err := journal.Read(d, stateDir); err != nil || !reflect.DeepEqual(s, before) {
			t.Errorf("%v, %+v", err, s)
		}
	}
}

// full fails writes with ENOSPC until the reserve is gone; if it is never enough, then also after it.
func full(enough bool) disktest.Faults {
	var freed atomic.Bool
	return func(op disktest.Op) error {
		switch {
		case op.Name == "remove" && op.Path == "/tmp/reserve":
			freed.Store(enough)
		case op.Name == "write" && !freed.Load():
			return syscall.ENOSPC
		}
		return nil
	}
}

func TestFullDiskWithReserve(t *testing.T) {
	for seed := range uint64(50) {
		d := newDisk(seed)
		j := create(t, d)
		if n := len(d.Files()["/tmp/reserve"]); n != 64<<10 {
			t.Fatalf("the reserve has %d bytes", n)
		}
		d.SetFaults(full(true))
		if err := errors.Join(j.Append(addLog(0)), j.Append(addLog(1)), j.Err(), j.Close()); err != nil {
			t.Fatal(err)
		}
		content := d.Files()[path]
		if lines := bytes.Count(content, []byte("\n")); lines != 3 || !bytes.HasSuffix(content, []byte("}\n")) {
			t.Errorf("seed %d: journal is %q", seed, content)
		}
		s, err := journal.Read(d.Restart(true), stateDir)
		if err != nil || len(s.Logs) != 2 {
			t.Errorf("seed %d: %v, %d logs", seed, err, len(s.Logs))
		}
	}
}

func TestFullDiskBeyondReserve(t *testing.T) {
	for seed := range uint64(20) {
		d := newDisk(seed)
		j := create(t, d)
		d.SetFaults(full(false))
		err := j.Append(addLog(0))
		if !errors.Is(err, syscall.ENOSPC) || j.Err() != err || j.Close() != err {
			t.Fatalf("got %v, then %v", err, j.Err())
		}
		if s, err := journal.Read(d, stateDir); err != nil || len(s.Logs) != 0 {
			t.Errorf("seed %d: %v, %d logs", seed, err, len(s.Logs))
		}
		if got, want := d.Files()[path], writeAll(t, []journal.Record{claimed()}); !bytes.Equal(got, want) {
			t.Errorf("seed %d: parts of the record are left: %q", seed, got)
		}
	}
}

func TestFreeReserve(t *testing.T) {
	d := newDisk(1)
	j := create(t, d)
	for range 2 {
		if err := j.FreeReserve(); err != nil {
			t.Error(err)
		}
		if d.Files()["/tmp/reserve"] != nil {
			t.Error("the reserve is still there")
		}
	}
	if err := errors.Join(j.Append(addLog(0)), j.Close()); err != nil {
		t.Error(err)
	}
}

// refusing fails one kind of operation.
func refusing(name string) disktest.Faults {
	return func(op disktest.Op) error {
		if op.Name == name {
			return syscall.EACCES
		}
		return nil
	}
}

func TestCreateFails(t *testing.T) {
	for _, op := range []string{"create", "lock", "write", "sync", "syncdir"} {
		d := newDisk(1)
		d.SetFaults(refusing(op))
		if _, err := journal.Create(d, stateDir, claimed()); !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "create journal") {
			t.Errorf("%s: %v", op, err)
		}
	}
	d := newDisk(1)
	if _, err := journal.Create(d, stateDir, addLog(0)); !errors.As(err, new(*journal.StepError)) || len(d.Files()) != 0 {
		t.Errorf("begun with a log: %v, %d files", err, len(d.Files()))
	}
	j := create(t, d)
	if _, err := journal.Create(d, stateDir, claimed()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second journal: %v", err)
	}
	if err := errors.Join(j.Append(addLog(0)), j.Close()); err != nil {
		t.Error(err)
	}
}

func TestOpenFails(t *testing.T) {
	for _, op := range []string{"open", "lock", "size", "read", "truncate", "sync"} {
		d := diskWith(t, append(writeAll(t, wholeRun()), "torn"...))
		d.SetFaults(refusing(op))
		if _, err := journal.Open(d, stateDir); !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "open journal") {
			t.Errorf("%s: %v", op, err)
		}
		d.SetFaults(nil)
		j, err := journal.Open(d, stateDir)
		if err != nil {
			t.Fatalf("after a failed %s: %v", op, err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLock(t *testing.T) {
	for name, place := range map[string]struct {
		disk disk.Disk
		dir  string
	}{"memory": {newDisk(1), stateDir}, "system": {disk.OS(), t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			j, err := journal.Create(place.disk, place.dir, claimed())
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first attempt must not give the lock away
				if _, err := journal.Open(place.disk, place.dir); !errors.Is(err, journal.ErrLocked) {
					t.Errorf("open while it is in use: %v", err)
				}
				if s, err := journal.Read(place.disk, place.dir); err != nil || s.Phase() != journal.PhaseWorking {
					t.Errorf("read while it is in use: %v, %v", err, s.Phase())
				}
			}
			if err := errors.Join(j.Append(addLog(0)), j.Close()); err != nil {
				t.Fatal(err)
			}
			again, err := journal.Open(place.disk, place.dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := journal.Open(place.disk, place.dir); !errors.Is(err, journal.ErrLocked) {
				t.Errorf("open while it was taken up: %v", err)
			}
			if s := again.State(); len(s.Logs) != 1 {
				t.Errorf("%d logs", len(s.Logs))
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClosed(t *testing.T) {
	j := create(t, newDisk(1))
	for range 2 {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, err := range []error{j.Append(addLog(0)), j.Note(addLog(0))} {
		var closed *journal.Error
		if !errors.As(err, &closed) || !errors.Is(err, fs.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	select {
	case <-j.Failed():
		t.Error("closing is no failure")
	default:
	}
	if err := errors.Join(j.Err(), j.Sync()); err != nil {
		t.Error(err)
	}
}
