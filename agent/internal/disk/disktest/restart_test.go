package disktest_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
)

const (
	kill  = false
	power = true
)

func newDisk(seed uint64) *disktest.Disk { return disktest.New(rand.New(rand.NewPCG(seed, 0))) }

type fatal interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func check(t fatal, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t fatal, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Fatalf("error %v, want %v", err, wanted)
	}
}

func create(t fatal, d disk.Disk, path, text string) disk.File {
	t.Helper()
	f, err := d.Create(path)
	check(t, err)
	write(t, f, 0, text)
	return f
}

func write(t fatal, f disk.File, offset int64, text string) {
	t.Helper()
	_, err := f.WriteAt([]byte(text), offset)
	check(t, err)
}

// files gives what the files hold, as strings.
func files(d *disktest.Disk) map[string]string {
	found := make(map[string]string)
	for path, content := range d.Files() {
		found[path] = string(content)
	}
	return found
}

// outcomes runs setup on many disks, restarts each, and counts what report says of it.
func outcomes(t *testing.T, power bool, setup func(*disktest.Disk), report func(*disktest.Disk) string) map[string]bool {
	t.Helper()
	seen := make(map[string]bool)
	for seed := range uint64(300) {
		d := newDisk(seed)
		setup(d)
		seen[report(d.Restart(power))] = true
	}
	return seen
}

// same wants just these outcomes, each of them at least once.
func same(t *testing.T, seen map[string]bool, wanted ...string) {
	t.Helper()
	all := make(map[string]bool)
	for _, w := range wanted {
		all[w] = true
	}
	if diff := cmp.Diff(all, seen); diff != "" {
		t.Errorf("outcomes (-want +seen):\n%s", diff)
	}
}

func TestEverythingWrittenSurvivesAKill(t *testing.T) {
	setup := func(d *disktest.Disk) {
		check(t, d.MkdirAll("/state/run"))
		f := create(t, d, "/state/run/journal", "one,two")
		check(t, f.Sync())
		write(t, f, 4, "three,four")
		check(t, f.Truncate(9))
		create(t, d, "/state/run/new", "n")
		check(t, d.Rename("/state/run/new", "/state/run/result"))
		create(t, d, "/state/run/gone", "x")
		check(t, d.RemoveAll("/state/run/gone"))
	}
	same(t, outcomes(t, kill, setup, func(d *disktest.Disk) string { return fmt.Sprint(files(d)) }),
		"map[/state/run/journal:one,three /state/run/result:n]")
}

func TestSyncedSurvivesAPowerCut(t *testing.T) {
	setup := func(d *disktest.Disk) {
		check(t, d.Mkdir("/state"))
		check(t, d.SyncDir("/"))
		f := create(t, d, "/state/journal", "one")
		check(t, d.SyncDir("/state"))
		check(t, f.Sync())
		write(t, f, 3, ",two")
		check(t, f.Truncate(5))
		check(t, f.Sync())
		check(t, f.Close())
	}
	same(t, outcomes(t, power, setup, func(d *disktest.Disk) string { return fmt.Sprint(files(d)) }), "map[/state/journal:one,t]")
}

func TestUnsyncedBytesSurviveAPowerCutAsAPrefix(t *testing.T) {
	content := func(d *disktest.Disk) string { return files(d)["/journal"] }
	setup := func(d *disktest.Disk) {
		f := create(t, d, "/journal", "ab")
		check(t, d.SyncDir("/"))
		check(t, f.Sync())
		write(t, f, 2, "c")
		write(t, f, 3, "de")
	}
	same(t, outcomes(t, power, setup, content), "ab", "abc", "abcd", "abcde")

	single := func(d *disktest.Disk) {
		f := create(t, d, "/journal", "ab")
		check(t, d.SyncDir("/"))
		check(t, f.Sync())
		write(t, f, 2, "cde")
	}
	same(t, outcomes(t, power, single, content), "ab", "abc", "abcd", "abcde")

	cut := func(d *disktest.Disk) {
		f := create(t, d, "/journal", "abcd")
		check(t, d.SyncDir("/"))
		check(t, f.Sync())
		check(t, f.Truncate(1))
		write(t, f, 1, "X")
	}
	same(t, outcomes(t, power, cut, content), "abcd", "a", "aX")
}

// What a killed process wrote is still only in memory, and goes with the power.
func TestKillMakesNothingSafe(t *testing.T) {
	setup := func(d *disktest.Disk) {
		f := create(t, d, "/journal", "ab")
		check(t, f.Sync())
	}
	report := func(d *disktest.Disk) string {
		if _, err := d.Open("/journal"); err != nil {
			t.Errorf("after the kill: %v", err)
		}
		return fmt.Sprint(files(d.Restart(power)))
	}
	same(t, outcomes(t, kill, setup, report), "map[]", "map[/journal:ab]")
}

func TestNamesNeedSyncDir(t *testing.T) {
	report := func(d *disktest.Disk) string { return fmt.Sprint(files(d)) }
	t.Run("create", func(t *testing.T) {
		setup := func(d *disktest.Disk) {
			for _, path := range []string{"/a", "/b"} {
				check(t, create(t, d, path, "x").Sync())
			}
		}
		same(t, outcomes(t, power, setup, report), "map[]", "map[/a:x]", "map[/b:x]", "map[/a:x /b:x]")
	})
	t.Run("remove", func(t *testing.T) {
		setup := func(d *disktest.Disk) {
			check(t, create(t, d, "/a", "x").Sync())
			check(t, d.SyncDir("/"))
			check(t, d.RemoveAll("/a"))
		}
		same(t, outcomes(t, power, setup, report), "map[]", "map[/a:x]")
	})
	t.Run("the folder itself", func(t *testing.T) {
		setup := func(d *disktest.Disk) {
			check(t, d.Mkdir("/run"))
			check(t, create(t, d, "/run/a", "x").Sync())
			check(t, d.SyncDir("/run"))
		}
		same(t, outcomes(t, power, setup, report), "map[]", "map[/run/a:x]")
	})
	t.Run("half a removed folder", func(t *testing.T) {
		setup := func(d *disktest.Disk) {
			check(t, d.Mkdir("/run"))
			check(t, create(t, d, "/run/a", "x").Sync())
			check(t, create(t, d, "/run/b", "x").Sync())
			check(t, d.SyncDir("/run"))
			check(t, d.SyncDir("/"))
			check(t, d.RemoveAll("/run"))
		}
		same(t, outcomes(t, power, setup, report), "map[]", "map[/run/a:x]", "map[/run/b:x]", "map[/run/a:x /run/b:x]")
	})
}

func TestRenameIsAtomic(t *testing.T) {
	report := func(d *disktest.Disk) string { return fmt.Sprint(files(d)) }
	replace := func(d *disktest.Disk) {
		check(t, create(t, d, "/result", "old").Sync())
		check(t, d.SyncDir("/"))
		check(t, create(t, d, "/temp", "new").Sync())
		check(t, d.Rename("/temp", "/result"))
	}
	same(t, outcomes(t, power, replace, report), "map[/result:old]", "map[/result:old /temp:new]", "map[/result:new]")

	synced := func(d *disktest.Disk) { replace(d); check(t, d.SyncDir("/")) }
	same(t, outcomes(t, power, synced, report), "map[/result:new]")

	// Renamed into place without a sync: the name is there, the bytes need not be.
	hasty := func(d *disktest.Disk) {
		create(t, d, "/temp", "n")
		check(t, d.Rename("/temp", "/result"))
		check(t, d.SyncDir("/"))
	}
	same(t, outcomes(t, power, hasty, report), "map[/result:]", "map[/result:n]")
}

// A name that is used again does not come before the rename that made it free: what it meant would be lost.
func TestChangesOfOneNameKeepTheirOrder(t *testing.T) {
	setup := func(d *disktest.Disk) {
		check(t, create(t, d, "/a", "first").Sync())
		check(t, d.SyncDir("/"))
		check(t, d.Rename("/a", "/b"))
		check(t, create(t, d, "/a", "second").Sync())
	}
	same(t, outcomes(t, power, setup, func(d *disktest.Disk) string { return fmt.Sprint(files(d)) }),
		"map[/a:first]", "map[/b:first]", "map[/a:second /b:first]")
}

func TestRemoveAllStopsAnywhere(t *testing.T) {
	setup := func(d *disktest.Disk) {
		check(t, d.Mkdir("/run"))
		for _, name := range []string{"a", "b", "c"} {
			create(t, d, "/run/"+name, "")
		}
		d.CrashAt(d.Ops() + 2)
		want(t, d.RemoveAll("/run"), disktest.ErrCrashed)
	}
	same(t, outcomes(t, kill, setup, func(d *disktest.Disk) string { return fmt.Sprint(files(d)) }),
		"map[/run/a: /run/b:]", "map[/run/a: /run/c:]", "map[/run/b: /run/c:]", "map[/run/a:]", "map[/run/b:]", "map[/run/c:]")
}

func TestRenameStaysInItsFolder(t *testing.T) {
	d := newDisk(1)
	create(t, d, "/a", "x")
	want(t, d.Rename("/a", "/tmp/a"), syscall.EXDEV)
}

func TestRestartReleasesLocks(t *testing.T) {
	for _, how := range []bool{kill, power} {
		d := newDisk(1)
		f := create(t, d, "/journal", "")
		check(t, d.SyncDir("/"))
		check(t, f.Lock())
		d = d.Restart(how)
		again, err := d.Open("/journal")
		check(t, err)
		check(t, again.Lock())
	}
}

// The two lives share no bytes, and what the first one still tries comes to nothing.
func TestLivesAreApart(t *testing.T) {
	for _, how := range []bool{kill, power} {
		first := newDisk(1)
		f := create(t, first, "/journal", "abc")
		check(t, f.Sync())
		check(t, first.SyncDir("/"))
		second := first.Restart(how)
		g, err := second.Open("/journal")
		check(t, err)
		write(t, g, 0, "X")
		check(t, second.RemoveAll("/tmp"))
		_, err = f.WriteAt([]byte("Y"), 1)
		want(t, err, disktest.ErrCrashed)
		third := first.Restart(kill)
		for d, wanted := range map[*disktest.Disk]string{first: "abc", second: "Xbc", third: "abc"} {
			if got := files(d)["/journal"]; got != wanted {
				t.Errorf("reads %q, want %q", got, wanted)
			}
		}
		_, err = third.ReadDir("/tmp")
		check(t, err)
	}
}

func TestNamesOfTemporaryFoldersDoNotComeAgain(t *testing.T) {
	for seed := range uint64(20) { // in some the first is lost with the power
		d := newDisk(seed)
		first, err := d.MkdirTemp("run-*-x")
		check(t, err)
		second, err := d.Restart(power).MkdirTemp("run-*-x")
		check(t, err)
		if first != "/tmp/run-1-x" || second != "/tmp/run-2-x" {
			t.Errorf("made %s, then %s", first, second)
		}
	}
}

func TestNothingWorksAfterTheCrash(t *testing.T) {
	d := newDisk(1)
	f := create(t, d, "/journal", "abc")
	before := d.Ops()
	d.Crash()
	d.Crash() // once more does nothing
	<-d.Dead()
	_, wrote := f.WriteAt([]byte("x"), 0)
	_, read := f.ReadAt(make([]byte, 1), 0)
	_, size := f.Size()
	_, temp := d.MkdirTemp("x")
	_, names := d.ReadDir("/")
	_, made := d.Create("/new")
	_, opened := d.Open("/journal")
	for _, err := range []error{
		wrote, read, size, f.Truncate(0), f.Sync(), f.Lock(), f.Close(),
		temp, names, made, opened, d.Mkdir("/m"), d.MkdirAll("/n"), d.MkdirAll("/"), d.Rename("/journal", "/j"),
		d.RemoveAll("/journal"), d.RemoveAll("/none"), d.SyncDir("/"),
	} {
		want(t, err, disktest.ErrCrashed)
	}
	if diff := cmp.Diff(map[string]string{"/journal": "abc"}, files(d)); diff != "" || d.Ops() != before {
		t.Errorf("%d operations after %d, files (-want +got):\n%s", d.Ops(), before, diff)
	}
}

func TestCallersBytesAreNotTheDisks(t *testing.T) {
	d := newDisk(1)
	f := create(t, d, "/journal", "")
	check(t, d.SyncDir("/"))
	p := []byte("mine")
	_, err := f.WriteAt(p, 0)
	check(t, err)
	copy(p, "YOUR")
	check(t, f.Sync())
	if got := files(d.Restart(power))["/journal"]; got != "mine" {
		t.Errorf("reads %q", got)
	}
}

// The same crash, seen many times, is a new throw of the dice each time; and so it is after an earlier power cut.
func TestPowerCutsAreApart(t *testing.T) {
	d := newDisk(1)
	f := create(t, d, "/journal", "abc")
	check(t, f.Sync())
	check(t, d.SyncDir("/"))
	for range 2 {
		d = d.Restart(power)
		f, err := d.Open("/journal")
		check(t, err)
		write(t, f, 0, "X")
		seen := make(map[string]bool)
		var last *disktest.Disk
		for throw := range 100 {
			next := d.Restart(power)
			got := files(next)["/journal"]
			if throw >= 50 { // whatever the first ones saw
				seen[got] = true
			}
			if got == "abc" {
				last = next
			}
		}
		same(t, seen, "abc", "Xbc")
		d = last
	}
}

func TestReadsOfTheEnd(t *testing.T) {
	d := newDisk(1)
	f := create(t, d, "/log", "abc")
	if n, err := f.ReadAt(make([]byte, 4), 1); n != 2 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt = %d, %v", n, err)
	}
	_, err := d.Open("/log/below")
	want(t, err, syscall.ENOTDIR)
	_, err = d.Open("/none/below")
	want(t, err, fs.ErrNotExist)
}
