package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/taskcluster/upload-agent/schema"
)

// simLog is what was written to a log, and what a reader saw of it.
type simLog struct {
	name string
	read chan struct{} // closed when the reader is through

	mu     sync.Mutex
	pieces []written
	seen   []byte
	ended  error // of the reader
}

// written is one Write: at least sure bytes of text are in the log, at most most.
type written struct {
	text       []byte
	sure, most int
	junk       bool // what comes after those that are sure may be anything
}

// checkLogs: a reader sees what was written, and in the end all of it, or is told why not.
func (h *history) checkLogs() (problems []string) {
	result, missing := schema.Result{}, map[string]string{}
	if h.completed() {
		result, missing, _ = h.result() // checkTruth has looked for the error
	}
	incomplete := members(result, "incompleteLogs")
	for _, log := range h.logs {
		wrong := func(format string, args ...any) {
			problems = append(problems, fmt.Sprintf("log %q: ", log.name)+fmt.Sprintf(format, args...))
		}
		text := h.stored("artifacts/" + log.name)
		if at := log.beginning(log.seen); at >= 0 && !h.marked(log, log.seen) {
			wrong("the reader saw something else than was written, at byte %d of %d", at, len(log.seen))
		}
		whole := log.ended == io.EOF
		if whole && !bytes.Equal(log.seen, text) && !(len(h.scenario.diskFaults) > 0 && bytes.HasPrefix(text, log.seen)) { // a failed fsync ends a log for its readers
			wrong("the reader saw %d bytes to the end, the text has %d", len(log.seen), len(text))
		}
		if log.ended != nil && !whole && !errors.Is(log.ended, context.Canceled) && !h.scenario.mayMislead() {
			wrong("the reader ended with %v", log.ended)
		}
		if limit := h.scenario.logLimit; limit > 0 && len(text) > limit {
			wrong("%d bytes are stored, of at most %d", len(text), limit)
		}
		switch {
		case result.Artifacts[log.name] != "":
			if n, atLeast := markedBytes(text); (n > 0 || atLeast) != (incomplete[log.name] != "") || n > 0 && !strings.Contains(incomplete[log.name], fmt.Sprint(" ", n, " byte")) {
				wrong("%d bytes are marked as missing (at least %t), and result.json says %q", n, atLeast, incomplete[log.name])
			}
			if !log.equal(text) {
				wrong("%d bytes are stored, which are not what was written", len(text))
			}
			if !whole && !h.scenario.mayMislead() {
				wrong("it is stored, but its reader has not come to the end: %d of %d bytes", len(log.seen), len(text))
			}
		case missing[log.name] != "":
			if at := log.beginning(text); at >= 0 {
				wrong("the text is something else than was written, at byte %d of %d", at, len(text))
			}
			if h.scenario.fair() {
				wrong("missing without need: %s", missing[log.name])
			}
		case h.concluded && !h.completed():
			forgotten := text == nil && len(log.seen) == 0 && (h.powerCut || log.surely() == 0)
			if !forgotten && !h.marked(log, text) && len(h.scenario.diskFaults) == 0 && !h.scenario.mayRefuse() {
				wrong("the run was closed without an outcome, and its text of %d bytes does not say so, or is not what was written", len(text))
			}
		}
	}
	return problems
}

// marked says that a text is what was written, as far as it can be kept, and one line of the agent.
func (h *history) marked(log *simLog, text []byte) bool {
	const mark = "upload-agent: "
	at := bytes.LastIndex(text, []byte(mark))
	if last := bytes.LastIndexByte(text, '\n') + 1; at < 0 && len(h.scenario.diskFaults) > 0 && strings.HasPrefix(mark, string(text[last:])) {
		at = last // a full disk has cut the line
	}
	if at < 0 {
		return false
	}
	lines := bytes.Count(text[at:], []byte("\n"))
	if bytes.HasSuffix(text, []byte("\n")) != (lines == 1) || lines != 1 && len(h.scenario.diskFaults) == 0 { // a disk may have taken a part of it
		return false
	}
	line, before := text[at:], text[:at]
	shorter := h.powerCut || len(h.scenario.diskFaults) > 0 // a failed fsync takes what a power cut would
	for {
		if log.equal(before) || shorter && log.beginning(before) < 0 {
			return true
		}
		if rest, ok := withoutTorn(before, line); ok && len(h.scenario.diskFaults) > 0 && len(h.scenario.crashes) > 1 {
			before = rest
			continue
		}
		text, cut := bytes.CutSuffix(before, []byte("\n")) // the line is one of its own
		if cut && (log.equal(text) || shorter && log.beginning(text) < 0) {
			return true
		}
		// An earlier process may have died while it wrote the same line.
		torn := bytes.LastIndexByte(text, '\n') + 1
		if !cut || torn == 0 && len(text) == 0 || !bytes.HasPrefix(line, text[torn:]) || len(h.scenario.crashes) < 2 {
			return false
		}
		before = text[:torn]
	}
}

// withoutTorn takes away the part of a line that the disk of an earlier process took, and the mark that says how much of it is missing.
func withoutTorn(text, line []byte) ([]byte, bool) {
	all := simMark.FindAllSubmatchIndex(text, -1)
	if len(all) == 0 {
		return nil, false
	}
	m := all[len(all)-1]
	if m[1] < len(text) || m[4] < 0 {
		return nil, false
	}
	head := bytes.TrimSuffix(text[:m[0]], []byte("\n"))
	torn := head[bytes.LastIndexByte(head, '\n')+1:]
	if !bytes.HasPrefix(line, torn) || number(text[m[4]:m[5]]) != len(line)-len(torn) {
		return nil, false
	}
	return head[:len(head)-len(torn)], true
}

// surely is how many bytes are in the log at least.
func (l *simLog) surely() (n int) {
	for _, p := range l.pieces {
		n += p.sure
	}
	return n
}

// equal says that a text is what was written.
func (l *simLog) equal(text []byte) bool {
	if simMark.Match(text) {
		return l.accounts(text, true)
	}
	return match(l.pieces, text, false) < 0
}

// beginning gives where a text stops to be the beginning of what was written; -1 if it does not.
func (l *simLog) beginning(text []byte) int {
	at := match(l.pieces, text, true)
	if at >= 0 && l.accounts(text, false) {
		return -1
	}
	return at
}

// match gives where a text stops to be these pieces one after the other (or a beginning of that), -1 if it does not.
// Of each piece there are at least sure bytes, and at most most.
func match(pieces []written, text []byte, beginning bool) int {
	at := 0
	for i, p := range pieces {
		if beginning && len(text) == 0 {
			return -1
		}
		n := min(p.sure, len(text))
		if !bytes.Equal(p.text[:n], text[:n]) || n < p.sure && !beginning {
			return at
		}
		if n < p.sure || p.junk && i == len(pieces)-1 && len(text) <= p.most {
			return -1
		}
		if p.most > p.sure {
			for n < min(p.most, len(text)) && p.text[n] == text[n] {
				n++
			}
			for n > p.sure && match(pieces[i+1:], text[n:], beginning) >= 0 { // as much of it as lets the rest match
				n--
			}
		}
		text, at = text[n:], at+n
	}
	if len(text) > 0 {
		return at
	}
	return -1
}

func TestMatch(t *testing.T) {
	sure := func(text string) written { return written{[]byte(text), len(text), len(text), false} }
	torn := func(text string) written { return written{[]byte(text), 0, len(text), false} }
	part, junk := written{[]byte("abc"), 1, 1, false}, written{[]byte("abc"), 1, 3, true}
	for _, c := range []struct {
		pieces           []written
		text             string
		whole, beginOnly int
	}{
		{nil, "", -1, -1},
		{nil, "x", 0, 0},
		{[]written{sure("abc"), sure("def")}, "abcdef", -1, -1},
		{[]written{sure("abc"), sure("def")}, "abcd", 3, -1},
		{[]written{sure("abc"), sure("def")}, "", 0, -1},
		{[]written{sure("abc"), sure("def")}, "abcdefg", 6, 6},
		{[]written{sure("abc"), sure("def")}, "abdef", 0, 0},
		{[]written{sure("abc"), sure("def")}, "def", 0, 0},
		{[]written{part, sure("def")}, "adef", -1, -1},
		{[]written{part, sure("def")}, "abcdef", 1, 1},
		{[]written{junk}, "axx", -1, -1},
		{[]written{junk}, "axxx", 1, 1},
		{[]written{junk}, "xxx", 0, 0},
		{[]written{torn("abc"), sure("def")}, "def", -1, -1},
		{[]written{torn("abc"), sure("def")}, "abdef", -1, -1},
		{[]written{torn("abc"), sure("def")}, "abcdef", -1, -1},
		{[]written{torn("abc"), sure("def")}, "abxdef", 0, 0},
		{[]written{torn("aab"), sure("aac")}, "aaac", -1, -1},
		{[]written{torn("aab"), torn("aac"), sure("aad")}, "aaaaaad", -1, -1},
		{[]written{sure("abc"), torn("def")}, "abc", -1, -1},
		{[]written{sure("abc"), torn("def")}, "ab", 0, -1},
	} {
		if got := match(c.pieces, []byte(c.text), false); got != c.whole {
			t.Errorf("%q as all of %v: stops at %d, want %d", c.text, c.pieces, got, c.whole)
		}
		if got := match(c.pieces, []byte(c.text), true); got != c.beginOnly {
			t.Errorf("%q as the beginning of %v: stops at %d, want %d", c.text, c.pieces, got, c.beginOnly)
		}
	}
}
