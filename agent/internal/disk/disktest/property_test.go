package disktest_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
)

// appended is a file that only grows, and how much of it has to survive.
type appended struct {
	file          disk.File
	written, safe string
}

// Whatever else happens, the synced prefix of an appended file survives, and nothing that was not written appears.
func TestDurablePrefixSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDisk(rapid.Uint64().Draw(t, "seed"))
		model := make(map[string]*appended)
		pick := func(t *rapid.T) *appended {
			path := fmt.Sprintf("/%d", rapid.IntRange(0, 2).Draw(t, "file"))
			if model[path] == nil {
				model[path] = &appended{file: create(t, d, path, "")}
				check(t, d.SyncDir("/"))
			}
			return model[path]
		}
		restart := func(power bool) {
			next := d.Restart(power)
			found := files(next)
			for path, f := range model {
				got, there := found[path]
				switch {
				case !there, !strings.HasPrefix(got, f.safe), !strings.HasPrefix(f.written, got):
					t.Fatalf("power cut %t: %s reads %q (%t); synced %q, written %q", power, path, got, there, f.safe, f.written)
				case !power && got != f.written:
					t.Fatalf("kill: %s reads %q; written %q", path, got, f.written)
				}
				if f.written = got; power {
					f.safe = got
				}
				var err error
				f.file, err = next.Open(path)
				check(t, err)
			}
			d = next
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				f, text := pick(t), rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 1, 5, -1).Draw(t, "text")
				write(t, f.file, int64(len(f.written)), text)
				f.written += text
			},
			"sync": func(t *rapid.T) {
				f := pick(t)
				check(t, f.file.Sync())
				f.safe = f.written
			},
			"kill":      func(*rapid.T) { restart(kill) },
			"power cut": func(*rapid.T) { restart(power) },
		})
	})
}

// A file that is replaced by renames, each synced by content and perhaps by name, reads as one of the
// versions since the last SyncDir, whole.
func TestReplacedFileIsAlwaysWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDisk(rapid.Uint64().Draw(t, "seed"))
		check(t, create(t, d, "/result", "version 0").Sync())
		check(t, d.SyncDir("/"))
		possible := []string{"version 0"}
		count := 0
		t.Repeat(map[string]func(*rapid.T){
			"replace": func(t *rapid.T) {
				count++
				version := fmt.Sprintf("version %d", count)
				check(t, d.RemoveAll("/temp"))
				check(t, create(t, d, "/temp", version).Sync())
				check(t, d.Rename("/temp", "/result"))
				possible = append(possible, version)
			},
			"sync": func(t *rapid.T) {
				check(t, d.SyncDir("/"))
				possible = possible[len(possible)-1:]
			},
			"crash": func(t *rapid.T) {
				cut := rapid.Bool().Draw(t, "power")
				d = d.Restart(cut)
				got := files(d)["/result"]
				if !cut && got != possible[len(possible)-1] {
					t.Fatalf("kill: reads %q, want the last of %q", got, possible)
				}
				for _, p := range possible {
					if got == p {
						if cut {
							possible = []string{got}
						}
						return
					}
				}
				t.Fatalf("reads %q, want one of %q", got, possible)
			},
		})
	})
}
