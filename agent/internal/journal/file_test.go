package journal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
)

var update = flag.Bool("update", false, "write the golden files")

// The format of the file is a promise: a newer version has to take up what this one has left.
func TestGolden(t *testing.T) {
	got := writeAll(t, wholeRun())
	golden := filepath.Join("testdata", "run.journal")
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("journal differs (-want +got):\n%s", diff)
	}
	j, err := journal.Open(diskWith(t, want), stateDir)
	if err != nil {
		t.Fatal(err)
	}
	states := statesOf(t, wholeRun())
	if diff := cmp.Diff(states[len(states)-1], j.State(), cmp.AllowUnexported(journal.State{})); diff != "" {
		t.Errorf("state differs (-want +got):\n%s", diff)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// After every step the state is that of the records, and Open finds the same as Append has made.
func TestStateSurvivesReopening(t *testing.T) {
	records := wholeRun()
	states := statesOf(t, records)
	d := newDisk(1)
	j := create(t, d)
	for i := range records {
		if i > 0 {
			if err := j.Append(records[i]); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(states[i+1], j.State(), cmp.AllowUnexported(journal.State{})); diff != "" {
			t.Fatalf("state after record %d (-want +got):\n%s", i+1, diff)
		}
		written := j.State()
		shown, err := journal.Read(d, stateDir)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if j, err = journal.Open(d, stateDir); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(written, j.State()) || !reflect.DeepEqual(written, shown) {
			t.Fatalf("after record %d: written %+v, opened %+v, read %+v", i+1, written, j.State(), shown)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTornTail(t *testing.T) {
	records := wholeRun()
	content, states := writeAll(t, records), statesOf(t, records)
	last := bytes.LastIndexByte(content[:len(content)-1], '\n') + 1
	whole := len(content) - last
	rests := []string{"", "\x00\x00\x00", "garbage", "garbage\n", "garbage\ngarbage\n\n", "\n", strings.Repeat("\x00", whole), strings.Repeat("x", whole) + "\n"}
	for keep := range whole {
		for _, rest := range rests {
			if keep == whole-1 && strings.HasPrefix(rest, "\n") {
				continue // that is the whole line
			}
			d := diskWith(t, append(slices.Clone(content[:last+keep]), rest...))
			shown, err := journal.Read(d, stateDir)
			if err != nil {
				t.Fatalf("%d bytes and %q: %v", keep, rest, err)
			}
			j, err := journal.Open(d, stateDir)
			if err != nil {
				t.Fatalf("%d bytes and %q: %v", keep, rest, err)
			}
			if want := states[len(records)-1]; !reflect.DeepEqual(want, j.State()) || !reflect.DeepEqual(want, shown) {
				t.Fatalf("%d bytes and %q: opened %+v, read %+v", keep, rest, j.State(), shown)
			}
			if err := errors.Join(j.Append(records[len(records)-1]), j.Close()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(d.Files()[path], content) {
				t.Fatalf("%d bytes and %q: the last line was not written anew", keep, rest)
			}
		}
	}
}

func TestTornFirstLineIsNoJournal(t *testing.T) {
	content := writeAll(t, wholeRun()[:1])
	for keep := range content {
		for name, open := range map[string]func(disk.Disk) error{
			"open": func(d disk.Disk) error { _, err := journal.Open(d, stateDir); return err },
			"read": func(d disk.Disk) error { _, err := journal.Read(d, stateDir); return err },
		} {
			if err := open(diskWith(t, content[:keep])); !errors.Is(err, journal.ErrEmpty) || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s with %d bytes: %v", name, keep, err)
			}
		}
	}
}

// A byte that is not what was written either costs the end of the journal, or is reported with its line.
func TestEverySingleByteCorruption(t *testing.T) {
	records := wholeRun()
	content, states := writeAll(t, records), statesOf(t, records)
	line := 1
	for i, was := range content {
		inLine := line
		if was == '\n' {
			line++
		}
		for _, is := range []byte{was ^ 1, was ^ 0x80, '\n'} {
			if is == was {
				continue
			}
			bad := slices.Clone(content)
			bad[i] = is
			s, err := journal.Read(diskWith(t, bad), stateDir)
			var damaged *journal.DamagedError
			switch isLast := inLine == len(records) || inLine == len(records)-1 && was == '\n'; {
			case isLast && err == nil && reflect.DeepEqual(s, states[inLine-1]):
			case !isLast && errors.As(err, &damaged) && damaged.Line == int64(inLine) && damaged.Path == path && damaged.Reason != "":
			default:
				t.Fatalf("byte %d (line %d) is %q instead of %q: %v, %+v", i, inLine, is, was, err, s)
			}
		}
	}
}

// line is a line with the right checksum, whatever its text.
func line(text string) string {
	front := strings.TrimSuffix(text, "}")
	return fmt.Sprintf("%s,\"crc\":\"%08x\"}\n", front, crc32.Checksum([]byte(front), crc32.MakeTable(crc32.Castagnoli)))
}

func TestDamaged(t *testing.T) {
	claim := func(number int64) string {
		r := claimed()
		r.Number = number
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return line(string(encoded))
	}
	first := claim(1)
	const stamp = `"at":"2026-05-04T12:00:00Z"`
	tests := []struct {
		name, content, reason string
		line                  int64
	}{
		{"number left out", first + line(`{"n":3,`+stamp+`,"step":"log added","log":"l"}`), "its number is 3", 2},
		{"number repeated", first + line(`{"n":1,`+stamp+`,"step":"log added","log":"l"}`), "its number is 1", 2},
		{"second claim", first + claim(2), "a run is claimed once", 2},
		{"illegal step", first + line(`{"n":2,`+stamp+`,"step":"completed sent"}`), "a run is reported only after its result is stored", 2},
		{"step of the future", first + line(`{"n":2,`+stamp+`,"step":"coffee made"}`), "a newer version", 2},
		{"member of the future", first + line(`{"n":2,`+stamp+`,"step":"log added","log":"l","colour":"red"}`), "a newer version", 2},
		{"nested member of the future", first + line(`{"n":2,`+stamp+`,"step":"artifact added","artifact":{"name":"a","colour":"red"}}`), "a newer version", 2},
		{"no object", first + line(`[2,`+stamp+`}`), "it is no record", 2},
		{"wrong type", first + line(`{"n":"2",`+stamp+`,"step":"log added","log":"l"}`), "it is no record", 2},
		{"two values", first + line(`{"n":2,`+stamp+`,"step":"log added","log":"l"}{}`), "it is no record", 2},
		{"not UTF-8", first + line(`{"n":2,`+stamp+`,"step":"log added","log":"`+"\xff"+`"}`), "UTF-8", 2},
		{"no claim", line(`{"n":1,` + stamp + `,"step":"log added","log":"l"}`), "logs are added between the claim and the outcome", 1},
		{"empty line", "\n" + first, "checksum", 1},
		{"signed URL", first + line(`{"n":2,`+stamp+`,"step":"log added","log":"l"}`) +
			line(`{"n":3,`+stamp+`,"step":"chunk stored","log":"l","chunk":{"offset":0,"size":1,"url":"https://x/?X-Amz-Signature=geheim","encoding":"identity"}}`), "signed URL", 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := diskWith(t, []byte(test.content))
			_, err := journal.Open(d, stateDir)
			var damaged *journal.DamagedError
			if !errors.As(err, &damaged) || damaged.Line != test.line || !strings.Contains(damaged.Reason, test.reason) {
				t.Fatalf("got %v, want line %d: %s", err, test.line, test.reason)
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("the error repeats the URL: %v", err)
			}
			if got := d.Files()[path]; string(got) != test.content {
				t.Errorf("the file was changed to %q", got)
			}
			// The lock is free again.
			if _, err := journal.Open(d, stateDir); errors.Is(err, journal.ErrLocked) {
				t.Error(err)
			}
		})
	}
}

func TestNoJournal(t *testing.T) {
	d := newDisk(1)
	if _, err := journal.Open(d, stateDir); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, journal.ErrEmpty) {
		t.Errorf("open: %v", err)
	}
	if _, err := journal.Read(d, stateDir); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, journal.ErrEmpty) {
		t.Errorf("read: %v", err)
	}
}

// FuzzOpen: whatever the file holds, Open says what is wrong or finds a journal that can be written on, and finds the same afterwards.
func FuzzOpen(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "run.journal"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(golden[:len(golden)/2])
	f.Add([]byte(line(`{"n":1,"step":"claimed","claim":{"taskId":"YpsYjqE5Q_-NIvzSmpNnFA"}}`) + "x\ny"))
	f.Add([]byte(line("{") + line("")))
	f.Fuzz(func(t *testing.T, content []byte) {
		d := diskWith(t, content)
		shown, readErr := journal.Read(d, stateDir)
		j, err := journal.Open(d, stateDir)
		if (err == nil) != (readErr == nil) {
			t.Fatalf("open: %v, read: %v", err, readErr)
		}
		var damaged *journal.DamagedError
		if err != nil {
			if !errors.Is(err, journal.ErrEmpty) && !errors.As(err, &damaged) {
				t.Fatal(err)
			}
			return
		}
		if s := j.State(); !reflect.DeepEqual(s, shown) {
			t.Fatalf("opened %+v, read %+v", s, shown)
		}
		var refused *journal.StepError
		if err := j.Append(journal.Record{Step: journal.Renewed, Until: &start}); err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		written := j.State()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if kept := d.Files()[path]; refused != nil && !bytes.HasPrefix(content, kept) {
			t.Fatalf("kept %q of %q", kept, content)
		}
		if s, err := journal.Read(d, stateDir); err != nil || !reflect.DeepEqual(s, written) {
			t.Fatalf("read again: %v, %+v, want %+v", err, s, written)
		}
	})
}
