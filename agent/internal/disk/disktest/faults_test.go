package disktest_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
)

// failing gives that error to every operation of that name.
func failing(name string, err error) disktest.Faults {
	return func(op disktest.Op) error {
		if op.Name == name {
			return err
		}
		return nil
	}
}

func TestFullDiskKeepsAPart(t *testing.T) {
	for _, full := range []error{syscall.ENOSPC, syscall.EIO} {
		short, garbled, none := false, false, false
		for seed := range uint64(300) {
			d := newDisk(seed)
			f := create(t, d, "/journal", "abc")
			d.SetFaults(failing("write", full))
			n, err := f.WriteAt([]byte("defgh"), 3)
			want(t, err, full)
			got := files(d)["/journal"]
			if n >= 5 || len(got) < 3+n || len(got) > 8 || !strings.HasPrefix(got, "abcdefgh"[:3+n]) {
				t.Fatalf("wrote %d bytes, reads %q", n, got)
			}
			none = none || got == "abc"
			short = short || n > 0
			garbled = garbled || !strings.HasPrefix("abcdefgh", got)
			d.SetFaults(nil)
			write(t, f, 3, "defgh")
			if got := files(d)["/journal"]; got != "abcdefgh" {
				t.Fatalf("written again, reads %q", got)
			}
		}
		if !short || !garbled || !none {
			t.Errorf("%v: never wrote a part (%t), garbage (%t), nothing (%t)", full, short, garbled, none)
		}
	}
}

func TestOtherFaultsChangeNothing(t *testing.T) {
	odd := errors.New("odd")
	d := newDisk(1)
	f := create(t, d, "/journal", "abc")
	d.SetFaults(func(disktest.Op) error { return odd })
	n, wrote := f.WriteAt([]byte("x"), 0)
	_, read := f.ReadAt(make([]byte, 1), 0)
	_, size := f.Size()
	_, names := d.ReadDir("/")
	_, made := d.Create("/new")
	_, opened := d.Open("/journal")
	_, temp := d.MkdirTemp("x")
	for _, err := range []error{
		wrote, read, size, names, made, opened, temp, f.Truncate(0), f.Lock(), d.Mkdir("/m"), d.MkdirAll("/m/n"),
		d.Rename("/journal", "/j"), d.RemoveAll("/journal"), d.SyncDir("/"),
	} {
		want(t, err, odd)
	}
	d.SetFaults(nil)
	got, err := d.ReadDir("/")
	check(t, err)
	if diff := cmp.Diff([]string{"journal", "tmp"}, got); diff != "" || n != 0 || files(d)["/journal"] != "abc" {
		t.Errorf("wrote %d, files %v, names (-want +got):\n%s", n, files(d), diff)
	}
	check(t, f.Lock())
	d.SetFaults(failing("close", odd))
	want(t, f.Close(), odd)
	again, err := d.Open("/journal")
	check(t, err)
	check(t, again.Lock()) // the failed close has closed it
}

// After a failed fsync the pages count as clean: the next one succeeds and saves nothing of them.
func TestFailedSyncLosesBytesUnseen(t *testing.T) {
	content := func(d *disktest.Disk) string { return files(d)["/journal"] }
	setup := func(d *disktest.Disk) {
		f := create(t, d, "/journal", "ab")
		check(t, f.Sync())
		check(t, d.SyncDir("/"))
		write(t, f, 2, "cd")
		d.SetFaults(failing("sync", syscall.EIO))
		want(t, f.Sync(), syscall.EIO)
		d.SetFaults(nil)
		check(t, f.Sync())
	}
	same(t, outcomes(t, kill, setup, content), "abcd")
	same(t, outcomes(t, power, setup, content), "ab")

	after := func(d *disktest.Disk) { // and what is written behind them is saved behind a hole
		setup(d)
		f, err := d.Open("/journal")
		check(t, err)
		write(t, f, 4, "ef")
		check(t, f.Sync())
	}
	same(t, outcomes(t, kill, after, content), "abcdef")
	same(t, outcomes(t, power, after, content), "ab\x00\x00ef")

	again := func(d *disktest.Disk) { // but the same bytes written again are dirty again
		setup(d)
		f, err := d.Open("/journal")
		check(t, err)
		write(t, f, 2, "cd")
		check(t, f.Sync())
	}
	same(t, outcomes(t, power, again, content), "abcd")

	cut := func(d *disktest.Disk) { // sizes are not in pages
		f := create(t, d, "/journal", "abcd")
		check(t, f.Sync())
		check(t, d.SyncDir("/"))
		check(t, f.Truncate(2))
		d.SetFaults(failing("sync", syscall.EIO))
		want(t, f.Sync(), syscall.EIO)
		d.SetFaults(nil)
		check(t, f.Sync())
	}
	same(t, outcomes(t, power, cut, content), "ab")
}

func TestOpsAreNamedAndNumbered(t *testing.T) {
	d := newDisk(1)
	var seen []string
	d.SetFaults(func(op disktest.Op) error {
		seen = append(seen, fmt.Sprintf("%d %s %s", op.Number, op.Name, op.Path))
		return nil
	})
	check(t, d.MkdirAll("/state/run"))
	f := create(t, d, "/state/run/a", "x")
	check(t, f.Lock())
	check(t, f.Truncate(0))
	check(t, f.Sync())
	_, err := f.Size()
	check(t, err)
	_, err = f.ReadAt(nil, 0)
	check(t, err)
	check(t, f.Close())
	_, err = d.Open("/state/run/a")
	check(t, err)
	check(t, d.Rename("/state/run/a", "/state/run/b"))
	check(t, d.SyncDir("/state/run"))
	_, err = d.ReadDir("/state")
	check(t, err)
	check(t, d.RemoveAll("/state"))
	if diff := cmp.Diff([]string{
		"1 mkdir /state", "2 mkdir /state/run", "3 create /state/run/a", "4 write /state/run/a", "0 lock /state/run/a",
		"5 truncate /state/run/a", "6 sync /state/run/a", "0 size /state/run/a", "0 read /state/run/a", "0 close /state/run/a",
		"0 open /state/run/a", "7 rename /state/run/a", "8 syncdir /state/run", "0 readdir /state",
		"9 remove /state/run/b", "10 remove /state/run", "11 remove /state",
	}, seen); diff != "" {
		t.Error(diff)
	}
	d = d.Restart(kill)
	check(t, d.Mkdir("/next"))
	if last := seen[len(seen)-1]; last != "12 mkdir /next" || d.Ops() != 12 {
		t.Errorf("after the restart: %s, %d operations", last, d.Ops())
	}
}

func TestCrashAt(t *testing.T) {
	seen := make(map[string]bool)
	for seed := range uint64(300) {
		d := newDisk(seed)
		f := create(t, d, "/journal", "ab") // operations 1 and 2
		d.CrashAt(3)
		_, err := f.WriteAt([]byte("cd"), 2)
		want(t, err, disktest.ErrCrashed)
		want(t, f.Sync(), disktest.ErrCrashed)
		if d.Ops() != 3 {
			t.Fatalf("%d operations", d.Ops())
		}
		d = d.Restart(kill)
		seen[files(d)["/journal"]] = true
		check(t, d.Mkdir("/alive"))
	}
	same(t, seen, "ab", "abc", "abcd")

	seen = make(map[string]bool)
	for seed := range uint64(300) {
		d := newDisk(seed)
		d.CrashAt(1)
		_, err := d.Create("/journal")
		want(t, err, disktest.ErrCrashed)
		seen[fmt.Sprint(files(d.Restart(kill)))] = true
	}
	same(t, seen, "map[]", "map[/journal:]")
}

func TestCrashedSyncMayHaveWorked(t *testing.T) {
	saved := 0
	const disks = 600
	for seed := range uint64(disks) {
		d := newDisk(seed)
		f := create(t, d, "/journal", strings.Repeat("x", 1000))
		check(t, d.SyncDir("/"))
		d.CrashAt(d.Ops() + 1)
		want(t, f.Sync(), disktest.ErrCrashed)
		if len(files(d.Restart(power))["/journal"]) == 1000 {
			saved++
		}
	}
	// It worked in a half; of the other half luck saves a third.
	if saved < disks/2 || saved > disks*5/6 {
		t.Errorf("saved in %d of %d", saved, disks)
	}
}

func TestFaultsMayBlockAndCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(1)
		f := create(t, d, "/journal", "ab")
		d.SetFaults(func(op disktest.Op) error {
			if op.Name == "sync" {
				<-time.After(time.Hour) // on the bubble's clock
				d.Crash()
			}
			return nil
		})
		var wait sync.WaitGroup
		wait.Go(func() { want(t, f.Sync(), disktest.ErrCrashed) })
		synctest.Wait()
		write(t, f, 2, "cd") // others go on meanwhile
		<-d.Dead()
		wait.Wait()
		<-d.Dead()
		next := d.Restart(kill)
		select {
		case <-next.Dead():
			t.Error("the next life is dead too")
		default:
		}
		if got := files(next)["/journal"]; got != "abcd" {
			t.Errorf("reads %q", got)
		}
	})
	// One disk in a bubble for each of its lives.
	d := newDisk(1)
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			time.AfterFunc(time.Hour, d.Crash)
			<-d.Dead()
		})
		d = d.Restart(power)
	}
}

func TestSameSeedSameDisk(t *testing.T) {
	live := func(seed uint64) string {
		d := newDisk(seed)
		var story strings.Builder
		for life := range 6 {
			d.SetFaults(func(op disktest.Op) error {
				if op.Name != "mkdir" && op.Name != "remove" && op.Number%7 == 3 {
					return syscall.ENOSPC
				}
				return nil
			})
			d.CrashAt(d.Ops() + 20)
			for i := range 10 {
				path := fmt.Sprintf("/%d-%d", life, i)
				if f, err := d.Create(path); err == nil {
					_, err = f.WriteAt([]byte(path), 0)
					fmt.Fprintln(&story, err, f.Sync(), d.RemoveAll("/0-1"))
				}
			}
			d = d.Restart(life%2 == 0)
			d.CrashAt(d.Ops() + 15)
			check(t, d.MkdirAll("/run"))
			for i := range 8 {
				_, _ = d.Create(fmt.Sprint("/run/", i))
			}
			_ = d.RemoveAll("/run")
			d = d.Restart(kill)
			found := files(d)
			for _, path := range slices.Sorted(maps.Keys(found)) {
				fmt.Fprintf(&story, "%s %q\n", path, found[path])
			}
		}
		return story.String()
	}
	for seed := range uint64(20) {
		if diff := cmp.Diff(live(seed), live(seed)); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
	if live(1) == live(2) {
		t.Error("two seeds tell the same story")
	}
}

// BenchmarkRun is about what a run does to its disk: a journal of 60 records, each synced, and a log of 10 KB.
func BenchmarkRun(b *testing.B) {
	record := []byte(strings.Repeat("r", 150))
	seed := uint64(0)
	for b.Loop() {
		seed++
		d := newDisk(seed)
		check(b, d.Mkdir("/run"))
		journal := create(b, d, "/run/journal", "{}")
		log := create(b, d, "/run/log", "")
		for i := range int64(60) {
			_, err := journal.WriteAt(record, 150*i)
			check(b, err)
			check(b, journal.Sync())
			_, err = log.WriteAt(record, 150*i)
			check(b, err)
		}
		d.Restart(seed%2 == 0)
	}
}
