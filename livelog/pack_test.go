package livelog

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
)

func TestPackWhatPays(t *testing.T) {
	noise := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	text := bytes.Repeat([]byte("compiling\n"), 10_000)
	var p packer
	p.start = time.Now()
	for name, c := range map[string]struct {
		data  []byte
		packs bool
	}{
		"text":        {text, true},
		"noise":       {noise, false},
		"much noise":  {append(bytes.Clone(text), bytes.Repeat(noise, 5)...), false},
		"a line":      {[]byte("x\n"), false},
		"little gain": {append(bytes.Clone(noise[:80_000]), text[:20_000]...), false},
	} {
		packed, ok := p.pack(section(c.data))
		if ok != c.packs {
			t.Errorf("%s: packed %t, want %t", name, ok, c.packs)
		}
		if !ok {
			continue
		}
		z, err := gzip.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); !bytes.Equal(got, c.data) || err != nil {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(c.data))
		}
	}
	if _, ok := p.pack(io.NewSectionReader(bytes.NewReader(text), 0, int64(len(text)+1))); ok {
		t.Error("packed a chunk that ends too early")
	}
}

// slow is a log that takes a second of each try to compress it.
type slow struct{ *bytes.Reader }

func (s slow) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		<-time.After(time.Second)
	}
	return s.Reader.ReadAt(p, off)
}

// Where compressing is slow it takes a tenth of the time that passes, in the long run.
func TestPackTakesATenthOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := packer{start: time.Now()}
		packed := 0
		plain := slow{bytes.NewReader([]byte(strings.Repeat("x", 1000)))}
		for time.Since(p.start) < 10*time.Minute {
			if _, ok := p.pack(io.NewSectionReader(plain, 0, plain.Size())); ok {
				packed++
			}
			<-time.After(time.Second)
		}
		if packed < 58 || packed > 64 {
			t.Errorf("compressed for %d s of 600, want about 60", packed)
		}
	})
}
