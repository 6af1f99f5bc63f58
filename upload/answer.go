package upload

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode"
)

// answer is what the storage, or something between it and us, said.
type answer struct {
	status  int
	header  http.Header
	code    string // of an S3 error document
	message string // one line, cut
	body    []byte // as far as it was read
}

const (
	maxAnswer  = 64 << 10 // bytes read of an answer
	maxMessage = 300      // runes kept of a message
)

// readAnswer reads at most maxAnswer bytes of the body. An error means that the answer was cut off on its way,
// so that nothing can be said about it.
func readAnswer(res *http.Response, moved func()) (answer, error) {
	a := answer{status: res.StatusCode, header: res.Header}
	if res.ContentLength == 0 {
		return a, nil
	}
	data, err := io.ReadAll(io.LimitReader(movingReader{res.Body, moved}, maxAnswer))
	if err != nil {
		return a, err
	}
	a.body = data
	// Never decompressed: 64 KiB can become 64 MiB. We ask for identity; who compresses all the same is judged by the status.
	if e := res.Header.Get("Content-Encoding"); e == "" || strings.EqualFold(e, "identity") {
		a.code, a.message = parseAnswer(data)
	}
	return a, nil
}

// movingReader tells of each byte that arrives.
type movingReader struct {
	io.Reader
	moved func()
}

func (r movingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.moved()
	}
	return n, err
}

// parseAnswer finds the code and the message in the body of an answer: an S3 error document, an HTML page or plain text.
// What is cut off or malformed gives what can be found.
func parseAnswer(data []byte) (code, message string) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	if !bytes.HasPrefix(data, []byte("<")) {
		return "", oneLine(string(data))
	}
	if code, message, ok := parseXML(data); ok {
		if !plausibleCode.MatchString(code) {
			code = ""
		}
		return code, oneLine(message)
	}
	if title := htmlTitle.FindSubmatch(data); title != nil {
		return "", oneLine(string(title[1]))
	}
	return "", oneLine(string(htmlTag.ReplaceAll(data, []byte(" "))))
}

var (
	plausibleCode = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	htmlTitle     = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)
	htmlTag       = regexp.MustCompile(`(?s)<[^>]*>`)
)

// parseXML reads <Error><Code/><Message/></Error>, alone or within <ErrorResponse>, in any namespace.
func parseXML(data []byte) (code, message string, ok bool) {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	var within string
	for {
		token, err := d.Token()
		if err != nil {
			return code, message, ok
		}
		switch t := token.(type) {
		case xml.StartElement:
			if !ok && t.Name.Local != "Error" && t.Name.Local != "ErrorResponse" {
				return "", "", false
			}
			ok = true
			if within = t.Name.Local; within == "Code" && code != "" || within == "Message" && message != "" {
				within = "" // the first counts
			}
		case xml.EndElement:
			within = ""
		case xml.CharData:
			switch within {
			case "Code":
				code += strings.TrimSpace(string(t))
			case "Message":
				message += string(t)
			}
		}
	}
}

// oneLine makes a text from outside fit for a message: valid UTF-8, one line, no control characters, not too long.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > maxMessage {
		s = string(runes[:maxMessage]) + "..."
	}
	return s
}
