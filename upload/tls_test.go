package upload_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/upload"
)

// A body of many blocks arrives whole over TLS: none of its records is kept back, and none comes before its turn.
func TestBodyOverTLS(t *testing.T) {
	sent := random(3<<20 + 1)
	var got []byte
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got, _ = io.ReadAll(r.Body) }))
	defer server.Close()
	transport := upload.NewTransport()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots(server)}
	client := upload.New(upload.Options{Transport: transport})
	defer client.CloseIdleConnections()
	for _, size := range []int{1, 16 << 10, 896 << 10, 896<<10 + 1, len(sent)} {
		if _, err := client.Put(t.Context(), grantAt(server.URL+"/object", time.Hour), upload.Bytes(sent[:size]), upload.PutOptions{}); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(got, sent[:size]) {
			t.Errorf("of %d bytes, %d arrived, and not the same", size, len(got))
		}
	}
}

func roots(server *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}

// A Put over TLS to a peer that takes nothing any more ends when it is told to, not when crypto/tls has waited to say goodbye.
func TestCancelOverTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	synctest.Test(t, func(t *testing.T) {
		conns := make(chan net.Conn)
		client := pipeClient(upload.Options{StallTimeout: time.Hour}, conns, &tls.Config{RootCAs: roots(server)})
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn := tls.Server(<-conns, &tls.Config{Certificates: server.TLS.Certificates})
			io.ReadFull(conn, make([]byte, 1<<20)) // and no more
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err := client.Put(ctx, grantAt("https://example.com/object", time.Hour), upload.Bytes(make([]byte, 8<<20)), upload.PutOptions{})
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Second {
			t.Errorf("it ended after %v with %v", took, err)
		}
		<-served
		synctest.Wait()
	})
}
