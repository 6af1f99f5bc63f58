package agenttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"time"
)

// secure is the storage over TLS, for redirects.
type secure struct {
	certificate *x509.Certificate
	trusted     string // https://host:port
	untrusted   string
}

// Certificate is what a client has to trust to follow redirects to {https}; nil without Options.Redirects.
func (s *Server) Certificate() *x509.Certificate {
	if s.redirects.tls == nil {
		return nil
	}
	return s.redirects.tls.certificate
}

// SecureURL is the base URL of the task storage over TLS, without a slash at the end; "" without Options.Redirects.
func (s *Server) SecureURL() string {
	if s.redirects.tls == nil {
		return ""
	}
	return s.redirects.tls.trusted
}

// serveSecure serves the storage over TLS, with a certificate that can be had and with one that cannot, to whoever has redirects.
func (s *Server) serveSecure() error {
	if len(s.redirects.rules) == 0 {
		return nil
	}
	s.redirects.tls = new(secure)
	for _, url := range []*string{&s.redirects.tls.untrusted, &s.redirects.tls.trusted} {
		pair, err := selfSigned()
		if err != nil {
			return fmt.Errorf("make certificate: %w", err)
		}
		l, err := s.options.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen with TLS: %w", err)
		}
		*url = "https://" + reachable(l.Addr().String())
		s.redirects.tls.certificate = pair.Leaf
		s.serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}}), s.fronted(*url, http.HandlerFunc(s.serveAlternate)))
	}
	return nil
}

// selfSigned makes a certificate for this machine.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62)) // two of the same issuer are told apart by it
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: "agenttest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
