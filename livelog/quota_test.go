package livelog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/taskcluster/upload-agent/livelog"
)

// quotaDisk is where a log with a quota lives: its spool, and the files of its tail. room is what fits on it.
type quotaDisk struct {
	spool    *memoryFile
	tail     map[string]*memoryFile
	full     bool // nothing fits any more
	told     livelog.Loss
	noMemory bool // what is told is not remembered
}

func newQuotaDisk() *quotaDisk {
	return &quotaDisk{spool: newFile(), tail: map[string]*memoryFile{}}
}

func (d *quotaDisk) List() ([]string, error) { return slices.Collect(maps.Keys(d.tail)), nil }

func (d *quotaDisk) Create(name string) (livelog.File, error) {
	if d.tail[name] != nil {
		return nil, fs.ErrExist
	}
	if d.full {
		return nil, &fs.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
	}
	d.tail[name] = newFile()
	return d.tail[name], nil
}

func (d *quotaDisk) Open(name string) (livelog.File, error) {
	d.tail[name].closed = false
	return d.tail[name], nil
}

func (d *quotaDisk) Remove(name string) error {
	delete(d.tail, name)
	return nil
}

// fill makes the disk take left bytes more in each file, or with less than 0 whatever comes.
func (d *quotaDisk) fill(left int) {
	d.full = left >= 0
	if left < 0 {
		left = 1 << 30
	}
	d.spool.room = left
	for _, f := range d.tail {
		f.room = left
	}
}

func (d *quotaDisk) open(t interface{ Fatal(...any) }, limit int64) (*livelog.Spool, *livelog.Quota) {
	s := livelog.NewSpool(d.spool, int64(len(d.spool.data)))
	q, err := livelog.NewQuota(s, livelog.QuotaOptions{
		Limit: limit, Tail: d, Loss: d.told,
		OnLoss: func(l livelog.Loss) error {
			if d.noMemory {
				return errors.New("not remembered")
			}
			d.told = l
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, q
}

// kill ends the process. With power only what is durable is left, and a few bytes more.
func (d *quotaDisk) kill(power bool) {
	keep := func(f *memoryFile) *memoryFile {
		n := len(f.data)
		if power {
			n = min(n, f.durable+7)
		}
		return f.again(n)
	}
	d.spool = keep(d.spool)
	for name, f := range d.tail {
		if power && f.durable == 0 { // nor is its name
			delete(d.tail, name)
			continue
		}
		d.tail[name] = keep(f)
	}
}

// What a failed write left in a file of the tail is not taken for the log's.
func TestQuotaForgetsWhatAFailedWriteLeft(t *testing.T) {
	d := newQuotaDisk()
	_, q := d.open(t, livelog.MinLimit)
	fmt.Fprint(q, strings.Repeat("x", livelog.MinLimit)+"\n")
	d.fill(5)
	d.noMemory = true
	if n, err := q.Write([]byte("refused\n")); n != 0 || err == nil {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	d.fill(-1)
	d.noMemory = false
	d.kill(false)
	_, q = d.open(t, livelog.MinLimit)
	q.Close()
	if got := string(d.spool.data); !strings.HasSuffix(got, "xxx\n") {
		t.Errorf("the log ends with %q", got[len(got)-20:])
	}
}

// A power cut may leave a part of a notice, and of what was to follow it. Nobody has seen that, and it does not stay.
func TestQuotaTakesBackWhatIsTorn(t *testing.T) {
	const limit, head = livelog.MinLimit, livelog.MinLimit - livelog.MinLimit/16 - 2048
	for _, last := range []string{"x", "\n"} {
		text := strings.Repeat("x", head-1) + last
		for _, torn := range []int{1, 2, 20, 0} {
			d := newQuotaDisk()
			_, q := d.open(t, limit)
			fmt.Fprint(q, text+"more\n")
			noticed := bytes.Clone(d.spool.data)
			if !noticeLine.Match(noticed) {
				t.Fatalf("%q", noticed[head:])
			}
			if d.spool.data = noticed[:head+torn]; torn == 0 {
				d.spool.data = append(noticed, "upload-agent: 5 by"...)
			}
			clear(d.tail)
			_, q = d.open(t, limit)
			fmt.Fprint(q, "the next process\n")
			q.Close()
			want := string(noticed) + "upload-agent: 0 bytes (0 lines) of this log are missing here: the log has reached its limit of 65536 bytes\nthe next process\n"
			if got := string(d.spool.data); got != want {
				t.Errorf("%d bytes were left of the notice behind %q: the log goes on with %q", torn, last, got[head:])
			}
		}
	}
}

var (
	markLine   = regexp.MustCompile(`upload-agent: (at least )?(\d+) bytes? \((?:at least )?(\d+) lines?\) of this log are missing here: [^\n]*\n`)
	noticeLine = regexp.MustCompile(`upload-agent: the log has reached its limit of \d+ bytes; from here on only the newest bytes are kept, and follow when the log ends\n`)
)

// account follows a log through what was written. It gives how many bytes the log says are missing, at least; the error
// says where the log is not true. With cut the end of what was written may be missing.
func account(log, written string, cut bool) (missing, lines int64, err error) {
	var furthest error
	var follow func(log string, at int, missing, lines int64) (int64, int64, bool)
	follow = func(log string, at int, missing, lines int64) (int64, int64, bool) {
		found, isMark := markLine.FindStringSubmatchIndex(log), true
		if notice := noticeLine.FindStringIndex(log); notice != nil && (found == nil || notice[0] < found[0]) {
			found, isMark = notice, false
		}
		text := log
		if found != nil {
			text = log[:found[0]]
		}
		for _, text := range []string{text, strings.TrimSuffix(text, "\n")} {
			if !strings.HasPrefix(written[at:], text) {
				furthest = fmt.Errorf("what follows byte %d is not in the log, but %.60q", at, text)
				continue
			}
			end := at + len(text)
			if found == nil {
				if end == len(written) || cut {
					return missing, lines, true
				}
				furthest = fmt.Errorf("the log ends at byte %d of %d", end, len(written))
				continue
			}
			rest := log[found[1]:]
			if !isMark {
				if m, l, ok := follow(rest, end, missing, lines); ok {
					return m, l, true
				}
				continue
			}
			bytes, _ := strconv.Atoi(log[found[4]:found[5]])
			newlines, _ := strconv.Atoi(log[found[6]:found[7]])
			atLeast := found[2] >= 0
			for skip := end + bytes; skip <= len(written); skip++ {
				if n := strings.Count(written[end:skip], "\n"); n == newlines || atLeast && n > newlines {
					if m, l, ok := follow(rest, skip, missing+int64(bytes), lines+int64(newlines)); ok {
						return m, l, true
					}
				} else {
					furthest = fmt.Errorf("%d lines are missing at byte %d, the log says %d", n, end, newlines)
				}
				if !atLeast {
					break
				}
			}
		}
		return 0, 0, false
	}
	missing, lines, ok := follow(log, 0, 0, 0)
	if ok {
		return missing, lines, nil
	}
	return 0, 0, furthest
}

// Whatever is written, fails, ends and begins again: the log accounts for every byte, in order, and keeps its limit.
func TestQuotaAccountsForEveryByte(t *testing.T) {
	const limit = livelog.MinLimit
	var limited, marked, ended int
	rapid.Check(t, func(rt *rapid.T) {
		d := newQuotaDisk()
		s, q := d.open(rt, limit)
		var written strings.Builder
		var seen string
		killed := false
		look := func() { // what readers have seen stays
			now := text(t, s)
			if !strings.HasPrefix(now, seen) {
				rt.Fatalf("a reader saw %d bytes, and now there are %d others", len(seen), len(now))
			}
			seen = now
		}
		for i := range rapid.IntRange(1, 25).Draw(rt, "acts") {
			switch what := rapid.SampledFrom([]string{"write", "write", "write", "write", "full", "works", "kill"}).Draw(rt, "what"); what {
			case "write":
				size := rapid.SampledFrom([]int{1, 50, 3000, 20_000, 70_000}).Draw(rt, "size")
				width := rapid.SampledFrom([]int{10, 100, 5000}).Draw(rt, "width")
				piece := lines(i, width, rapid.IntRange(1, size).Draw(rt, "bytes"))
				if n, err := io.WriteString(q, piece); n != len(piece) || err != nil {
					rt.Fatalf("write: %d of %d, %v", n, len(piece), err)
				}
				written.WriteString(piece)
			case "full":
				d.fill(rapid.SampledFrom([]int{0, 1, 1000, 30_000}).Draw(rt, "left"))
			case "works":
				d.fill(-1)
			case "kill":
				look()
				killed = true
				d.kill(false)
				s, q = d.open(rt, limit)
			}
			look()
		}
		if rapid.Bool().Draw(rt, "works at the end") {
			d.fill(-1)
		}
		q.Close()
		look()
		lost := q.Lost()
		if s.Size() > limit || len(d.tail) > 0 && !d.full {
			rt.Errorf("%d bytes of at most %d, files left: %v", s.Size(), limit, slices.Collect(maps.Keys(d.tail)))
		}
		missing, lines, err := account(seen, written.String(), lost.Open)
		if err != nil {
			rt.Fatalf("%v\n%+v", err, lost)
		}
		if lost.Bytes-lost.Unmarked != missing || lost.Lines-lost.UnmarkedLines != lines || !killed && lost.AtLeast || lost.Open && !d.full {
			rt.Errorf("%+v, and the log says %d bytes, %d lines", lost, missing, lines)
		}
		if !killed {
			kept := int64(written.Len()) - lost.Bytes
			if own := s.Size() - kept; own < 0 || own > 30*400 {
				rt.Errorf("%d bytes of the agent's own", own)
			}
		}
		ended++
		if noticeLine.MatchString(seen) {
			limited++
		}
		if strings.Contains(seen, "the disk did not take them") {
			marked++
		}
	})
	if limited == 0 || marked == 0 {
		t.Errorf("of %d logs %d reached their limit, and %d were marked for the disk", ended, limited, marked)
	}
}

// lines are size bytes in lines of about that width, of which no two are alike.
func lines(piece, width, size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%d.%d %s\n", piece, i, strings.Repeat("x", width))
	}
	return b.String()[:size]
}

// The power goes at any moment: what was durable, and so published, is the beginning of the log for ever.
func TestQuotaKeepsWhatWasPublishedThroughPowerCuts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newQuotaDisk()
		s, q := d.open(rt, livelog.MinLimit)
		var seen string
		publish := func() {
			n, err := s.Sync()
			if err != nil {
				rt.Fatal(err)
			}
			now := text(t, s)[:n]
			if !strings.HasPrefix(now, seen) {
				rt.Fatalf("a reader saw %d bytes, and now there are %d others", len(seen), len(now))
			}
			seen = now
		}
		for i := range rapid.IntRange(1, 25).Draw(rt, "acts") {
			switch rapid.SampledFrom([]string{"write", "write", "write", "full", "works", "publish", "power", "end"}).Draw(rt, "what") {
			case "write":
				io.WriteString(q, lines(i, 50, rapid.SampledFrom([]int{1, 50, 3000, 20_000, 70_000}).Draw(rt, "size")))
			case "full":
				d.fill(0)
			case "works":
				d.fill(-1)
			case "publish":
				publish()
			case "end": // and the outcome was never known
				q.Close()
				publish()
				fallthrough
			case "power":
				d.kill(true)
				s, q = d.open(rt, livelog.MinLimit)
			}
		}
		q.Close()
		publish()
		if s.Size() > livelog.MinLimit {
			rt.Errorf("%d bytes", s.Size())
		}
	})
}

func TestQuotaOfALogOverItsLimit(t *testing.T) {
	d := newQuotaDisk()
	s, q := d.open(t, livelog.MinLimit)
	var written strings.Builder
	for i := range 3000 {
		fmt.Fprintf(io.MultiWriter(q, &written), "line %d %s\n", i, strings.Repeat("x", 90))
	}
	if size := s.Size(); size > livelog.MinLimit*15/16 || size < livelog.MinLimit*15/16-2<<10 || !strings.HasSuffix(text(t, s), "; from here on only the newest bytes are kept, and follow when the log ends\n") {
		t.Errorf("%d bytes, and the log ends with %q", size, text(t, s)[size-100:])
	}
	var onDisk int
	for _, f := range d.tail {
		onDisk += len(f.data)
	}
	if most := livelog.MinLimit/16*5/4 + 1000; onDisk > most {
		t.Errorf("%d bytes on the disk for the tail, want at most %d", onDisk, most)
	}
	q.Close()
	got := text(t, s)
	missing, lines, err := account(got, written.String(), false)
	if err != nil || missing == 0 || lines == 0 {
		t.Fatalf("%d bytes, %d lines missing: %v", missing, lines, err)
	}
	lost := q.Lost()
	if want := fmt.Sprintf("incomplete: %d bytes (%d lines) are missing: the log has reached its limit of 65536 bytes", missing, lines); lost.String() != want || lost.Open {
		t.Errorf("lost: %v, want %q", lost, want)
	}
	_, tail, _ := strings.Cut(got, " missing here: ")
	if _, tail, _ = strings.Cut(tail, "\n"); !strings.HasPrefix(tail, "line ") || len(tail) < livelog.MinLimit/16-200 || !strings.HasSuffix(written.String(), "\n"+tail) {
		t.Errorf("the tail has %d bytes and begins with %.30q", len(tail), tail)
	}
	if n, err := io.WriteString(q, "x"); n != 0 || !errors.Is(err, livelog.ErrSealed) {
		t.Errorf("write after Close: %d, %v", n, err)
	}
}

// A disk that was full for so short a time that all could be held loses nothing, and leaves no mark.
func TestQuotaOnADiskThatWasFull(t *testing.T) {
	for _, c := range []struct{ during, missing int }{{20_000, 0}, {200_000, 100_000}} {
		d := newQuotaDisk()
		s, q := d.open(t, 0)
		var written bytes.Buffer
		both := io.MultiWriter(q, &written)
		io.WriteString(both, lines(0, 90, 10_000))
		d.fill(100)
		io.WriteString(both, lines(1, 90, c.during))
		if lost := q.Lost(); !lost.Open || !d.told.Open {
			t.Errorf("lost %+v, told %+v, while bytes are held", lost, d.told)
		}
		d.fill(-1)
		io.WriteString(both, lines(2, 90, 40_000))
		if q.Lost().Open {
			t.Error("the disk works again, and the bytes are still held")
		}
		io.WriteString(both, "the end\n")
		q.Close()
		missing, _, err := account(text(t, s), written.String(), false)
		if err != nil || missing < int64(c.missing) || c.missing == 0 && missing > 0 {
			t.Errorf("%d bytes while the disk is full: %d are missing, %v", c.during, missing, err)
		}
		if lost := q.Lost(); lost.Bytes != missing || lost.Any() != strings.Contains(lost.String(), "the disk did not take them: no space left on device") {
			t.Errorf("lost: %v, and the log says %d bytes", lost, missing)
		}
	}
}

func TestQuotaMakesRoomForTheLastMark(t *testing.T) {
	for _, room := range []int{500, 5600, 1 << 20} {
		d := newQuotaDisk()
		s := livelog.NewSpool(d.spool, 0)
		q, err := livelog.NewQuota(s, livelog.QuotaOptions{MakeRoom: func() error { d.fill(room); return nil }})
		if err != nil {
			t.Fatal(err)
		}
		d.fill(1000)
		written := lines(0, 90, 200_000)
		io.WriteString(q, written)
		q.Close()
		missing, _, err := account(text(t, s), written, false)
		if lost := q.Lost(); err != nil || missing == 0 || lost.Bytes != missing || lost.Open {
			t.Errorf("room for %d: %d bytes missing, %v; %+v", room, missing, err, lost)
		}
		if kept := s.Size(); kept < map[int]int64{500: 1001, 5600: 5000, 1 << 20: 17_000}[room] {
			t.Errorf("room for %d: the log has %d bytes", room, kept)
		}
	}
}

// What nobody remembers is not shown: the next process would contradict it.
func TestQuotaShowsNoMarkThatIsNotRemembered(t *testing.T) {
	d := newQuotaDisk()
	s, q := d.open(t, livelog.MinLimit)
	d.noMemory = true
	io.WriteString(q, lines(0, 90, 200_000))
	before := s.Size()
	q.Close()
	if s.Size() != before || !q.Lost().Open {
		t.Errorf("the log has grown from %d to %d bytes; %+v", before, s.Size(), q.Lost())
	}
}

func TestQuotaOnADeadDisk(t *testing.T) {
	d := newQuotaDisk()
	s, q := d.open(t, livelog.MinLimit)
	io.WriteString(q, "one\n")
	cause := d.spool.failSyncs()
	s.Sync()
	if n, err := io.WriteString(q, "two\n"); n != 0 || !errors.Is(err, cause) {
		t.Errorf("write: %d, %v, want %v", n, err, cause)
	}
	q.Close()
	if lost, err := s.Lost(); lost != 8 || !errors.Is(err, cause) {
		t.Errorf("lost: %d, %v", lost, err)
	}
}

func TestQuotaRefusesALowLimit(t *testing.T) {
	var low *livelog.LimitError
	if _, err := livelog.NewQuota(livelog.NewSpool(newFile(), 0), livelog.QuotaOptions{Limit: livelog.MinLimit - 1}); !errors.As(err, &low) || low.Limit != livelog.MinLimit-1 {
		t.Errorf("%v, want a *LimitError", err)
	}
}

func BenchmarkQuotaWrite(b *testing.B) {
	for name, size := range map[string]int{"64KiB": 64 << 10, "100B": 100} {
		block := bytes.Repeat([]byte("x"), size-1)
		block = append(block, '\n')
		for kind, limit := range map[string]int64{"spool": 0, "below": -1, "above": 1 << 20} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(size))
				path := b.TempDir() + "/file"
				const most = 64 << 20
				written, s, w := most, (*livelog.Spool)(nil), io.Writer(nil)
				for b.Loop() {
					if written += size; written > most { // the same part of the file, so that the disk is not what is measured
						b.StopTimer()
						if s != nil {
							s.Remove()
						}
						s, _ = livelog.Create(path)
						w = s
						if limit != 0 {
							w, _ = livelog.NewQuota(s, livelog.QuotaOptions{Limit: limit, Tail: newQuotaDisk()})
						}
						written = 0
						b.StartTimer()
					}
					if _, err := w.Write(block); err != nil {
						b.Fatal(err)
					}
				}
				s.Remove()
			})
		}
	}
}
