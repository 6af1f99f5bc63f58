// Package viewer shows the bytes of a log on a terminal. They may come from anybody: they do not steer the terminal.
//
// What passes: text in UTF-8, tabs and line breaks, and sequences that set colours and styles (SGR). What a line has before a carriage
// return is replaced by what comes after it, as with progress bars. All other escape sequences are dropped: cursor movement, modes,
// titles, the clipboard, hyperlinks, images, and what a terminal would answer. A title and the like ends with its line at the latest, so that one without
// an end hides no more than that. Other control characters become visible, as the symbols that Unicode has for them; a broken piece of UTF-8, and
// what turns the direction of text around, becomes U+FFFD.
//
// It looks at each byte once, gives the same for every split of them, and holds back as much as an unfinished character
// or colour, so that lines may be of any length. Who wants the very bytes does not use it.
package viewer

import (
	"io"
	"unicode/utf8"
)

// Options of a [Writer]. The zero value works.
type Options struct {
	NoColor bool // let no colours pass, nor any other escape sequence
}

// Writer filters what is written to it. It is for one goroutine at a time. Close it after the last Write.
type Writer struct {
	to  io.Writer
	o   Options
	out []byte

	state    state
	partial  [utf8.UTFMax]byte // of a character
	missing  int               // bytes in partial
	params   []byte            // of a control sequence, up to maxParams
	bad      bool              // that sequence is none that passes
	returned bool              // a carriage return came last
	coloured bool              // a colour may still be set
}

// maxParams is how long the parameters of a colour may be; real ones have some twenty bytes.
const maxParams = 64

type state int

const (
	ground     state = iota
	escape           // after ESC
	escapeMore       // after ESC and intermediate bytes
	control          // in a control sequence (CSI)
	text             // in a control string (OSC, DCS, SOS, PM, APC)
	textEscape       // after ESC in one
)

// New makes a Writer to a terminal.
func New(to io.Writer, o Options) *Writer { return &Writer{to: to, o: o} }

// Write shows p. It has written all of p when the error is nil.
func (w *Writer) Write(p []byte) (int, error) {
	w.out = w.out[:0]
	for _, b := range p {
		w.byte(b)
	}
	if len(w.out) == 0 {
		return len(p), nil
	}
	if _, err := w.to.Write(w.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close shows what was held back and sets the colours back. It does not close the terminal.
func (w *Writer) Close() error {
	w.out = w.out[:0]
	if w.missing > 0 {
		w.broken()
	}
	if w.returned {
		w.out = append(w.out, '\r')
		w.returned = false
	}
	if w.coloured {
		w.out = append(w.out, "\x1b[0m"...)
		w.coloured = false
	}
	w.state = ground
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.to.Write(w.out)
	return err
}

// byte puts characters together.
func (w *Writer) byte(b byte) {
	if w.missing == 0 && b < utf8.RuneSelf {
		w.rune(rune(b))
		return
	}
	w.partial[w.missing] = b
	w.missing++
	for w.missing > 0 && utf8.FullRune(w.partial[:w.missing]) {
		r, size := utf8.DecodeRune(w.partial[:w.missing])
		w.missing = copy(w.partial[:], w.partial[size:w.missing])
		w.rune(r)
	}
}

// broken gives up on a character that has no end.
func (w *Writer) broken() {
	for n := w.missing; n > 0; n-- {
		w.rune(utf8.RuneError)
	}
	w.missing = 0
}

// rune takes the next character, in whatever it is part of.
func (w *Writer) rune(r rune) {
	if r >= 0x80 && r < 0xa0 && w.state != ground { // a control character of eight bits ends what it is in, and may begin something
		w.state = ground
	}
	switch w.state {
	case ground:
		w.plain(r)
	case escape, escapeMore:
		w.afterEscape(r)
	case control:
		w.inControl(r)
	case text, textEscape:
		w.inText(r)
	}
}

// plain takes a character that is in no sequence.
func (w *Writer) plain(r rune) {
	switch {
	case r == 0x1b:
		w.state = escape
	case r == 0x9b:
		w.startControl()
	case r == 0x90 || r == 0x98 || r >= 0x9d && r <= 0x9f:
		w.state = text
	case r >= 0x80 && r < 0xa0: // the others stand alone
	case r == '\r':
		w.returned = true
	default:
		w.show(r)
	}
}

// show gives out a character.
func (w *Writer) show(r rune) {
	w.replaceLine(r)
	switch {
	case r == '\n' || r == '\t':
	case r < ' ':
		r += 0x2400 // the symbol for it
	case r == 0x7f:
		r = 0x2421
	case Turns(r):
		r = utf8.RuneError
	}
	w.out = utf8.AppendRune(w.out, r)
}

// replaceLine gives out a carriage return that came before, and clears the line for what follows it, if that is next and no line break.
func (w *Writer) replaceLine(next rune) {
	if !w.returned {
		return
	}
	w.returned = false
	w.out = append(w.out, '\r')
	if next != '\n' && !w.o.NoColor {
		w.out = append(w.out, "\x1b[K"...)
	}
}

// Turns reports whether r turns the direction of text around, so that it reads as something else.
func Turns(r rune) bool { return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 }

// again takes a character that has ended a sequence before its time.
func (w *Writer) again(r rune) {
	w.state = ground
	if r != 0x18 && r != 0x1a { // CAN and SUB do that, and nothing else
		w.plain(r)
	}
}

func (w *Writer) startControl() { w.state, w.params, w.bad = control, w.params[:0], false }

func (w *Writer) afterEscape(r rune) {
	first := w.state == escape
	switch {
	case first && r == '[':
		w.startControl()
	case first && (r == ']' || r == 'P' || r == 'X' || r == '^' || r == '_'):
		w.state = text
	case r >= 0x20 && r < 0x30:
		w.state = escapeMore
	case r >= 0x30 && r < 0x7f:
		w.state = ground
	default:
		w.again(r)
	}
}

func (w *Writer) inControl(r rune) {
	switch {
	case r >= 0x40 && r < 0x7f:
		w.state = ground
		if r == 'm' && !w.bad && !w.o.NoColor {
			w.colour()
		}
	case r >= '0' && r <= ';' && len(w.params) < maxParams: // digits, colons and semicolons
		w.params = append(w.params, byte(r))
	case r >= 0x20 && r < 0x40:
		w.bad = true
	default:
		w.again(r)
	}
}

// colour lets a control sequence pass.
func (w *Writer) colour() {
	w.replaceLine(0)
	w.out = append(w.out, "\x1b["...)
	w.out = append(w.out, w.params...)
	w.out = append(w.out, 'm')
	w.coloured = len(w.params) > 0 && string(w.params) != "0"
}

func (w *Writer) inText(r rune) {
	switch {
	case r == '\n' || r == '\r' || r == 0x18 || r == 0x1a:
		w.again(r)
	case w.state == textEscape && r == '\\', r == 0x07:
		w.state = ground
	case w.state == textEscape: // as terminals have it: another sequence begins
		w.state = escape
		w.afterEscape(r)
	case r == 0x1b:
		w.state = textEscape
	}
}
