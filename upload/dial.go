package upload

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// sendBlock is how much of a large body is read and written at once. Measured on Linux and loopback with a cache of 1 MiB for each core,
	// which it should not exceed: blocks of 512 KiB cost a twelfth more time, of 128 KiB a third more.
	sendBlock = 896 << 10

	// nearBuffer is the socket's send buffer where the storage, or a proxy to it, is on the same machine: with no more than this under way
	// the bytes are still in the processor's cache when they are received, and with less the two sides wait for each other. Measured
	// on Linux with 1 GiB, half of it costs a quarter more time, and the 4 MiB that the kernel comes to by itself a tenth more.
	// Over a network the kernel knows better.
	nearBuffer = 512 << 10
)

var sendBlocks = sync.Pool{New: func() any { return new([sendBlock]byte) }}

// dial connects for the default transport.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 20 * time.Second, KeepAlive: 15 * time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	tcp, ok := conn.(*net.TCPConn)
	if err != nil || !ok {
		return conn, err
	}
	to, ok := tcp.RemoteAddr().(*net.TCPAddr)
	return sendConn{tcp, ok && to.IP.IsLoopback()}, nil
}

// sendConn is a connection that is fast at sending a body that has to be seen on its way, for its digest: sendfile does not show it, and
// reading it a second time costs more than sendfile saves.
type sendConn struct {
	*net.TCPConn
	near bool // to the same machine
}

// ReadFrom sends all of r. Over TLS it is not called: see tlsConn.
func (c sendConn) ReadFrom(r io.Reader) (int64, error) {
	c.prepare()
	return copyBlocks(c.TCPConn, r)
}

// prepare is called when a large body comes.
func (c sendConn) prepare() {
	if c.near {
		_ = c.SetWriteBuffer(nearBuffer) // without it, it is only slower
	}
}

// copyBlocks copies all of r to w, in large blocks.
func copyBlocks(w io.Writer, r io.Reader) (int64, error) {
	block := sendBlocks.Get().(*[sendBlock]byte)
	defer sendBlocks.Put(block)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, block[:])
}
