package upload_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/upload"
)

// sinkVariable tells the test binary to be the sink of a benchmark: another process, as a storage is.
const sinkVariable = "UPLOAD_TEST_SINK"

func TestMain(m *testing.M) {
	if kind := os.Getenv(sinkVariable); kind != "" {
		sink(kind)
		return
	}
	os.Exit(m.Run())
}

func sink(kind string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	if kind == "https" {
		server := httptest.NewUnstartedServer(nil) // for its certificate
		server.StartTLS()
		l = tls.NewListener(l, server.TLS)
	}
	fmt.Printf("%s://%s\n", kind, l.Addr())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go discard(conn)
		}
	}()
	io.Copy(io.Discard, os.Stdin) // until the parent has ended
}

func startSink(b *testing.B, kind string) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sinkVariable+"="+kind)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stdin.Close(); cmd.Wait() })
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(url)
}

// BenchmarkPut compares Put of a large file, digest included, with a bare PUT of it that proves nothing.
// They take turns, and the ratio of the medians is reported: other work on the machine slows both.
func BenchmarkPut(b *testing.B) {
	const size = 256 << 20
	path := b.TempDir() + "/file"
	if err := os.WriteFile(path, random(size), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, kind := range []string{"http", "https"} {
		b.Run(kind, func(b *testing.B) {
			base := startSink(b, kind)
			transport := upload.NewTransport()
			transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
			plain := &http.Client{Transport: transport}
			c := upload.New(upload.Options{Transport: transport})
			g := grantAt(base+"/a", time.Hour)
			bare := func() {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				req, _ := http.NewRequest(http.MethodPut, g.URL.Reveal(), f)
				req.ContentLength = size
				res, err := plain.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				res.Body.Close()
			}
			put := func() {
				if _, err := c.Put(context.Background(), g, upload.File(path), upload.PutOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			bare()
			put()
			var bares, puts []time.Duration
			for b.Loop() {
				bares, puts = append(bares, took(bare)), append(puts, took(put))
			}
			report(b, bares, puts)
		})
	}
}

// BenchmarkPutSmall compares 512 objects of 4 KiB, 32 at once.
func BenchmarkPutSmall(b *testing.B) {
	base := startSink(b, "http")
	transport := upload.NewTransport()
	plain := &http.Client{Transport: transport}
	c := upload.New(upload.Options{Transport: transport})
	g := grantAt(base+"/a", time.Hour)
	path := b.TempDir() + "/file"
	if err := os.WriteFile(path, random(4<<10), 0o600); err != nil {
		b.Fatal(err)
	}
	many := func(one func()) func() {
		return func() {
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() {
					for range 16 {
						one()
					}
				})
			}
			wg.Wait()
		}
	}
	bare := many(func() {
		f, err := os.Open(path)
		if err != nil {
			b.Error(err)
			return
		}
		req, _ := http.NewRequest(http.MethodPut, g.URL.Reveal(), f)
		req.ContentLength = 4 << 10
		res, err := plain.Do(req)
		if err != nil {
			b.Error(err)
			return
		}
		res.Body.Close()
	})
	put := many(func() {
		if _, err := c.Put(context.Background(), g, upload.File(path), upload.PutOptions{}); err != nil {
			b.Error(err)
		}
	})
	bare()
	put()
	var bares, puts []time.Duration
	for b.Loop() {
		bares, puts = append(bares, took(bare)), append(puts, took(put))
	}
	report(b, bares, puts)
}

func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func report(b *testing.B, bares, puts []time.Duration) {
	slices.Sort(bares)
	slices.Sort(puts)
	bare, put := bares[len(bares)/2], puts[len(puts)/2]
	b.ReportMetric(float64(bare.Microseconds())/1000, "bare-ms")
	b.ReportMetric(float64(put.Microseconds())/1000, "put-ms")
	b.ReportMetric(float64(put)/float64(bare), "put/bare")
	b.ReportMetric(0, "ns/op")
}
