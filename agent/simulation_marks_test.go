package agent_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"testing"
)

// What the agent writes into a log where bytes are missing, and where it has reached its limit.
var simMark = regexp.MustCompile(`upload-agent: (?:(at least )?(\d+) bytes? \((?:at least )?(\d+) lines?\) of this log are missing here: [^\n]*|the log has reached its limit of \d+ bytes; from here on only the newest bytes are kept, and follow when the log ends)\n`)

// account follows a text with marks through what was written.
type account struct {
	pieces []written
	whole  bool // all that was written has to be there, or marked
	steps  int
}

// accounts says that a text is what was written to the log, but for what its marks say; with whole to the end.
func (l *simLog) accounts(text []byte, whole bool) bool {
	a := account{pieces: l.pieces, whole: whole}
	if !whole {
		if last := bytes.LastIndexByte(text, '\n') + 1; bytes.HasPrefix(text[last:], []byte("upload-agent: ")) || bytes.HasPrefix([]byte("upload-agent: "), text[last:]) {
			if a.follow(text[:last], 0, 0) || last > 0 && a.follow(text[:last-1], 0, 0) { // a reader may have seen a part of a mark
				return true
			}
		}
	}
	return a.follow(text, 0, 0)
}

// markedBytes is how many bytes a text says are missing.
func markedBytes(text []byte) (bytes int, atLeast bool) {
	for _, m := range simMark.FindAllSubmatch(text, -1) {
		n, _ := strconv.Atoi(string(m[2])) // 0 for a notice
		bytes += n
		atLeast = atLeast || m[1] != nil
	}
	return bytes, atLeast
}

// follow says whether text may come from byte o of piece i on.
func (a *account) follow(text []byte, i, o int) bool {
	m := simMark.FindSubmatchIndex(text)
	if m == nil {
		return a.text(text, i, o, a.end)
	}
	next := func(i, o int) bool {
		if m[4] < 0 {
			return a.follow(text[m[1]:], i, o)
		}
		return a.mark(text[m[1]:], m[2] >= 0, number(text[m[4]:m[5]]), number(text[m[6]:m[7]]), i, o)
	}
	before, broken := bytes.CutSuffix(text[:m[0]], []byte("\n"))
	return a.text(text[:m[0]], i, o, next) || broken && a.text(before, i, o, next) // a mark is a line of its own
}

func number(text []byte) int {
	n, err := strconv.Atoi(string(text))
	if err != nil {
		panic(err) // they are digits
	}
	return n
}

// end says whether nothing more needs to come.
func (a *account) end(i, o int) bool {
	for ; a.whole && i < len(a.pieces); i, o = i+1, 0 {
		if a.pieces[i].sure > o {
			return false
		}
	}
	return true
}

// text goes over bytes that have to be what was written.
func (a *account) text(text []byte, i, o int, then func(i, o int) bool) bool {
	if a.steps++; a.steps > 1_000_000 {
		return false
	}
	if len(text) == 0 {
		return then(i, o)
	}
	if i == len(a.pieces) {
		return false
	}
	p := a.pieces[i]
	n := 0
	for rest := p.text[o:p.most]; n < len(rest) && n < len(text); n++ {
		if rest[n] != text[n] {
			break
		}
	}
	if n == len(text) && then(i, o+n) {
		return true
	}
	for k := o + n; k >= max(o, p.sure); k-- { // as much of it as lets the rest match
		if a.text(text[k-o:], i+1, 0, then) {
			return true
		}
	}
	return p.junk && len(text) <= p.most-o && i == len(a.pieces)-1 && then(i, p.most)
}

// mark goes over bytes that are missing.
func (a *account) mark(rest []byte, atLeast bool, bytes, lines, i, o int) bool {
	return a.skip(bytes, i, o, func(j, p int) bool {
		if n, known := a.newlines(i, o, j, p); known && n != lines && !atLeast {
			return false
		}
		if !atLeast {
			return a.follow(rest, j, p)
		}
		for ; j < len(a.pieces); j, p = j+1, 0 {
			for ; p < a.pieces[j].most; p++ {
				if a.follow(rest, j, p) {
					return true
				}
			}
		}
		return a.follow(rest, j, 0)
	})
}

// skip goes over exactly n bytes, whatever they are.
func (a *account) skip(n, i, o int, then func(i, o int) bool) bool {
	if a.steps++; a.steps > 1_000_000 {
		return false
	}
	if n == 0 && then(i, o) {
		return true
	}
	if i == len(a.pieces) {
		return false
	}
	p := a.pieces[i]
	if n > 0 && o+n <= p.most && then(i, o+n) {
		return true
	}
	for k := p.most; k >= max(o, p.sure); k-- {
		if k-o <= n && a.skip(n-(k-o), i+1, 0, then) {
			return true
		}
	}
	return false
}

// newlines counts those between two places, if it is known what was written there.
func (a *account) newlines(i, o, j, p int) (n int, known bool) {
	for ; i < len(a.pieces) && i <= j; i, o = i+1, 0 {
		end := a.pieces[i].most
		if i == j {
			end = p
		} else if a.pieces[i].sure < end {
			return 0, false
		}
		n += bytes.Count(a.pieces[i].text[o:end], []byte("\n"))
	}
	return n, true
}

func TestAccount(t *testing.T) {
	sure := func(text string) written { return written{[]byte(text), len(text), len(text), false} }
	torn := func(text string) written { return written{[]byte(text), 0, len(text), false} }
	mark := func(bytes, lines int) string {
		return fmt.Sprintf("upload-agent: %d bytes (%d lines) of this log are missing here: full\n", bytes, lines)
	}
	least := func(bytes int) string {
		return fmt.Sprintf("upload-agent: at least %d bytes (at least 0 lines) of this log are missing here: full\n", bytes)
	}
	for i, c := range []struct {
		pieces []written
		text   string
		whole  bool
		want   bool
	}{
		{[]written{sure("abc"), sure("def")}, "abcdef", true, true},
		{[]written{sure("abc"), sure("def")}, "abcd", true, false},
		{[]written{sure("abc"), sure("def")}, "abcd", false, true},
		{[]written{sure("abc\n"), sure("def\n")}, "ab\n" + mark(3, 1) + "ef\n", true, true},
		{[]written{sure("abc\n"), sure("def\n")}, "ab\n" + mark(3, 2) + "ef\n", true, false},
		{[]written{sure("abc\n"), sure("def\n")}, "abc\n" + mark(1, 0) + "ef\n", true, true},
		{[]written{sure("abc\n"), sure("def\n")}, "ab\n" + mark(2, 1) + "ef\n", true, false},
		{[]written{sure("abc\n"), sure("def\n")}, "ab\n" + mark(6, 2), true, true},
		{[]written{sure("abc\n"), sure("def\n")}, "ab\n" + mark(5, 1), true, false},
		{[]written{sure("abc\n"), sure("def\n")}, "ab\n" + least(1) + "f\n", true, true},
		{[]written{sure("abc\n"), sure("def\n")}, "ab\n" + least(5) + "ef\n", true, false},
		{[]written{sure("abc\n"), sure("def\n")}, "ab\n" + mark(3, 1)[:30], false, true},
		{[]written{sure("abc\n"), torn("def\n"), sure("ghi\n")}, "ab\n" + mark(3, 1) + "hi\n", true, true},
		{[]written{sure("abc\n"), torn("def\n"), sure("ghi\n")}, "abc\nde\n" + mark(0, 0) + "ghi\n", true, true},
		{[]written{sure("abc\n"), torn("def\n"), sure("ghi\n")}, "abc\n" + mark(9, 2) + "hi\n", true, false},
	} {
		if got := (&simLog{pieces: c.pieces}).accounts([]byte(c.text), c.whole); got != c.want {
			t.Errorf("%d: %q, whole %t: %t", i, c.text, c.whole, got)
		}
	}
}
