package livelog_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
	"pgregory.net/rapid"
)

func newRedactor(t testing.TB, secrets ...string) *livelog.Redactor {
	t.Helper()
	r, err := livelog.NewRedactor(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// redacted is what is left of pieces that are written one after the other, at once: on a busy machine
// what is held would be passed on between two of them.
func redacted(t *testing.T, r *livelog.Redactor, pieces ...string) string {
	t.Helper()
	var out strings.Builder
	synctest.Test(t, func(t *testing.T) {
		w := r.Writer(&out)
		for _, piece := range pieces {
			if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatalf("write %q: %d, %v", piece, n, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return out.String()
}

const key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\nAgEAAoIBAQC7VJTUt9Us8cKj\nshort\n-----END PRIVATE KEY-----\n"

// encodings of a secret, each with what of the encoded text is left in clear around it.
func encodings(secret string) map[string]string {
	asJSON, _ := json.Marshal(secret)
	plainJSON := &bytes.Buffer{}
	encoder := json.NewEncoder(plainJSON)
	encoder.SetEscapeHTML(false)
	encoder.Encode(secret)
	all := map[string]string{
		"as it is":        secret,
		"JSON":            string(asJSON[1 : len(asJSON)-1]),
		"JSON, not HTML":  strings.Trim(plainJSON.String(), "\"\n"),
		"JSON, slashes":   strings.ReplaceAll(string(asJSON[1:len(asJSON)-1]), "/", `\/`),
		"query":           url.QueryEscape(secret),
		"path":            url.PathEscape(secret),
		"lower-case URL":  lowerEscapes(url.QueryEscape(secret)),
		"every byte":      "",
		"every character": "",
		"CR LF":           strings.ReplaceAll(secret, "\n", "\r\n"),
		"unquoted":        strings.ReplaceAll(secret, "\n", " "),
	}
	for _, c := range []byte(secret) {
		all["every byte"] += fmt.Sprintf("%%%02X", c)
	}
	for _, c := range secret {
		if c < 0x10000 {
			all["every character"] += fmt.Sprintf(`\u%04x`, c)
		} else {
			all["every character"] += fmt.Sprintf(`\u%04x\u%04x`, 0xD800+(c-0x10000)>>10, 0xDC00+(c-0x10000)&0x3FF)
		}
	}
	for name, encoding := range map[string]*base64.Encoding{
		"base64": base64.StdEncoding, "raw base64": base64.RawStdEncoding, "URL base64": base64.URLEncoding, "raw URL base64": base64.RawURLEncoding,
	} {
		all[name] = encoding.EncodeToString([]byte(secret))
		for _, width := range []int{4, 64} {
			for _, end := range []string{"\n", "\r\n", `\n`} {
				all[fmt.Sprintf("%s in lines of %d with %q", name, width, end)] = inLines(all[name], width, end)
			}
		}
		all["escaped "+name] = url.QueryEscape(all[name])
		all["JSON "+name] = strings.ReplaceAll(all[name], "/", `\/`)
	}
	return all
}

func lowerEscapes(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == '%' {
			copy(b[i:], bytes.ToLower(b[i:i+3]))
		}
	}
	return string(b)
}

func inLines(s string, width int, end string) string {
	var b strings.Builder
	for i := 0; i < len(s); i += width {
		if i > 0 {
			b.WriteString(end)
		}
		b.WriteString(s[i:min(i+width, len(s))])
	}
	return b.String()
}

// Every form, at every split of one Write into two.
func TestRedactorFindsEveryFormAtEverySplit(t *testing.T) {
	for _, secret := range []string{
		"hunter2", "s3cr3t", "a b/c+d=&<\"\\>", "pässwörd 密码", "🔑 of the 🏠", "two\nlines, and\n three", strings.TrimSpace(key),
		"%25%2B", `\\\\\\\\`, "aaaaaaaa", "~.-_!*'()", "\x01\x02tab\tend",
	} {
		r := newRedactor(t, secret)
		tried := map[string]bool{}
		for name, form := range encodings(secret) {
			if tried[form] {
				continue
			}
			tried[form] = true
			const before, after = "<< ", " >>\n"
			text, want := before+form+after, before+livelog.Redacted+after
			for split := range len(text) + 1 {
				want := want
				if seen := split - len(before); seen > 0 && seen < livelog.MinSecret && strings.ContainsAny(form[seen-1:seen], "\r\n") {
					want = before + form[:seen] + livelog.Redacted + after // it was a line
				}
				if got := redacted(t, r, text[:split], text[split:]); got != want {
					t.Fatalf("%q, %s, split at %d of %q:\ngot  %q\nwant %q", secret, name, split, text, got, want)
				}
			}
			if line := strings.IndexAny(form, "\r\n"); line >= 0 && line < livelog.MinSecret {
				continue
			}
			if got := redacted(t, r, strings.Split(text, "")...); got != want {
				t.Errorf("%q, %s, byte by byte: %q", secret, name, got)
			}
		}
	}
}

// Somewhere within what was encoded: only bytes that stand for others too are left.
func TestRedactorFindsBase64AtEveryAlignment(t *testing.T) {
	const secret = "hunter2-and-more?>"
	r := newRedactor(t, secret)
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
		for before := range 9 {
			for after := range 9 {
				text := encoding.EncodeToString([]byte(strings.Repeat("u", before) + secret + strings.Repeat("v", after)))
				got := redacted(t, r, text)
				left, right, found := strings.Cut(got, livelog.Redacted)
				if want := text[:before*8/6]; !found || left != want {
					t.Errorf("%d before, %d after: %q of %q, want %q and a mark", before, after, got, text, want)
				}
				if want := text[min(len(text), (8*(before+len(secret))+5)/6):]; after > 0 && right != want || after == 0 && right != "" {
					t.Errorf("%d before, %d after: %q follows in %q, want %q", before, after, right, got, want)
				}
			}
		}
	}
}

func TestRedactor(t *testing.T) {
	for name, row := range map[string]struct {
		secrets    []string
		text, want string
	}{
		"none":                          {nil, "hunter2", "hunter2"},
		"not there":                     {[]string{"hunter2"}, "hunter 2, hunter", "hunter 2, [redacted]"}, // cut off at the end: 6 bytes of it
		"a few bytes of it at the end":  {[]string{"hunter2"}, "the hunte", "the hunte"},
		"next to each other":            {[]string{"hunter2"}, "<hunter2hunter2>", "<[redacted]>"},
		"apart":                         {[]string{"hunter2"}, "hunter2 hunter2", "[redacted] [redacted]"},
		"overlapping":                   {[]string{"abcdefgh", "efghijkl"}, "(abcdefghijkl)", "([redacted])"},
		"overlapping itself":            {[]string{"abcabcabc"}, "(abcabcabcabc)", "([redacted])"},
		"one within the other":          {[]string{"abcdefgh", "bcdefg"}, "(abcdefgh) (bcdefg)", "([redacted]) ([redacted])"},
		"one the beginning of another":  {[]string{"secret", "secret-and-more"}, "secret-and-less secret-and-more", "[redacted]-and-less [redacted]"},
		"white space around it":         {[]string{"  hunter2\r\n"}, " hunter2 ", " [redacted] "},
		"a line of it":                  {[]string{key}, "  AgEAAoIBAQC7VJTUt9Us8cKj\n  short\n", "  [redacted]\n  short\n"},
		"lines of it, prefixed":         {[]string{"line one\r\nline two"}, "> line one\n> line two\n", "> [redacted]\n> [redacted]\n"},
		"given with CR LF":              {[]string{"a\r\nb c\r\nd"}, "a\nb c\nd", "[redacted]"},
		"an indented line of it":        {[]string{"key:\n    of-four-words"}, "> of-four-words <", "> [redacted] <"},
		"a line with another in base64": {[]string{"user:pass\nword"}, "Basic " + base64.StdEncoding.EncodeToString([]byte("user:pass")), "Basic [redacted]"},
		"mixed escapes":                 {[]string{`a"b c/d`}, `a\"b%20c\u002fd`, "[redacted]"},
		"part of a character":           {[]string{"\xffsecret"}, `"\ufffdsecret" %FFsecret`, `"[redacted]" [redacted]`},
		"not the other case":            {[]string{"hunter2"}, "HUNTER2", "HUNTER2"},
		"nothing":                       {[]string{"hunter2"}, "", ""},
		"the mark":                      {[]string{"redacted"}, "hello [redacted]", "hello [[redacted]]"},
		"broken UTF-8 around it":        {[]string{"hunter2"}, "\xe2\x28hunter2\xff\x00", "\xe2\x28[redacted]\xff\x00"},
	} {
		if got := redacted(t, newRedactor(t, row.secrets...), row.text); got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
		if got := newReference(row.secrets...).redactAtOnce(row.text); got != row.want {
			t.Errorf("%s: the reference says %q, want %q", name, got, row.want)
		}
	}
}

func TestRedactorRefusesShortSecrets(t *testing.T) {
	r, err := livelog.NewRedactor("long enough", "PIN42", "", " \n ", "also long enough")
	var short *livelog.ShortSecretError
	if !errors.Is(err, livelog.ErrShortSecret) || !errors.As(err, &short) || short.Index != 1 || short.Size != 5 {
		t.Errorf("error %v", err)
	}
	if n := strings.Count(err.Error(), "at least 6"); n != 3 || strings.Contains(err.Error(), "PIN42") {
		t.Errorf("error %q", err)
	}
	if got := redacted(t, r, "PIN42, long enough, also long enough"); got != "PIN42, [redacted], [redacted]" {
		t.Errorf("got %q", got)
	}
}

// A secret may be added while its beginning is still held.
func TestRedactorAdd(t *testing.T) { synctest.Test(t, testRedactorAdd) }

func testRedactorAdd(t *testing.T) {
	r := &livelog.Redactor{}
	var out strings.Builder
	w := r.Writer(&out)
	defer w.Close()
	fmt.Fprint(w, "hunter2 hunter2-long ")
	if err := r.Add("hunter2"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "hunter2 hunte")
	if err := r.Add("hunter2", "hunter-three"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "r-three\n")
	if want := "hunter2 hunter2-long [redacted] [redacted]\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestRedactorAddsWhileOthersWrite(t *testing.T) {
	r := &livelog.Redactor{}
	var out syncWriter
	w := r.Writer(&out)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 25 {
				secret := fmt.Sprintf("secret-%d-%03d", i, j)
				if err := r.Add(secret); err != nil {
					t.Error(err)
				}
				fmt.Fprintf(w, "<%s>\n", secret)
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if want := strings.Repeat("<[redacted]>\n", 100); out.String() != want {
		t.Errorf("got %q", out.String())
	}
}

type syncWriter struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncWriter) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Whatever is written in whatever pieces: what comes out is what the reference says.
func TestRedactorIsItsReference(t *testing.T) {
	bubble := func(f func(*testing.T)) { synctest.Test(t, f) }
	rapid.Check(t, func(t *rapid.T) {
		secrets := rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom([]rune("aab%\\/+ \n\r\"é🔑5<")), 1, 9, -1), 1, 4).Draw(t, "secrets")
		var long []string
		for _, s := range secrets {
			if len(strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))) >= livelog.MinSecret {
				long = append(long, s)
			}
		}
		if len(long) == 0 {
			long = []string{`a"a%a/`}
		}
		piece := rapid.Custom(func(t *rapid.T) string {
			secret := rapid.SampledFrom(long).Draw(t, "secret")
			noise := rapid.StringOfN(rapid.SampledFrom([]rune("ab%2B\\u006é \nYQ=/+5")), 0, 4, -1)
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				return noise.Draw(t, "noise")
			case 1:
				return secret
			case 2:
				return secret[:rapid.IntRange(0, len(secret)).Draw(t, "cut")]
			case 3:
				return base64.StdEncoding.EncodeToString([]byte(noise.Draw(t, "before") + secret + noise.Draw(t, "after")))
			default:
				all := encodings(secret)
				names := make([]string, 0, len(all))
				for name := range all {
					names = append(names, name)
				}
				// A map has no order, and the test has to.
				return all[rapid.SampledFrom(sorted(names)).Draw(t, "encoding")]
			}
		})
		text := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "text"), "")
		var pieces []string
		var flushed []bool
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "split")
			pieces, rest = append(pieces, rest[:n]), rest[n:]
			flushed = append(flushed, rapid.IntRange(0, 9).Draw(t, "flush") == 0)
		}
		r, err := livelog.NewRedactor(long...)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		bubble(func(t *testing.T) {
			w := r.Writer(&out)
			for i, piece := range pieces {
				if n, err := io.WriteString(w, piece); n != len(piece) || err != nil {
					t.Fatal(n, err)
				}
				if flushed[i] {
					if err := w.Flush(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
		if got, want := out.String(), newReference(long...).redact([]byte(text), pieces, flushed); got != want {
			t.Fatalf("secrets %q, text %q in %q, flushed %v\ngot  %q\nwant %q", long, text, pieces, flushed, got, want)
		}
	})
}

func FuzzRedactor(f *testing.F) {
	f.Add("hunter2", "abcabcabc", "is hunter2 or abcabcabcabc aHVudGVyMg==", uint64(1))
	f.Add("two\nlines, and", "%25%25", "two\\r\\nlines,+and %25%25%25", uint64(2))
	f.Add(`\\\\\\`, "secret", `\\\\\\\\\\\\\ secre`, uint64(3))
	f.Fuzz(func(t *testing.T, a, b, text string, seed uint64) {
		if len(a)+len(b) > 100 || len(text) > 300 {
			t.Skip()
		}
		var secrets []string
		r := &livelog.Redactor{}
		for _, secret := range []string{a, b} {
			if r.Add(secret) == nil {
				secrets = append(secrets, secret)
			}
		}
		random := rand.New(rand.NewPCG(seed, 0))
		if len(secrets) > 0 { // or it would nearly never be there
			all := encodings(secrets[random.IntN(len(secrets))])
			names := make([]string, 0, len(all))
			for name := range all {
				names = append(names, name)
			}
			at := random.IntN(len(text) + 1)
			text = text[:at] + all[sorted(names)[random.IntN(len(names))]] + text[at:]
		}
		var pieces []string
		for rest := text; rest != ""; {
			n := 1 + random.IntN(min(len(rest), 40))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got, want := redacted(t, r, pieces...), newReference(secrets...).redact([]byte(text), pieces, make([]bool, len(pieces))); got != want {
			t.Errorf("secrets %q, text %q in %q\ngot  %q\nwant %q", secrets, text, pieces, got, want)
		}
	})
}

// A beginning that nothing follows is passed on after a moment, and no more than 5 bytes of it ever are.
func TestRedactorHoldsNothingForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out syncWriter
		w := newRedactor(t, "hunter2!", "name: hun").Writer(&out)
		defer w.Close()
		check := func(want string) {
			t.Helper()
			if got := out.String(); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		fmt.Fprint(w, "a line\n")
		check("a line\n")
		fmt.Fprint(w, "name:")
		check("a line\n")
		<-time.After(99 * time.Millisecond)
		check("a line\n")
		<-time.After(2 * time.Millisecond)
		check("a line\nname:")
		fmt.Fprint(w, " hun") // the rest of it
		check("a line\nname:[redacted]")
		fmt.Fprint(w, "t?\n") // "hun" belongs to the one; it was not the other
		check("a line\nname:[redacted]t?\n")
		fmt.Fprint(w, "hu")
		<-time.After(60 * time.Millisecond)
		fmt.Fprint(w, "n") // not there for long when "hu" has been
		<-time.After(60 * time.Millisecond)
		fmt.Fprint(w, "ter2!\n")
		check("a line\nname:[redacted]t?\nhu[redacted]\n")
		fmt.Fprint(w, "a line: a\nanother: h\n") // an h, an LF and more could be base64
		check("a line\nname:[redacted]t?\nhu[redacted]\na line: a\nanother: h\n")
	})
}

// No byte is held for longer than 200 ms, nor passed on before 100 ms while it may be the beginning of a secret.
func TestRedactorTimeBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			out := &timedWriter{}
			w := newRedactor(t, "aaaaab", "abababac", "baaab%").Writer(out)
			var written []time.Time
			for range 40 {
				written = append(written, time.Now())
				w.Write([]byte{"aab"[random.IntN(3)]})
				<-time.After(time.Duration(random.IntN(60)) * time.Millisecond)
			}
			out.mu.Lock()
			for i, at := range out.at { // up to the first that is blanked
				if held := at.Sub(written[i]); held > 200*time.Millisecond {
					t.Fatalf("byte %d is held for %v", i, held)
				}
			}
			if late := len(out.at); late < len(written) && !out.blanked && time.Since(written[late]) > 200*time.Millisecond {
				t.Fatalf("byte %d is held for more than %v", late, time.Since(written[late]))
			}
			out.mu.Unlock()
			w.Close()
		}
	})
}

// timedWriter notes when each byte came, up to the first that is blanked.
type timedWriter struct {
	mu      sync.Mutex
	at      []time.Time
	blanked bool
}

func (t *timedWriter) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range p {
		if t.blanked = t.blanked || c == '['; !t.blanked {
			t.at = append(t.at, time.Now())
		}
	}
	return len(p), nil
}

// However slowly it is written, and wherever it stops.
func TestSlowSecretsStaySecret(t *testing.T) {
	const secret = "correct horse battery staple"
	r := newRedactor(t, secret)
	for size := 1; size <= len(secret); size++ {
		for length := 1; length <= len(secret); length++ {
			var out strings.Builder
			w := r.Writer(&out)
			fmt.Fprint(w, "> ")
			for at := 0; at < length; at += size {
				fmt.Fprint(w, secret[at:min(at+size, length)])
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			seen := min(length, (livelog.MinSecret-1)/size*size)
			want := "> " + secret[:seen] + livelog.Redacted
			if length < livelog.MinSecret {
				want = "> " + secret[:length]
			}
			if out.String() != want {
				t.Fatalf("the first %d bytes, %d at a time: %q, want %q", length, size, out.String(), want)
			}
		}
	}
}

func TestRedactingWriterEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if anything is left behind
		var out strings.Builder
		w := newRedactor(t, "hunter2").Writer(&out)
		fmt.Fprint(w, "the hunte")
		for range 2 {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
		if out.String() != "the hunte" {
			t.Errorf("got %q", out.String())
		}
		if n, err := w.Write([]byte("r2")); n != 0 || !errors.Is(err, livelog.ErrSealed) {
			t.Errorf("write after close: %d, %v", n, err)
		}
		if err := w.Flush(); err != nil {
			t.Error(err)
		}
	})
}

// fullWriter takes so many bytes, and counts those that it does not.
type fullWriter struct {
	room, lost int
	b          strings.Builder
}

var errFull = errors.New("disk full")

func (f *fullWriter) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	f.b.Write(p[:n])
	f.room -= n
	if n < len(p) {
		f.lost += len(p) - n
		return n, errFull
	}
	return n, nil
}

func TestRedactingWriterOnAFullDisk(t *testing.T) {
	for name, row := range map[string]struct {
		held, text string
		room       int
		n, lost    int
	}{
		"clear":                    {"", "some text.", 4, 4, 6},
		"no room for what is held": {"hunt", "some text.", 2, 0, 12},
		"room for what is held":    {"hunt", "some text.", 6, 2, 8},
		"in a secret":              {"", "some hunter2", 7, 0, 8},
		"in a later piece":         {"", strings.Repeat(".", 200_000), 150_000, 150_000, 50_000},
		"all taken over":           {"", "some hunt", 5, 9, 0},
	} {
		synctest.Test(t, func(t *testing.T) { // or what is held would be passed on while a busy machine is about something else
			below := &fullWriter{room: row.room}
			w := newRedactor(t, "hunter2").Writer(below)
			defer w.Close()
			fmt.Fprint(w, row.held)
			n, err := w.Write([]byte(row.text))
			if n != row.n || (err != nil) != (n < len(row.text)) || err != nil && !errors.Is(err, errFull) {
				t.Errorf("%s: %d, %v, want %d", name, n, err, row.n)
			}
			if below.lost != row.lost {
				t.Errorf("%s: %d bytes are lost, want %d", name, below.lost, row.lost)
			}
		})
	}
}

// What a writer keeps depends on the secrets, not on what is written.
func TestRedactingWriterMemory(t *testing.T) {
	w := newRedactor(t, key, "hunter2").Writer(io.Discard)
	line := []byte(strings.Repeat("x", 1<<20) + " hunter2 -----BEGIN PRIVATE KEY-----\nMII and hun")
	if _, err := w.Write(line); err != nil { // the buffers are made
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() { w.Write(line); w.Write(line[len(line)-3:]); w.Flush() }); n > 10 { // timers
		t.Errorf("%v allocations for each megabyte", n)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}
