package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// MaxBytes is the size a document may have. A result with ten thousand artifacts takes some 3 MB.
	MaxBytes = 32 << 20
	// MaxDepth is how deep arrays and objects may nest in a document.
	MaxDepth = 100
	// maxNumber bounds the length of a number and its exponent, so that no arithmetic on it gets expensive.
	maxNumber = 400
)

// fault is a [Problem] before its position is put into lines and columns.
type fault struct {
	path            []string
	name            bool // the position is that of the member's name, not of its value
	pos             int  // offset in the document; -1: wherever path leads
	expected, found string
}

// node is where a value stands in a document, and what is inside it.
type node struct {
	name, pos int // offsets of the member's name and of the value
	members   map[string]*node
	items     []*node
}

// parser reads JSON (RFC 8259) into map[string]any, []any, string, [json.Number], bool and nil. Unlike
// encoding/json it refuses what readers understand differently: a member given twice, bytes that
// are not UTF-8, half a surrogate pair, a number beyond floating point.
type parser struct {
	data  []byte
	whole string // the same: strings of a document are parts of it, so that the larger ones need no thousands of allocations
	pos   int
	depth int
	track bool // build nodes
}

// parse reads a whole document. Only the second reading of a document with problems tracks positions.
func parse(data []byte, track bool) (any, *node, *fault) {
	if f := checkText(data); f != nil {
		return nil, nil, f
	}
	p := &parser{data: data, whole: string(data), track: track}
	p.space()
	if p.pos == len(data) {
		return nil, nil, p.fault("a JSON object", "nothing")
	}
	v, n, f := p.value()
	if f != nil {
		slices.Reverse(f.path) // it was built from the inside out
		return nil, nil, f
	}
	if p.space(); p.pos < len(data) {
		return nil, nil, p.fault("the end of the document", p.next())
	}
	return v, n, nil
}

// checkText refuses what is no UTF-8 text of a reasonable size.
func checkText(data []byte) *fault {
	refuse := func(pos int, found string) *fault {
		return &fault{pos: pos, expected: "UTF-8 text", found: found}
	}
	if len(data) > MaxBytes {
		return &fault{expected: fmt.Sprintf("at most %d bytes", MaxBytes), found: fmt.Sprintf("%d bytes", len(data))}
	}
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return &fault{expected: "UTF-8 text without a byte order mark", found: "a byte order mark"}
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")),
		len(data) > 1 && (data[0] == 0) != (data[1] == 0):
		return refuse(0, "UTF-16")
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return refuse(i, "a NUL byte")
	}
	if utf8.Valid(data) {
		return nil
	}
	for i := 0; ; {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return refuse(i, fmt.Sprintf("the byte 0x%02x", data[i]))
		}
		i += size
	}
}

func (p *parser) fault(expected, found string) *fault {
	return &fault{pos: p.pos, expected: expected, found: found}
}

// next shows the character that is to be read next, and no more: what follows may be a secret.
func (p *parser) next() string {
	if p.pos >= len(p.data) {
		return "the end of the document"
	}
	r, _ := utf8.DecodeRune(p.data[p.pos:])
	return strconv.QuoteRune(r)
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// take steps over c if it comes next.
func (p *parser) take(c byte) bool {
	if p.pos < len(p.data) && p.data[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) value() (any, *node, *fault) {
	n := p.node()
	if p.pos == len(p.data) {
		return nil, nil, p.fault("a JSON value", p.next())
	}
	switch c := p.data[p.pos]; {
	case c == '{' || c == '[':
		if p.depth++; p.depth > MaxDepth {
			return nil, nil, p.fault(fmt.Sprintf("at most %d levels of arrays and objects", MaxDepth), "one more")
		}
		defer func() { p.depth-- }()
		p.pos++
		if c == '{' {
			v, f := p.object(n)
			return v, n, f
		}
		v, f := p.array(n)
		return v, n, f
	case c == '"':
		v, f := p.text()
		return v, n, f
	case c == '-' || '0' <= c && c <= '9':
		v, f := p.number()
		return v, n, f
	}
	for _, l := range literals {
		if bytes.HasPrefix(p.data[p.pos:], l.text) {
			p.pos += len(l.text)
			return l.value, n, nil
		}
	}
	return nil, nil, p.fault("a JSON value", p.next())
}

var literals = []struct {
	text  []byte
	value any
}{{[]byte("true"), true}, {[]byte("false"), false}, {[]byte("null"), nil}}

func (p *parser) node() *node {
	if !p.track {
		return nil
	}
	return &node{name: p.pos, pos: p.pos}
}

func (p *parser) object(n *node) (map[string]any, *fault) {
	members := map[string]any{}
	if p.track {
		n.members = map[string]*node{}
	}
	p.space()
	if p.take('}') {
		return members, nil
	}
	for {
		p.space()
		at := p.pos
		if at == len(p.data) || p.data[at] != '"' {
			return nil, p.fault("a member name in double quotes", p.next())
		}
		name, f := p.text()
		if f != nil {
			return nil, f
		}
		if _, twice := members[name]; twice {
			return nil, &fault{path: []string{name}, pos: at, expected: "each member once", found: "this one again"}
		}
		if p.space(); !p.take(':') {
			return nil, p.fault(`":" after a member name`, p.next())
		}
		p.space()
		v, inner, f := p.value()
		if f != nil {
			f.path = append(f.path, name)
			return nil, f
		}
		members[name] = v
		if p.track {
			inner.name = at
			n.members[name] = inner
		}
		if p.space(); p.take('}') {
			return members, nil
		}
		if !p.take(',') {
			return nil, p.fault(`"," or "}" after a member`, p.next())
		}
	}
}

func (p *parser) array(n *node) ([]any, *fault) {
	items := []any{}
	p.space()
	if p.take(']') {
		return items, nil
	}
	for {
		p.space()
		v, inner, f := p.value()
		if f != nil {
			f.path = append(f.path, strconv.Itoa(len(items)))
			return nil, f
		}
		items = append(items, v)
		if p.track {
			n.items = append(n.items, inner)
		}
		if p.space(); p.take(']') {
			return items, nil
		}
		if !p.take(',') {
			return nil, p.fault(`"," or "]" after an item`, p.next())
		}
	}
}

// text reads a string from its opening quote on.
func (p *parser) text() (string, *fault) {
	p.pos++
	start := p.pos
	var out strings.Builder // only if there are escapes
	for {
		if p.pos == len(p.data) {
			return "", p.fault("the closing quote of a string", p.next())
		}
		switch c := p.data[p.pos]; {
		case c == '"':
			rest := p.whole[start:p.pos]
			p.pos++
			if out.Len() == 0 {
				return rest, nil
			}
			out.WriteString(rest)
			return out.String(), nil
		case c < ' ':
			return "", p.fault("no control character inside a string", p.next())
		case c == '\\':
			if out.Len() == 0 {
				out.Grow(p.pos - start + max(0, bytes.IndexByte(p.data[p.pos:], '"'))) // enough but for a quote in it
			}
			out.WriteString(p.whole[start:p.pos])
			r, f := p.escape()
			if f != nil {
				return "", f
			}
			out.WriteRune(r)
			start = p.pos
		default:
			p.pos++
		}
	}
}

var escapes = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads an escape sequence from its backslash on.
func (p *parser) escape() (rune, *fault) {
	if p.pos+1 < len(p.data) {
		if r, ok := escapes[p.data[p.pos+1]]; ok {
			p.pos += 2
			return r, nil
		}
	}
	first, ok := p.unit(p.pos)
	if !ok {
		return 0, p.fault("an escape sequence of JSON", "another")
	}
	if !utf16.IsSurrogate(first) {
		p.pos += 6
		return first, nil
	}
	second, _ := p.unit(p.pos + 6)
	r := utf16.DecodeRune(first, second)
	if r == utf8.RuneError {
		return 0, p.fault("both halves of a surrogate pair", fmt.Sprintf(`\u%04x alone`, first))
	}
	p.pos += 12
	return r, nil
}

// unit is the UTF-16 unit written as \uXXXX at an offset.
func (p *parser) unit(at int) (rune, bool) {
	if at+6 > len(p.data) || p.data[at] != '\\' || p.data[at+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p.data[at+2:at+6]), 16, 16)
	return rune(n), err == nil
}

func (p *parser) number() (json.Number, *fault) {
	start := p.pos
	digits := func() bool {
		from := p.pos
		for p.pos < len(p.data) && '0' <= p.data[p.pos] && p.data[p.pos] <= '9' {
			p.pos++
		}
		return p.pos > from
	}
	p.take('-')
	if !p.take('0') && !digits() {
		return "", p.fault("a digit", p.next())
	}
	if p.pos < len(p.data) && '0' <= p.data[p.pos] && p.data[p.pos] <= '9' {
		return "", p.fault("no zero in front of a number", p.next())
	}
	if p.take('.') && !digits() {
		return "", p.fault("a digit after the point", p.next())
	}
	exponent := ""
	if p.take('e') || p.take('E') {
		if !p.take('-') {
			p.take('+')
		}
		from := p.pos
		if !digits() {
			return "", p.fault("a digit in the exponent", p.next())
		}
		exponent = string(p.data[from:p.pos])
	}
	number := string(p.data[start:p.pos])
	if !fits(number, exponent) {
		return "", &fault{pos: start, expected: "a number that fits into 64 bits of floating point", found: abbreviate(number)}
	}
	return json.Number(number), nil
}

func fits(number, exponent string) bool {
	if len(number) > maxNumber {
		return false
	}
	if e, err := strconv.Atoi(exponent); exponent != "" && (err != nil || e > maxNumber) {
		return false
	}
	_, err := strconv.ParseFloat(number, 64)
	return err == nil
}
