package content_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/internal/content"
)

const (
	png  = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	elf  = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"
	page = "<!DOCTYPE html><html><body>ü</body></html>"
)

func TestType(t *testing.T) {
	for _, c := range []struct{ name, file, head, want string }{
		// The name's ending goes first.
		{"public/report.html", "", page, "text/html; charset=utf-8"},
		{"REPORT.HTML", "", page, "text/html; charset=utf-8"},
		{"a.txt", "", page, "text/plain; charset=utf-8"},
		{"a.log", "", "\x1b[31mred\x1b[0m \a\b\n", "text/plain; charset=utf-8"},
		{"a.json", "", `{"a": "ü"}`, "application/json"},
		{"a.css", "", "a {}", "text/css; charset=utf-8"},
		{"a.js", "", "x", "text/javascript; charset=utf-8"},
		{"a.svg", "", "<svg/>", "image/svg+xml"},
		{"a.png", "", png, "image/png"},
		{"a.png", "", "no picture", "image/png"},
		{"a.tar.gz", "", "\x1f\x8b\x08", "application/gzip"},
		{"a.yml", "", "a: b", "application/yaml"},
		{"a.txt", "", "", "text/plain; charset=utf-8"},
		{"a.bin", "", "text", "application/octet-stream"},
		// An ending that promises text needs some.
		{"a.txt", "", "\x00\x01", "application/octet-stream"},
		{"a.out", "", elf, "application/x-executable"},
		{"a.json", "", "\x00\x01", "application/octet-stream"},
		{"a.html", "", png, "image/png"},
		// The file's ending is for names without one.
		{"report", "/out/report.html", "x", "text/html; charset=utf-8"},
		{"report.css", "/out/report.html", "x", "text/css; charset=utf-8"},
		{"v1.2", "/out/report.html", "x", "text/html; charset=utf-8"},
		{"report", "/out.html/report", "x", "text/plain; charset=utf-8"},
		// Else the bytes decide.
		{"data", "", png, "image/png"},
		{"data", "", elf, "application/x-executable"},
		{"data", "", "\x00\x01", "application/octet-stream"},
		{"data", "", "%PDF-1.7\n", "application/pdf"},
		{"data", "", "PK\x03\x04\x14\x00\x00\x00", "application/zip"},
		{"data", "", page, "text/html; charset=utf-8"},
		{"data", "", `<?xml version="1.0"?><a/>`, "text/xml; charset=utf-8"},
		{"data", "", `<svg xmlns="http://www.w3.org/2000/svg"></svg>`, "image/svg+xml"},
		{"data", "", `{"a": 1}`, "application/json"},
		{"data", "", "", "text/plain; charset=utf-8"},
		{"data.unheard", "", "text", "text/plain; charset=utf-8"},
		{"Makefile", "", "all:\n\tgo build\n", "text/plain; charset=utf-8"},
		{"script", "", "#!/usr/bin/env python\n", "text/plain; charset=utf-8"},
		{"a,b", "", "a,b\n1,2\n3,4\n", "text/plain; charset=utf-8"},
		{"lines", "", "{\"a\":1}\n{\"a\":2}\n", "text/plain; charset=utf-8"},
		// Charsets.
		{"a.txt", "", "gr\xfc\xdfe", "text/plain"},
		{"data", "", "viele gr\xfc\xdfe aus M\xfcnchen\n", "text/plain"},
		{"a.txt", "", "\xff\xfea\x00b\x00", "text/plain; charset=utf-16le"},
		{"a.txt", "", "\xfe\xff\x00a\x00b", "text/plain; charset=utf-16be"},
		{"a.txt", "", "\xef\xbb\xbftext", "text/plain; charset=utf-8"},
		{"a.txt", "", "cut \xc3", "text/plain"},
	} {
		if got := content.Type([]byte(c.head), true, c.name, c.file); got != c.want {
			t.Errorf("%s (%s) with %.20q is %q, want %q", c.name, c.file, c.head, got, c.want)
		}
		if got := content.TypeByName(c.name, c.file); got != "" && got != c.want {
			t.Errorf("%s (%s) is %q by name, want %q", c.name, c.file, got, c.want)
		}
	}
}

// Of a file that is a picture or the like by its name, nothing need be read.
func TestTypeByName(t *testing.T) {
	for want, names := range map[string][]string{
		"image/png":                {"a.png"},
		"application/octet-stream": {"A.BIN", "b.png"},
		"application/gzip":         {"logs", "/out/logs.tar.gz"},
		"":                         {"a.txt", "b.png"},
	} {
		if got := content.TypeByName(names...); got != want {
			t.Errorf("%q is %q, want %q", names, got, want)
		}
	}
}

// The last character of a head may be cut, and nothing else may be wrong with it.
func TestTypeOfAHeadThatIsCut(t *testing.T) {
	for text, want := range map[string]string{
		"cut \xc3": "text/plain; charset=utf-8", "cut \xe2\x82": "text/plain; charset=utf-8", "cut \xf0\x9f\x98": "text/plain; charset=utf-8",
		"whole ü": "text/plain; charset=utf-8", "not cut \xff": "text/plain", "\xfc before": "text/plain", "": "text/plain; charset=utf-8", "\xc3": "text/plain; charset=utf-8",
		"\x82": "text/plain",
	} {
		if got := content.Type([]byte(text), false, "a.txt"); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func FuzzType(f *testing.F) {
	for _, seed := range []string{page, png, elf, "", "a\xc3", "\xff\xfe", "{"} {
		f.Add([]byte(seed), "a.txt", true)
		f.Add([]byte(seed), "a", false)
	}
	f.Fuzz(func(t *testing.T, head []byte, name string, whole bool) {
		got := content.Type(head, whole, name)
		if again := content.Type(bytes.Clone(head), whole, name); again != got {
			t.Errorf("first %q, then %q", got, again)
		}
		if byName := content.TypeByName(name); byName != "" && byName != got {
			t.Errorf("%q by name, %q by the bytes", byName, got)
		}
		kind, parameters, err := mime.ParseMediaType(got)
		if err != nil || !strings.Contains(kind, "/") {
			t.Errorf("%q is no content type: %v", got, err)
		}
		if charset, ok := parameters["charset"]; ok && charset == "utf-8" && whole && bytes.ContainsRune(head, 0) {
			t.Errorf("%q for binary bytes", got)
		}
	})
}

func TestPack(t *testing.T) {
	var p content.Packer
	random := rand.New(rand.NewPCG(1, 2))
	text := []byte(strings.Repeat("the same line again\n", 20_000))
	for i := range text {
		if random.IntN(50) == 0 {
			text[i] = byte('a' + random.IntN(26))
		}
	}
	var first []byte
	for _, chunk := range []int{len(text), 64 << 10, 1000, 7, len(text)} {
		var b bytes.Buffer
		err := p.Pack(&b, func(w io.Writer) error {
			for rest := text; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
				if _, err := w.Write(rest[:min(chunk, len(rest))]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = bytes.Clone(b.Bytes())
		}
		if !bytes.Equal(b.Bytes(), first) {
			t.Errorf("written %d bytes at a time, the packed bytes are others", chunk)
		}
	}
	z, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, text) {
		t.Errorf("unpacked: %d bytes, %v", len(got), err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("the header holds %+v", z.Header)
	}
	broken := errors.New("broken")
	if err := p.Pack(io.Discard, func(io.Writer) error { return broken }); err != broken {
		t.Errorf("error %v", err)
	}
}

func TestPays(t *testing.T) {
	var p content.Packer
	noise := make([]byte, content.HeadSize)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
		noise[i] = byte(r.Uint32())
	}
	text := []byte(strings.Repeat("the same line again\n", 10_000))[:content.HeadSize]
	for _, c := range []struct {
		contentType string
		size        int64
		head        []byte
		want        bool
	}{
		{"text/plain; charset=utf-8", 1 << 20, text, true},
		{"text/plain", 1 << 20, noise, false}, // whatever it is called
		{"application/octet-stream", 1 << 20, text, true},
		{"image/svg+xml", 1 << 20, text, true},
		{"text/plain", 1023, text[:1023], false},
		{"text/plain", 1024, text[:1024], true},
		{"image/png", 1 << 20, text, false},
		{"video/mp4", 1 << 20, text, false},
		{"audio/mpeg", 1 << 20, text, false},
		{"audio/wav", 1 << 20, text, true},
		{"application/gzip", 1 << 20, text, false},
		{"application/zip; a=b", 1 << 20, text, false},
		{"font/woff2", 1 << 20, text, false},
	} {
		if got := p.Pays(c.contentType, c.size, c.head); got != c.want {
			t.Errorf("%s of %d bytes: %v, want %v", c.contentType, c.size, got, c.want)
		}
	}
	for packed, want := range map[int64]bool{0: true, 900: true, 901: false, 1000: false, 2000: false} {
		if got := content.Saves(1000, packed); got != want {
			t.Errorf("1000 bytes packed to %d: %v, want %v", packed, got, want)
		}
	}
}
