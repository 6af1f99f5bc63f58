package page

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

var (
	userinfo = regexp.MustCompile(`://[^\s/"'<>@]*@`)
	// The query of a URL that is signed, also where it stands in another URL.
	signedQuery = regexp.MustCompile(`(?i)(?:\?|%3f)[^\s"'<>]*` + secretParameter + `[^\s"'<>]*`)
	parameter   = regexp.MustCompile(`(?i)` + secretParameter + `[^\s"'<>]*`)
)

const secretParameter = `(?:\b|%[0-9a-f]{2})(?:x-amz-[a-z-]+|x-goog-[a-z-]+|awsaccesskeyid|googleaccessid|signature|sig|access_token|token)(?:=|%3d)`

// Redact takes out of a text what lets its reader in somewhere, for those who show documents elsewhere.
func Redact(text string) string { return redact(text) }

// redact takes out of a text what lets its reader in somewhere: the queries of signed URLs, and users in URLs.
func redact(text string) string {
	text = userinfo.ReplaceAllString(text, "://<redacted>@")
	text = signedQuery.ReplaceAllString(text, "?<redacted>")
	return parameter.ReplaceAllString(text, "<redacted>")
}

// linkable says whether the page may link to a URL: it is one of the web, and nothing in it had to be redacted.
func linkable(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && redact(raw) == raw
}

// unescaped undoes in a broken document what could hide a signature in it.
var unescaped = strings.NewReplacer(`\/`, "/", `\u0026`, "&", `\u003d`, "=", `\u003D`, "=", `\u003f`, "?", `\u003F`, "?")

// readable is a document for people: indented if it is JSON, and redacted.
func readable(data []byte) string {
	var indented bytes.Buffer
	if json.Indent(&indented, data, "", "  ") != nil {
		return redact(unescaped.Replace(strings.ToValidUTF8(string(data), "\uFFFD")))
	}
	var out strings.Builder
	for rest := indented.Bytes(); len(rest) > 0; {
		start := bytes.IndexByte(rest, '"')
		if start < 0 {
			out.Write(rest)
			break
		}
		end := stringEnd(rest, start)
		out.Write(rest[:start])
		out.Write(redactedString(rest[start:end]))
		rest = rest[end:]
	}
	return strings.ToValidUTF8(out.String(), "\uFFFD")
}

// stringEnd is behind the string that starts at start, in what is known to be JSON.
func stringEnd(data []byte, start int) int {
	for i := start + 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// redactedString is a JSON string as it was written, unless something in it has to be redacted.
func redactedString(literal []byte) []byte {
	var text string
	if json.Unmarshal(literal, &text) != nil {
		return nil
	}
	clean := redact(text)
	if clean == text {
		return literal
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // it is not put into markup
	if e.Encode(clean) != nil {
		return nil
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
