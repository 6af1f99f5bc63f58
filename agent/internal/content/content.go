// Package content tells what the bytes of an artifact are, and packs them.
//
// The same bytes under the same name have the same type on every machine: nothing is asked of the system's own tables.
package content

import (
	"bytes"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"
)

// HeadSize is how many bytes of an artifact are looked at to tell what it is.
const HeadSize = 64 << 10

const (
	binary = "application/octet-stream"
	text   = "text/plain"
)

// Type is the content type of an artifact that begins with head; whole says that this is all of it. names are what the artifact
// is called, and then perhaps its file.
//
// The ending of the first name that has one which we know goes first, unless it promises text and the bytes are none.
// Else the bytes decide, but for text: of that, only a page, a drawing, XML and JSON are called so. Text that is valid
// UTF-8 has a charset; what has another one that its first bytes do not tell has none.
func Type(head []byte, whole bool, names ...string) string {
	charset := charsetOf(head, whole)
	for _, name := range names {
		if t, ok := byExtension[strings.ToLower(path.Ext(name))]; ok && (charset != noText || !isText(t)) {
			return withCharset(t, charset)
		}
	}
	found := mimetype.Detect(head)
	switch t := plain(found.String()); {
	case t == binary, charset == noText && isText(t):
		return binary
	case !isText(t):
		return t
	}
	for ; found != nil; found = found.Parent() {
		if t := plain(found.String()); telling[t] {
			return withCharset(t, charset)
		}
	}
	return withCharset(text, charset)
}

// TypeByName is [Type] where the names alone decide it; "" where the bytes have to be looked at.
func TypeByName(names ...string) string {
	for _, name := range names {
		if t, ok := byExtension[strings.ToLower(path.Ext(name))]; ok {
			if isText(t) {
				return ""
			}
			return t
		}
	}
	return ""
}

// telling are the types of text that its bytes alone may tell.
var telling = map[string]bool{"text/html": true, "text/xml": true, "image/svg+xml": true, "application/json": true}

// plain is a content type without parameters.
func plain(t string) string {
	t, _, _ = strings.Cut(t, ";")
	return t
}

// isText reports whether a type is one of text, and so wants a charset or has it in itself.
func isText(t string) bool {
	t = plain(t)
	return strings.HasPrefix(t, "text/") || strings.HasSuffix(t, "+xml") || strings.HasSuffix(t, "json") || t == "application/xml" || t == "application/yaml"
}

// Charsets besides those with a name.
const (
	noText  = "-" // the bytes are no text
	unknown = ""  // they may be
)

// charsetOf tells how text is written down.
func charsetOf(head []byte, whole bool) string {
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}) && len(head)%2 == 0:
		return "utf-16le"
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}) && len(head)%2 == 0:
		return "utf-16be"
	case bytes.IndexByte(head, 0) >= 0:
		return noText
	}
	if !whole { // the last character may be cut
		for n := 1; n < utf8.UTFMax && n <= len(head); n++ {
			if tail := head[len(head)-n:]; utf8.RuneStart(tail[0]) {
				if !utf8.FullRune(tail) {
					head = head[:len(head)-n]
				}
				break
			}
		}
	}
	if utf8.Valid(head) {
		return "utf-8"
	}
	return unknown
}

// withCharset adds the charset to a type that has such a parameter. JSON is always UTF-8, and XML says by itself.
func withCharset(t, charset string) string {
	if !strings.HasPrefix(t, "text/") || charset == noText || charset == unknown {
		return t
	}
	return t + "; charset=" + charset
}
