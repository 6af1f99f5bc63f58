package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Server serves a handler until it is closed.
type Server struct {
	listener net.Listener
	server   *http.Server
	served   chan struct{}
}

// Listen serves a handler at an address: host:port, or a port alone ("8453" or ":8453"), which means loopback. Port 0 is any. An
// address that others can reach is served too, but not without a warning: whoever reaches it can read what there is to read.
// On loopback, only requests that ask for this machine by such a name are answered: a page of the web that has its own name point
// here is not. The logger may be nil.
func Listen(address string, h http.Handler, logger *slog.Logger) (*Server, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	address, err := withHost(address)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	at := listener.Addr().(*net.TCPAddr)
	if at.IP.IsLoopback() {
		h = onlyLocal(h)
	} else {
		logger.Warn("health, metrics and the status of all runs can be read without a password by whoever reaches this address", "address", at.String())
	}
	s := &Server{listener: listener, served: make(chan struct{})}
	s.server = &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	logger.Info("serving health, metrics and status", "address", at.String())
	go func() {
		defer close(s.served)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("health, metrics and status are not served any more", "error", err)
		}
	}()
	return s, nil
}

// withHost is an address with loopback for a host where it names none.
func withHost(address string) (string, error) {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return "", fmt.Errorf("listen at %q: want a port, or an address like 127.0.0.1:8453", address)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// onlyLocal answers only who asks for this machine by a name of loopback.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "ask for this machine as localhost", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Address is where it listens, as host:port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close ends the server. What is on its way gets a second to arrive. A nil Server is closed.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = s.server.Close() // some answers did not arrive in time
	}
	<-s.served
	return err
}
