package sidecar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
)

// A log is copied from a file of the worker's to the run's spool, and after a kill, whenever it comes, the next process goes on with the very byte.
// What the spool holds says how much of the log there is (agent.Run.LogTaken). Which byte of which file that is says the
// newest place before it: from there on the two go together, byte for byte. So a place is needed, and written before the bytes are,
// only where they do not: at the beginning of a file, and where what is written is not what was read (a line of ours, a
// secret that was taken out). Then the place holds what is written, so that the next process can write what is missing of it.

// identity tells a file from others.
type identity struct {
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
}

// spot is a byte of a file.
type spot struct {
	File identity `json:"file"`
	From int64    `json:"from"`
	Head []byte   `json:"head,omitempty"` // how the file began at that time: inodes are used again
}

// place says which byte of which file a byte of a log is.
type place struct {
	Log  string `json:"log"`
	At   int64  `json:"at"`             // byte of the log, counted as agent.Run.LogTaken does
	Text []byte `json:"text,omitempty"` // what is written right before it, if that is not what is in the file there
	Now  *spot  `json:"now,omitempty"`  // in the file that has the log's name
	Old  *spot  `json:"old,omitempty"`  // in the one that had it before
	Late bool   `json:"late,omitempty"` // it is the old file that is being read
}

// begins is where in the log what the place is for begins.
func (p place) begins() int64 { return p.At - int64(len(p.Text)) }

// places is the file of the places of a run, in our own state folder. Safe for concurrent use.
type places struct {
	mu   sync.Mutex
	file *os.File
	size int64
	last map[string][]place  // of each log, as an earlier process left them
	seen map[identity][]byte // all files that logs were read from, and how they began
}

// openPlaces opens the file, or makes it. The end of it may be torn: what that place was for was not written.
func openPlaces(path string) (*places, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open places of logs: %w", err)
	}
	p := &places{file: file, last: map[string][]place{}, seen: map[identity][]byte{}}
	if err := p.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("read places of logs %s: %w", path, err), file.Close())
	}
	return p, nil
}

func (p *places) read() error {
	data, err := io.ReadAll(p.file)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			break
		}
		var one place
		if err := json.Unmarshal(line, &one); err != nil {
			break
		}
		p.last[one.Log] = append(p.last[one.Log], one)
		p.see(one)
		p.size += int64(len(line)) + 1
		data = rest
	}
	return p.file.Truncate(p.size)
}

// note makes a place durable. What it is for may be written then.
func (p *places) note(one place) error {
	line, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("note place of log: %w", err)
	}
	line = append(line, '\n')
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.file.WriteAt(line, p.size); err != nil {
		return fmt.Errorf("note place of log %q: %w", one.Log, err)
	}
	if err := p.file.Sync(); err != nil {
		return fmt.Errorf("note place of log %q: %w", one.Log, err)
	}
	p.size += int64(len(line))
	p.see(one)
	return nil
}

// see remembers the files of a place. The caller holds mu, if there are others.
func (p *places) see(one place) {
	for _, s := range []*spot{one.Now, one.Old} {
		if s != nil && len(s.Head) >= len(p.seen[s.File]) {
			p.seen[s.File] = s.Head
		}
	}
}

// headOf is how a file of that identity began that a log was read from.
func (p *places) headOf(id identity) ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	head, ok := p.seen[id]
	return head, ok && len(head) > 0
}

// logs are those that an earlier process has read.
func (p *places) logs() []string { return slices.Sorted(maps.Keys(p.last)) }

// of is the place to go on from in a log of which an earlier process has left so many bytes.
func (p *places) of(log string, taken int64) (place, bool) {
	all := p.last[log]
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].begins() <= taken {
			return all[i], true
		}
	}
	return place{}, false
}

func (p *places) close() error { return p.file.Close() }
