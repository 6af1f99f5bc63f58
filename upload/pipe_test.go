package upload_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/taskcluster/upload-agent/upload"
)

// pipeStorage is a storage behind net.Pipe, so that testing/synctest can fake the time.
type pipeStorage struct {
	fakeStorage
	always step // after the script, instead of storing
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func newPipeStorage(t *testing.T, script ...step) *pipeStorage {
	s := &pipeStorage{conns: make(chan net.Conn), done: make(chan struct{})}
	s.script, s.objects = script, make(map[string][]byte)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		scripted := len(s.script) > 0
		s.mu.Unlock()
		if !scripted && s.always != nil {
			s.always(w, r)
			return
		}
		s.ServeHTTP(w, r)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(s) })
	t.Cleanup(func() { server.Close(); serving.Wait() })
	return s
}

// client is one whose connections all lead here.
func (s *pipeStorage) client(o upload.Options) *upload.Client { return pipeClient(o, s.conns, nil) }

// pipeClient is one whose connections come out of conns.
func pipeClient(o upload.Options, conns chan<- net.Conn, config *tls.Config) *upload.Client {
	transport := upload.NewTransport()
	transport.Proxy = nil
	transport.DisableKeepAlives = true
	transport.TLSClientConfig = config
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case conns <- there:
			return here, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	o.Transport = transport
	return upload.New(o)
}

// Accept, Close and Addr make it a net.Listener.
func (s *pipeStorage) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, io.EOF
	}
}

func (s *pipeStorage) Close() error   { s.once.Do(func() { close(s.done) }); return nil }
func (s *pipeStorage) Addr() net.Addr { return &net.TCPAddr{} }
