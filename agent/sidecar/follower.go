package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/livelog"
)

const (
	pieceSize = 64 << 10 // is read and written at once
	passSize  = 4 << 20  // of one log, before it is the turn of the others
)

// pieces are buffers that nobody uses just now.
type pieces struct{ pool sync.Pool }

func (p *pieces) get() *[pieceSize]byte {
	if buf, ok := p.pool.Get().(*[pieceSize]byte); ok {
		return buf
	}
	return new([pieceSize]byte)
}

func (p *pieces) put(buf *[pieceSize]byte) { p.pool.Put(buf) }

// follower copies one file below logs/ to the log of its name, while it grows and whatever is done to it.
//
// When the file at that name is another one than before, the one before is read to its end, and then the new one from its beginning. A file that was cut off or
// written anew is read from its beginning. Where bytes may have been lost that way a line in the log says so.
type follower struct {
	name   string // of the log
	path   string // of its file, below the run folder
	root   *os.Root
	run    *agent.Run
	places *places

	log      io.Writer
	redactor *livelog.RedactingWriter
	out      bytes.Buffer // what the redactor passes on
	taken    int64        // bytes of the log

	now     *source // the file that has the name; nil: none yet
	old     *source // the one that had it before, which somebody may still have open; nil: none
	newest  *source // that the newest place is for
	midline bool    // the log does not end with a line, or nobody knows
	pieces  *pieces
	dead    error // why there is nothing more to do
}

// newFollower takes up a log where an earlier process has left it. others are the files that there are: the one that it was reading may have another name by now.
func newFollower(root *os.Root, run *agent.Run, places *places, pieces *pieces, name, file string, others func(identity) (*os.File, fs.FileInfo)) *follower {
	f := &follower{name: name, path: file, root: root, run: run, places: places, pieces: pieces, log: run.Log(name)}
	f.redactor = run.Redacted(&f.out)
	if _, err := f.log.Write(nil); err != nil {
		f.dead = err
		return f
	}
	f.taken = run.LogTaken(name)
	if f.taken > 0 {
		f.dead = f.takeUp(others)
	}
	return f
}

// takeUp goes on where an earlier process has stopped.
func (f *follower) takeUp(others func(identity) (*os.File, fs.FileInfo)) error {
	f.midline = true
	p, ok := f.places.of(f.name, f.taken)
	if !ok {
		return f.say("the agent was restarted, and does not know how much of %s it had read; it is read from its beginning", f.path)
	}
	find := func(s *spot) *source {
		if s == nil {
			return nil
		}
		file, info := others(s.File)
		if file == nil {
			return nil
		}
		found := newSource(file, info)
		if !found.beginsWith(s.Head) {
			found.close()
			return nil
		}
		found.offset, found.head = s.From, s.Head
		return found
	}
	f.now, f.old = find(p.Now), find(p.Old)
	f.newest = f.now
	main := p.Now
	if p.Late {
		f.newest, main = f.old, p.Old
	}
	if f.taken < p.At {
		if err := f.write(p.Text[len(p.Text)-int(p.At-f.taken):]); err != nil {
			return err
		}
	} else if f.newest != nil {
		f.newest.offset += f.taken - p.At
	}
	if f.newest == nil && main != nil {
		return f.say("while the agent was away, %s was replaced: what was written to the old file after its first %d bytes, if anything, is lost", f.path, main.From+f.taken-p.At)
	}
	return nil
}

// pass copies what there is, but not all at once: more says that there is more.
func (f *follower) pass() (more bool, err error) {
	if f.dead != nil {
		return false, f.dead
	}
	more, err = f.copyAll()
	if err != nil && (errors.Is(err, livelog.ErrSealed) || errors.Is(err, agent.ErrEnded)) {
		f.dead = err
	}
	return more, err
}

func (f *follower) copyAll() (more bool, err error) {
	for _, s := range []*source{f.old, f.now} { // somebody may have the old one still open
		if s == nil {
			continue
		}
		more, err = f.copy(s)
		if errors.Is(err, errCut) {
			return true, f.again(s)
		}
		if more || err != nil {
			return more, err
		}
	}
	return f.look()
}

// look sees whether there is another file now.
func (f *follower) look() (more bool, err error) {
	there, err := f.root.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil // it may come back
	case err != nil:
		return false, withoutPath(err)
	case f.now != nil && os.SameFile(there, f.now.info):
		return false, nil
	}
	file, info, err := openPlain(f.root, f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if f.now != nil { // what was written to it just before it was renamed comes first
		if more, err := f.copy(f.now); more || err != nil {
			_ = file.Close() // only opened
			return true, nil // what is wrong, the next pass finds again
		}
	}
	if f.old != nil {
		f.old.close()
	}
	f.old, f.now = f.now, newSource(file, info)
	return true, nil
}

// again reads a file from its beginning that was cut off.
func (f *follower) again(s *source) error {
	read := s.offset
	s.offset, s.head, s.looked = 0, nil, time.Time{}
	f.newest = s
	return f.say("%s was truncated after %d bytes of it were read; what was written after them and before that, if anything, is lost", f.path, read)
}

// copy copies what a file has to offer, up to passSize.
func (f *follower) copy(s *source) (more bool, err error) {
	size, err := s.size()
	if err != nil || size == s.offset {
		return false, err
	}
	s.learn()
	buf := f.pieces.get()
	defer f.pieces.put(buf)
	defer func() { f.out = bytes.Buffer{} }() // most logs are quiet most of the time
	for left := passSize; left > 0 && s.offset < size; {
		n, err := s.read(buf[:min(pieceSize, size-s.offset)])
		if err != nil || n == 0 {
			return false, err // cut off just now, perhaps
		}
		piece := buf[:n]
		if end := bytes.LastIndexByte(piece, '\n'); end >= 0 && n == len(buf) {
			piece = piece[:end+1] // the redactor likes whole lines
		}
		if err := f.put(s, piece); err != nil {
			return false, err
		}
		left -= len(piece)
	}
	return s.offset < size, nil
}

// put writes what was read.
func (f *follower) put(s *source, piece []byte) error {
	f.out.Reset()
	_, err := f.redactor.Write(piece)
	if err = errors.Join(err, f.redactor.Flush()); err != nil {
		return err // never: it writes to memory
	}
	text := f.out.Bytes()
	same := bytes.Equal(text, piece)
	if same && f.newest != s {
		f.newest = s
		if err := f.note(nil); err != nil {
			return err
		}
	}
	s.offset += int64(len(piece))
	if !same {
		f.newest = s
		if err := f.note(text); err != nil {
			return err
		}
	}
	return f.write(text)
}

// say writes a line of the agent's own, after which the log goes on with what comes next in the newest file.
func (f *follower) say(format string, args ...any) error {
	text := "upload-agent: " + fmt.Sprintf(format, args...) + "\n"
	if f.midline {
		text = "\n" + text
	}
	if err := f.note([]byte(text)); err != nil {
		return err
	}
	return f.write([]byte(text))
}

// note notes that, after text, the log goes on with what comes next in the newest file.
func (f *follower) note(text []byte) error {
	return f.places.note(place{
		Log: f.name, At: f.taken + int64(len(text)), Text: text,
		Now: f.now.spot(), Old: f.old.spot(), Late: f.newest != nil && f.newest == f.old,
	})
}

// write writes to the log.
func (f *follower) write(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	_, err := f.log.Write(text)
	f.taken += int64(len(text))
	f.midline = text[len(text)-1] != '\n'
	if taken := f.run.LogTaken(f.name); taken != f.taken && err == nil { // a secret that was added just now
		f.taken = taken
		return f.note(nil)
	}
	return err
}

func (f *follower) close() {
	for _, s := range []*source{f.old, f.now} {
		if s != nil {
			s.close()
		}
	}
}

// reads reports whether the follower has that file open.
func (f *follower) reads(info fs.FileInfo) bool {
	return f.now != nil && os.SameFile(f.now.info, info) || f.old != nil && os.SameFile(f.old.info, info)
}

// giveUp says in the log that the rest of its file could not be read.
func (f *follower) giveUp(err error) error {
	if f.dead != nil {
		return f.dead
	}
	return f.say("the rest of %s could not be read: %s", f.path, printable(err.Error()))
}
