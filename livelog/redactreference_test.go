package livelog_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/taskcluster/upload-agent/livelog"
)

// reference is the redactor in its simplest form: it has the whole text, tries every form at every place, and
// gets its forms by trying the encoders of the standard library.
type reference struct{ forms [][][]string }

func newReference(secrets ...string) *reference {
	r := &reference{}
	for _, secret := range secrets {
		secret = strings.TrimSpace(strings.ReplaceAll(secret, "\r\n", "\n"))
		texts := []string{secret}
		for _, line := range strings.Split(strings.ReplaceAll(secret, "\r", "\n"), "\n") {
			if line = strings.TrimSpace(line); len(line) >= 8 {
				texts = append(texts, line)
			}
		}
		for _, text := range texts {
			r.forms = append(r.forms, asText(text), asBase64(text, 0), asBase64(text, 1), asBase64(text, 2))
		}
	}
	return r
}

func asText(secret string) (form [][]string) {
	for len(secret) > 0 {
		r, n := utf8.DecodeRuneInString(secret)
		c := secret[:n]
		secret = secret[n:]
		escaped, _ := json.Marshal(c)
		spellings := []string{c, string(escaped[1 : len(escaped)-1])}
		for _, digits := range []string{"%%%02x", "%%%02X"} {
			percent := ""
			for i := range n {
				percent += fmt.Sprintf(digits, c[i])
			}
			spellings = append(spellings, percent)
		}
		for _, digits := range []string{`\u%04x`, `\u%04X`} {
			units := ""
			for _, unit := range utf16.Encode([]rune{r}) {
				units += fmt.Sprintf(digits, unit)
			}
			spellings = append(spellings, units)
		}
		switch {
		case c == " ":
			spellings = append(spellings, "+")
		case c == "/":
			spellings = append(spellings, `\/`)
		case r == utf8.RuneError:
			spellings = append(spellings, "\uFFFD")
		case c == "\n":
			spellings = append(spellings, " ", "\r\n", `\r\n`, "%0D%0A", "%0d%0a", `\u000d\u000a`, `\u000D\u000A`)
		}
		form = append(form, spellings)
	}
	return form
}

// asBase64 looks which characters change with the bytes around the secret, and to what.
func asBase64(secret string, before int) (form [][]string) {
	first, last := 8*before/6, (8*(before+len(secret))-1)/6
	seen := make([]map[byte]bool, last-first+1)
	for i := range seen {
		seen[i] = map[byte]bool{}
	}
	for around := range 256 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string([]byte{byte(around)}), before) + secret + string([]byte{byte(around), 0, 0})))
		for i := range seen {
			seen[i][encoded[first+i]] = true
		}
	}
	for i, characters := range seen {
		var spellings []string
		for c := range characters {
			all := []string{string(c)}
			switch c {
			case '+':
				all = append(all, "-", "%2B", "%2b", `\u002b`, `\u002B`)
			case '/':
				all = append(all, "_", "%2F", "%2f", `\/`)
			}
			for _, one := range all {
				spellings = append(spellings, one)
				if i > 0 {
					spellings = append(spellings, "\n"+one, "\r\n"+one, `\n`+one, `\r\n`+one)
				}
			}
		}
		form = append(form, spellings)
	}
	padded := base64.StdEncoding.EncodeToString(make([]byte, before+len(secret)))
	for range strings.Count(padded, "=") {
		form = append(form, []string{"", "=", "%3D", "%3d", `\u003d`, `\u003D`})
	}
	return form
}

// redact is what remains of a text that was written in pieces, has ended, and was flushed after some of them.
func (r *reference) redact(text []byte, pieces []string, flushed []bool) string {
	const (
		secret = 1
		shown  = 2
	)
	state := make([]byte, len(text))
	settle := func(from, to int, as byte) {
		for i := from; i < to; i++ {
			if state[i] == 0 {
				state[i] = as
			}
		}
	}
	end := 0
	for i := range len(pieces) + 1 {
		last := i == len(pieces)
		if !last {
			end += len(pieces[i])
		}
		// What is there by now: secrets that are whole, and where one may have begun.
		alive := end
		for begin := range end {
			for _, form := range r.forms {
				to, mayGoOn := matchReference(form, text[:end], begin)
				settle(begin, to, secret)
				if mayGoOn {
					alive = min(alive, begin)
				}
			}
		}
		short := end-alive < livelog.MinSecret
		lineEnds := end > 0 && (text[end-1] == '\n' || text[end-1] == '\r')
		switch {
		case short && (last || flushed[i] || lineEnds):
			settle(0, end, shown)
		case last || flushed[i]:
			settle(alive, end, secret)
			fallthrough
		default:
			settle(0, alive, shown)
		}
	}
	var out bytes.Buffer
	for i, c := range text {
		switch {
		case state[i] == shown:
			out.WriteByte(c)
		case i == 0 || state[i-1] == shown:
			out.WriteString(livelog.Redacted)
		}
	}
	return out.String()
}

// redactAtOnce is redact of a text in a single piece.
func (r *reference) redactAtOnce(text string) string {
	return r.redact([]byte(text), []string{text}, []bool{false})
}

func matchReference(form [][]string, text []byte, begin int) (end int, alive bool) {
	places := []int{begin}
	for _, spellings := range form {
		var next []int
		for _, place := range places {
			for _, spelling := range spellings {
				if strings.HasPrefix(string(text[place:]), spelling) {
					next = append(next, place+len(spelling))
				} else if strings.HasPrefix(spelling, string(text[place:])) {
					alive = true
				}
			}
		}
		slices.Sort(next)
		if places = slices.Compact(next); len(places) == 0 {
			return begin, alive
		}
	}
	return places[len(places)-1], alive
}
