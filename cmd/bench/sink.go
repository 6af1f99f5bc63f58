package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// sinkAddress is where the sink listens.
type sinkAddress struct {
	Plain, TLS  string // host:port
	Certificate []byte // PEM
}

func (a sinkAddress) url(overTLS bool) string {
	if overTLS {
		return "https://" + a.TLS
	}
	return "http://" + a.Plain
}

// startSink starts the sink in a process of its own. It ends when stop is called.
func startSink() (address sinkAddress, stop func() error, err error) {
	cmd, err := ourselves("sink")
	if err != nil {
		return address, nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return address, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return address, nil, err
	}
	if err := cmd.Start(); err != nil {
		return address, nil, err
	}
	stop = func() error { in.Close(); return cmd.Wait() }
	if err := json.NewDecoder(out).Decode(&address); err != nil {
		return address, nil, fmt.Errorf("start sink: %w", firstOf(stop(), err))
	}
	return address, stop, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ourselves is another process of this program, in the role given.
func ourselves(role string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// runSink is main of the sink. It serves until its input ends.
func runSink(in io.Reader, out io.Writer) error {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer plain.Close()
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer secure.Close()
	certificate, public, err := selfSigned()
	if err != nil {
		return err
	}
	address := sinkAddress{Plain: plain.Addr().String(), TLS: secure.Addr().String(), Certificate: public}
	s := &sink{address: address, sizes: map[string]int64{}}
	go s.listen(plain)
	go s.listen(tls.NewListener(secure, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	if err := json.NewEncoder(out).Encode(address); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

func (s *sink) listen(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed: the process ends
		}
		go s.serve(conn)
	}
}

// serve answers the requests of one connection. net/http's server would take twice the time for a small PUT, time in
// which no peer can be faster than another.
func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 1<<20)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return // the peer has what it wants
		}
		if r.Header.Get("Expect") != "" {
			io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		a := answer{status: http.StatusOK}
		if r.Method == http.MethodPut && r.ContentLength >= 0 {
			if _, err := in.Discard(int(r.ContentLength)); err != nil {
				return
			}
			a.etag = `"00000000000000000000000000000000"`
			if r.URL.Query().Has("uploadId") && r.Header.Get("Authorization") == "" {
				a.etag = `"part"` // the ETag of a part is its MD5 if it looks like one, and ours takes it for that
			}
			s.stored(r)
		} else {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			a = s.answer(r, body)
		}
		if err := a.write(conn, r.Method); err != nil {
			return
		}
	}
}

// answer is what the sink says to one request.
type answer struct {
	status int
	etag   string
	length int64 // of an object, in the answer to HEAD
	kind   string
	body   []byte
}

func (a answer) write(to io.Writer, method string) error {
	length := int64(len(a.body))
	if method == http.MethodHead {
		length = a.length
	}
	head := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Length: %d\r\n", a.status, http.StatusText(a.status), time.Now().UTC().Format(http.TimeFormat), length)
	if a.etag != "" {
		head = append(head, "ETag: "+a.etag+"\r\n"...)
	}
	if a.kind != "" {
		head = append(head, "Content-Type: "+a.kind+"\r\n"...)
	}
	head = append(head, "\r\n"...)
	_, err := to.Write(append(head, a.body...))
	return err
}

// selfSigned makes a certificate for loopback, and gives its public part as PEM too.
func selfSigned() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, public, nil
}
