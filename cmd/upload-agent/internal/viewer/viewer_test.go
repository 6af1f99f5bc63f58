package viewer_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/taskcluster/upload-agent/cmd/upload-agent/internal/viewer"
)

// show filters the pieces of a log.
func show(o viewer.Options, pieces ...string) string {
	var out bytes.Buffer
	w := viewer.New(&out, o)
	for _, p := range pieces {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.String()
}

var rows = []struct{ name, log, want string }{
	{"text", "plain ascii\tand\nmore\n", "plain ascii\tand\nmore\n"},
	{"utf-8", "grüße 你好 🎉\n", "grüße 你好 🎉\n"},
	{"colours", "\x1b[1;31mred\x1b[0m \x1b[38;5;12mblue\x1b[m\n", "\x1b[1;31mred\x1b[0m \x1b[38;5;12mblue\x1b[m\n"},
	{"a colour with colons", "\x1b[38:2::1:2:3mx\x1b[0m", "\x1b[38:2::1:2:3mx\x1b[0m"},
	{"reset at the end", "\x1b[31mred", "\x1b[31mred\x1b[0m"},
	{"an 8 bit colour", "\u009b31mred\u009bm", "\x1b[31mred\x1b[m"},
	{"no colour: private", "\x1b[>4;2mx", "x"},
	{"no colour: intermediate", "\x1b[1 mx", "x"},
	{"no colour: too long", "\x1b[" + strings.Repeat("1;", 40) + "mx", "x"},
	{"cursor movement", "a\x1b[2Ab\x1b[10;10Hc\x1b[2Jd\x1b[sf", "abcdf"},
	{"modes", "\x1b[?1049hx\x1b[?25l", "x"},
	{"questions", "\x1b[6n\x1b[c\x1b[>q\x05x", "␅x"},
	{"title", "\x1b]0;evil\x07x", "x"},
	{"title with ST", "\x1b]0;evil\x1b\\x", "x"},
	{"clipboard", "\x1b]52;c;ZXZpbA==\x07x", "x"},
	{"hyperlink", "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\", "text"},
	{"a title without an end", "\x1b]0;evil\nnext line\n", "\nnext line\n"},
	{"a title broken off by a colour", "\x1b]0;evil\x1b[31mred\x1b[m", "\x1b[31mred\x1b[m"},
	{"a title broken off by CAN", "\x1b]0;evil\x18x", "x"},
	{"device control", "\x1bPq#0;2;0;0;0\x1b\\x", "x"},
	{"other strings", "\x1bXa\x1b\\\x1b^b\x1b\\\x1b_c\x1b\\x", "x"},
	{"8 bit title", "\u009d0;evil\u009cx", "x"},
	{"8 bit device control, application, privacy", "\u0090a\u009cx\u009fb\u009cy\u009ec\u009cz\u0098d\u009c", "xyz"},
	{"8 bit others", "a\u0085b\u0084c\u008ed", "abcd"},
	{"8 bit in a sequence", "\x1b[1\u009b31mx\u009bm\x1b\u0085y", "\x1b[31mx\x1b[my"},
	{"8 bit that are no UTF-8", "\x9b31mx\x9d0;evil", "\uFFFD31mx\uFFFD0;evil"},
	{"character sets, reset, keypad", "\x1b(0x\x1bcy\x1b=z\x1b#8", "xyz"},
	{"escape broken off", "\x1b\nx\x1b\x1b[31my\x1b[m\x1bü", "\nx\x1b[31my\x1b[mü"},
	{"control sequence broken off", "\x1b[31\nx\x1b[31üm", "\nxüm"},
	{"unfinished", "x\x1b[31", "x"},
	{"progress", "10%\r20%\r\n", "10%\r\x1b[K20%\r\n"},
	{"progress that clears", "10%\r\x1b[K20%\r\x1b[2K30%\n", "10%\r\x1b[K20%\r\x1b[K30%\n"},
	{"progress with colours", "10%\r\x1b[32m20%\x1b[0m\n", "10%\r\x1b[K\x1b[32m20%\x1b[0m\n"},
	{"progress at the end", "10%\r", "10%\r"},
	{"line ends of Windows", "a\r\nb\r\r\n", "a\r\nb\r\n"},
	{"control characters", "\x00\x07\x08\x0b\x0c\x0e\x7f", "␀␇␈␋␌␎␡"},
	{"broken UTF-8", "a\xffb\xc3(c\xe4\xbdd\xc3", "a\uFFFDb\uFFFD(c\uFFFD\uFFFDd\uFFFD"},
	{"surrogates and too long forms", "\xed\xa0\x80\xc0\x9b", strings.Repeat("\uFFFD", 5)},
	{"turned around", "a\u202eb\u2066c\u2069\u202cd\u200f", "a\uFFFDb\uFFFDc\uFFFD\uFFFDd\u200f"},
}

func TestShow(t *testing.T) {
	for _, row := range rows {
		if got := show(viewer.Options{}, row.log); got != row.want {
			t.Errorf("%s: %q gives %q, want %q", row.name, row.log, got, row.want)
		}
		want := colour.ReplaceAllString(clearing.ReplaceAllString(row.want, ""), "")
		if got := show(viewer.Options{NoColor: true}, row.log); got != want {
			t.Errorf("%s, without colours: %q gives %q, want %q", row.name, row.log, got, want)
		}
	}
}

var (
	colour   = regexp.MustCompile("\x1b\\[[0-9:;]*m")
	clearing = regexp.MustCompile("\x1b\\[K")
)

func FuzzShow(f *testing.F) {
	for _, row := range rows {
		f.Add([]byte(row.log))
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		for _, o := range []viewer.Options{{}, {NoColor: true}} {
			whole := show(o, string(log))
			for i := range log {
				if got := show(o, string(log[:i]), string(log[i:])); got != whole {
					t.Errorf("split at %d: %q, want %q", i, got, whole)
				}
			}
			rest := whole
			if !o.NoColor {
				rest = colour.ReplaceAllString(rest, "")
				rest = strings.ReplaceAll(rest, "\r\x1b[K", "\r")
			}
			if !utf8.ValidString(whole) {
				t.Errorf("%q is not valid", whole)
			}
			for _, r := range rest {
				if r < ' ' && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 || viewer.Turns(r) {
					t.Errorf("%q is shown, with %U", rest, r)
				}
			}
			if i := strings.LastIndex(whole, "\x1b["); !o.NoColor && i >= 0 {
				if last := colour.FindAllString(whole, -1); len(last) > 0 && last[len(last)-1] != "\x1b[0m" && last[len(last)-1] != "\x1b[m" {
					t.Errorf("%q ends with a colour", whole)
				}
			}
		}
	})
}

// A line of any length goes through as it comes.
func TestLongLine(t *testing.T) {
	var out counter
	w := viewer.New(&out, viewer.Options{})
	piece := bytes.Repeat([]byte("x\x1b[31mü"), 4<<10)
	for range 100 {
		w.Write(piece)
		if out.last != len(piece) {
			t.Fatalf("%d bytes were passed on of %d", out.last, len(piece))
		}
	}
	if allocs := testing.AllocsPerRun(10, func() { w.Write(piece) }); allocs > 0 {
		t.Errorf("%v allocations a write", allocs)
	}
}

type counter struct{ last int }

func (c *counter) Write(p []byte) (int, error) { c.last = len(p); return len(p), nil }

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestErrorsArePassedOn(t *testing.T) {
	w := viewer.New(full{}, viewer.Options{})
	if _, err := w.Write([]byte("x")); err != errFull {
		t.Error(err)
	}
	w.Write([]byte("\x1b[31m"))
	if err := w.Close(); err != errFull {
		t.Error(err)
	}
}
