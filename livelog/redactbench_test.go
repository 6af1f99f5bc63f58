package livelog_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/livelog"
)

// buffer is a writer that copies.
type buffer struct{ b []byte }

func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b[:0], p...)
	return len(p), nil
}

// logText is what builds print.
func logText(size int) []byte {
	random := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "2026-01-02T15:04:05.%03dZ [worker %d] GET https://example.com/api/v1/items?token=%x&q=a%%20b 200 %dms\n", i%1000, i%7, random.Uint64(), random.IntN(999))
		fmt.Fprintf(&b, "  compiling src/module_%d/file_%d.c -O2 -Wall -o build/obj/%x.o ... ok\n", i%13, i, random.Uint32())
	}
	return []byte(b.String()[:size])
}

func randomSecrets(n int) []string {
	random := rand.New(rand.NewPCG(2, 2))
	secrets := make([]string, n)
	for i := range secrets {
		b := make([]byte, 30)
		for j := range b {
			b[j] = byte(random.Uint32())
		}
		secrets[i] = base64.RawURLEncoding.EncodeToString(b)
	}
	return secrets
}

func BenchmarkRedactor(b *testing.B) {
	random := make([]byte, 48<<10)
	rand.NewChaCha8([32]byte{}).Read(random)
	texts := map[string][]byte{"log": logText(64 << 10), "base64": []byte(base64.StdEncoding.EncodeToString(random)), "line": logText(100)}
	for _, name := range []string{"log", "base64", "line"} {
		text := texts[name]
		b.Run(name+"/copy", func(b *testing.B) {
			var w buffer
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				w.Write(text)
			}
		})
		for _, n := range []int{0, 1, 10, 100} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				w := newRedactor(b, randomSecrets(n)...).Writer(&buffer{})
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					w.Write(text)
				}
				w.Close()
			})
		}
		secrets := randomSecrets(10)
		b.Run(name+"/10, full of them", func(b *testing.B) {
			full := []byte(strings.Join(strings.SplitAfter(string(text), "\n"), secrets[3]+" "))
			w := newRedactor(b, secrets...).Writer(&buffer{})
			b.SetBytes(int64(len(full)))
			for b.Loop() {
				w.Write(full)
			}
			w.Close()
		})
	}
}

func BenchmarkRedactorAdd(b *testing.B) {
	secrets := randomSecrets(100)
	for b.Loop() {
		var r livelog.Redactor
		for _, secret := range secrets {
			if err := r.Add(secret); err != nil {
				b.Fatal(err)
			}
		}
	}
}
