package upload_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/taskcluster/upload-agent/upload"
)

// writesConn counts the writes to a connection.
type writesConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c writesConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// A small file takes one write to the socket, head and body.
func TestSmallBodyIsOneWrite(t *testing.T) {
	var writes atomic.Int64
	c := client(t, func(o *upload.Options) {
		transport := upload.NewTransport()
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return writesConn{conn, &writes}, err
		}
		o.Transport = transport
	})
	s := newStorage(t)
	data := random(4 << 10)
	got, err := c.Put(within(t), s.grant("a"), upload.File(file(t, data)), upload.PutOptions{})
	if err != nil || got.Digest != upload.Sum(data) || got.Size != int64(len(data)) {
		t.Fatalf("receipt %+v, error %v", got, err)
	}
	s.wantObject(t, "a", data)
	if n := writes.Load(); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
}
