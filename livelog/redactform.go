package livelog

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// form is one way to write a secret: its elements one after the other, each in any of its spellings.
// The shortest text of a form has MinSecret bytes.
type form struct {
	elements []*element
	grams    []gram // that can stand at the beginning
}

// element is what one character can be spelled as.
type element struct{ spellings []string }

// alphabet keeps the elements that forms share.
type alphabet struct {
	characters map[string]*element
	sextets    map[sextet]*element
}

// sextet is a character in base64 of which the bits of mask are known.
type sextet struct {
	bits, mask byte
	first      bool // of the form: no line can end before it
}

// formsOf are the forms of a secret: as text, and in base64 after 0, 1 or 2 other bytes modulo 3.
func (a *alphabet) formsOf(secret string) []form {
	if a.characters == nil {
		a.characters, a.sextets = map[string]*element{}, map[sextet]*element{}
	}
	forms := []form{a.text(secret), a.base64(secret, 0), a.base64(secret, 1), a.base64(secret, 2)}
	for i := range forms {
		forms[i].grams = gramsOf(forms[i].elements)
	}
	return forms
}

// text is the form for people, URLs and JSON.
func (a *alphabet) text(secret string) form {
	var f form
	for len(secret) > 0 {
		_, n := utf8.DecodeRuneInString(secret)
		e := a.characters[secret[:n]]
		if e == nil {
			e = &element{spellingsOf(secret[:n])}
			a.characters[secret[:n]] = e
		}
		f.elements = append(f.elements, e)
		secret = secret[n:]
	}
	return f
}

// shortEscapes are those of JSON.
var shortEscapes = map[string]string{
	`"`: `\"`, `\`: `\\`, `/`: `\/`, "\b": `\b`, "\f": `\f`, "\n": `\n`, "\r": `\r`, "\t": `\t`,
}

// spellingsOf a character, or of a byte that is none. The shortest comes first.
func spellingsOf(c string) []string {
	all := []string{c}
	add := func(spelling string) {
		if !slices.Contains(all, spelling) {
			all = append(all, spelling)
		}
	}
	if short, ok := shortEscapes[c]; ok {
		add(short)
	}
	if c == " " {
		add("+")
	}
	var lower strings.Builder
	for i := range len(c) {
		fmt.Fprintf(&lower, "%%%02x", c[i])
	}
	add(lower.String())
	add(strings.ToUpper(lower.String()))
	r, _ := utf8.DecodeRuneInString(c)
	if r == utf8.RuneError {
		add(string(utf8.RuneError)) // what a decoder makes of a byte that is no character
	}
	units := utf16.AppendRune(nil, r)
	lowerUnits, upperUnits := "", ""
	for _, unit := range units {
		lowerUnits += fmt.Sprintf(`\u%04x`, unit)
		upperUnits += fmt.Sprintf(`\u%04X`, unit)
	}
	add(lowerUnits)
	add(upperUnits)
	if c == "\n" {
		add(" ") // a shell makes it one, where the value is not quoted
		for _, crlf := range []string{"\r\n", `\r\n`, "%0d%0a", "%0D%0A", `\u000d\u000a`, `\u000D\u000A`} {
			add(crlf)
		}
	}
	return all
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// base64 is the form of a secret that follows before bytes, modulo 3. Its first and last characters may
// hold bits of the bytes around the secret: they can be any that has the secret's bits.
func (a *alphabet) base64(secret string, before int) form {
	var f form
	begin, end := 8*before, 8*(before+len(secret)) // in bits
	octet := func(i int) int {
		if i -= before; i < 0 || i >= len(secret) {
			return 0
		}
		return int(secret[i])
	}
	for at := begin / 6 * 6; at < end; at += 6 {
		two := octet(at/8)<<8 | octet(at/8+1)
		known := sextet{bits: byte(two >> (10 - at%8) & 63), mask: 63, first: len(f.elements) == 0}
		known.mask &= 63 >> max(0, begin-at)
		known.mask &^= 63 >> min(6, end-at)
		f.elements = append(f.elements, a.sextet(known))
	}
	for padding := (before + len(secret)) % 3; padding > 0 && padding < 3; padding++ {
		f.elements = append(f.elements, a.padding())
	}
	return f
}

// sextet is the element of a character in base64: a line may end before it.
func (a *alphabet) sextet(known sextet) *element {
	if e := a.sextets[known]; e != nil {
		return e
	}
	e := &element{}
	for bits := range byte(64) {
		if (bits^known.bits)&known.mask != 0 {
			continue
		}
		for _, spelling := range digitSpellings(base64Digits[bits]) {
			e.spellings = append(e.spellings, spelling)
			if !known.first {
				e.spellings = append(e.spellings, "\n"+spelling, "\r\n"+spelling, `\n`+spelling, `\r\n`+spelling)
			}
		}
	}
	a.sextets[known] = e
	return e
}

func digitSpellings(digit byte) []string {
	switch digit {
	case '+':
		return []string{"+", "-", "%2B", "%2b", `\u002b`, `\u002B`}
	case '/':
		return []string{"/", "_", "%2F", "%2f", `\/`}
	}
	return []string{string(digit)}
}

// padding may be there or not.
func (a *alphabet) padding() *element {
	e := a.characters[""] // no character is empty
	if e == nil {
		e = &element{[]string{"", "=", "%3D", "%3d", `\u003d`, `\u003D`}}
		a.characters[""] = e
	}
	return e
}

// match compares a form with what stands in data from start on. end is where the longest text of the form ends,
// -1 if there is none. alive says that data ends within a text that may become one of the form.
func (f *form) match(data []byte, start int) (end int, alive bool) {
	// A character may be spelled like the beginning of an escape, so there can be several places to go on from.
	// Nearly always there is one.
	var a, b [8]int
	places, next := append(a[:0], start), b[:0]
	for _, e := range f.elements {
		next = next[:0]
		for _, place := range places {
			rest := data[place:]
			for _, spelling := range e.spellings {
				switch {
				case len(rest) < len(spelling):
					alive = alive || strings.HasPrefix(spelling, string(rest))
				case string(rest[:len(spelling)]) == spelling:
					if !slices.Contains(next, place+len(spelling)) {
						next = append(next, place+len(spelling))
					}
				}
			}
		}
		if len(next) == 0 {
			return -1, alive
		}
		places, next = next, places
	}
	return slices.Max(places), alive
}
