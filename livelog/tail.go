package livelog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// TailFiles is where a [Quota] keeps the newest bytes of a log that has reached its limit until it ends: a few files, with names of
// letters, digits and hyphens, that belong to this log alone. They need not be synced.
type TailFiles interface {
	List() ([]string, error)
	Create(name string) (File, error) // new, empty, for reading and writing
	Open(name string) (File, error)   // for the same
	Remove(name string) error         // nil if there is none
}

// segments is of how many files a tail is made, besides the one that is being written.
const segments = 4

// tail keeps the newest bytes of a stream in files, each of which says in its name what came before it.
type tail struct {
	files TailFiles
	at    int64 // where in the log the stream begins
	most  int64 // bytes to keep
	kept  []segment
	end   int64 // bytes of the stream
	lines int64 // newlines in it
}

// segment is one file of a tail.
type segment struct {
	file  File
	name  string
	from  int64 // bytes of the stream before it
	lines int64 // newlines in those
	size  int64
}

const segmentName = "%d-%d-%d" // at, from, lines

func (t *tail) segmentSize() int64 { return max(t.most/segments, 1) }

// write adds p to the stream. After an error the files are worth nothing, but for what last gives.
func (t *tail) write(p []byte) (n int, err error) {
	for n < len(p) {
		if len(t.kept) == 0 || t.kept[len(t.kept)-1].size >= t.segmentSize() {
			if err := t.begin(); err != nil {
				return n, err
			}
		}
		s := &t.kept[len(t.kept)-1]
		piece := p[n:min(int64(len(p)), int64(n)+t.segmentSize()-s.size)]
		if _, err := s.file.WriteAt(piece, s.size); err != nil {
			// What it left is not in the stream: the next process must not find it, not even after a power cut.
			return n, errors.Join(err, s.file.Truncate(s.size), s.file.Sync())
		}
		n += len(piece)
		s.size += int64(len(piece))
		t.end += int64(len(piece))
		t.lines += newlines(piece)
	}
	return n, nil
}

// begin makes the next file, and removes those that are not needed any more.
func (t *tail) begin() error {
	for len(t.kept) > 1 && t.end-t.kept[1].from >= t.most {
		if err := t.drop(1); err != nil {
			return err
		}
	}
	name := fmt.Sprintf(segmentName, t.at, t.end, t.lines)
	file, err := t.files.Create(name)
	if err != nil {
		return err
	}
	t.kept = append(t.kept, segment{file: file, name: name, from: t.end, lines: t.lines})
	return nil
}

// drop removes the oldest n files.
func (t *tail) drop(n int) error {
	var errs []error
	for _, s := range t.kept[:n] {
		errs = append(errs, s.file.Close(), t.files.Remove(s.name))
	}
	t.kept = slices.Delete(t.kept, 0, n)
	return errors.Join(errs...)
}

// close closes the files and leaves them.
func (t *tail) close() error {
	var errs []error
	for _, s := range t.kept {
		errs = append(errs, s.file.Close())
	}
	t.kept = nil
	return errors.Join(errs...)
}

// first is where in the stream the bytes begin that are kept.
func (t *tail) first() int64 {
	if len(t.kept) == 0 {
		return t.end
	}
	return t.kept[0].from
}

// newest finds the newest bytes, n at most: where in the stream they begin, at the beginning of a line if that costs no more
// than half of them, and how many newlines are before.
func (t *tail) newest(n int64) (from, lines int64, err error) {
	from = max(t.end-max(n, 0), t.first())
	if before := make([]byte, 1); from > t.first() {
		if _, err := io.ReadFull(t.reader(from-1), before); err != nil {
			return 0, 0, err
		}
		if before[0] == '\n' {
			lines, err = t.linesBefore(from)
			return from, lines, err
		}
	}
	if from > 0 {
		line := make([]byte, min(t.end-from, mostHeld))
		if _, err := io.ReadFull(t.reader(from), line); err != nil {
			return 0, 0, err
		}
		from += int64(lineStart(line))
	}
	lines, err = t.linesBefore(from)
	return from, lines, err
}

// linesBefore counts the newlines of the stream before from.
func (t *tail) linesBefore(from int64) (int64, error) {
	i := len(t.kept) - 1
	for i > 0 && t.kept[i].from > from {
		i--
	}
	if i < 0 {
		return t.lines, nil
	}
	s := t.kept[i]
	n, _, err := countBreaks(io.NewSectionReader(s.file, 0, from-s.from))
	return s.lines + n, err
}

// reader reads the stream from there to its end.
func (t *tail) reader(from int64) io.Reader {
	var parts []io.Reader
	for _, s := range t.kept {
		if skip := max(from-s.from, 0); skip < s.size {
			parts = append(parts, io.NewSectionReader(s.file, skip, s.size-skip))
		}
	}
	return io.MultiReader(parts...)
}

// countBreaks counts the newlines and the bytes of r.
func countBreaks(r io.Reader) (lines, size int64, err error) {
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	for {
		n, err := r.Read(buf[:])
		lines += newlines(buf[:n])
		size += int64(n)
		switch {
		case err == io.EOF:
			return lines, size, nil
		case err != nil:
			return lines, size, err
		}
	}
}

// openTail takes up the newest tail that an earlier process has left, if it begins at byte least of the log or later; else it gives
// nil. Files that are of no use are removed. A power cut may have taken the end of some: what comes before such a gap is given up.
func openTail(files TailFiles, most, least int64) (*tail, error) {
	names, err := files.List()
	if err != nil {
		return nil, err
	}
	t := &tail{files: files, at: least, most: most}
	for _, name := range names {
		s := segment{name: name}
		var at int64
		if n, err := fmt.Sscanf(name, segmentName, &at, &s.from, &s.lines); n < 3 || err != nil || at < t.at {
			if err := files.Remove(name); err != nil {
				return nil, err
			}
			continue
		}
		if at > t.at {
			if err := t.drop(len(t.kept)); err != nil {
				return nil, err
			}
			t.at = at
		}
		if s.file, err = files.Open(name); err != nil {
			return nil, errors.Join(err, t.close())
		}
		t.kept = append(t.kept, s)
	}
	if len(t.kept) == 0 {
		return nil, nil
	}
	if err := t.measure(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// measure finds out what is in the files.
func (t *tail) measure() error {
	slices.SortFunc(t.kept, func(a, b segment) int { return cmp.Compare(a.from, b.from) })
	gap := 0
	for i := range t.kept {
		s := &t.kept[i]
		if i > 0 && t.end != s.from {
			gap = i
		}
		lines, size, err := countBreaks(io.NewSectionReader(s.file, 0, 1<<62))
		if err != nil {
			return err
		}
		s.size, t.end, t.lines = size, s.from+size, s.lines+lines
	}
	return t.drop(gap)
}
