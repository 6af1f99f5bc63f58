package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent"
)

// streamFlags have the logs of a run served from here.
func streamFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "stream", Usage: "serve the log to readers while it is written, at `ADDR` (host:port; port 0: any); logs.json has the link (default: do not)", Sources: env("stream")},
		&cli.StringFlag{Name: "stream-url", Usage: "how readers reach --stream: `URL`, perhaps of a proxy (default: http:// and the address)", Sources: env("stream-url")},
	}
}

// streamServer serves the log of one run.
type streamServer struct {
	stream *agent.Stream
	server *http.Server
	served chan struct{}
}

// newStreamServer listens as the flags say; nil if they do not.
func newStreamServer(cmd *cli.Command, logger *slog.Logger) (*streamServer, error) {
	address, base := cmd.String("stream"), cmd.String("stream-url")
	if address == "" {
		if base != "" {
			return nil, usageError(errors.New("--stream-url needs --stream, the address to listen at"))
		}
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, usageError(fmt.Errorf("--stream: %w", err))
	}
	stream, err := newStream(listener.Addr().(*net.TCPAddr), base, logger)
	if err != nil {
		return nil, errors.Join(usageError(err), listener.Close())
	}
	s := &streamServer{stream: stream, served: make(chan struct{})}
	s.server = &http.Server{
		Handler: stream, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, // and no WriteTimeout: logs are followed
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelInfo),
	}
	go func() {
		defer close(s.served)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the log is not served any more", "error", err)
		}
	}()
	return s, nil
}

// newStream is for readers who reach address at base.
func newStream(address *net.TCPAddr, base string, logger *slog.Logger) (*agent.Stream, error) {
	if base == "" {
		if address.IP.IsUnspecified() {
			return nil, fmt.Errorf("--stream listens at every address of this machine; say with --stream-url at which one readers reach it")
		}
		base = "http://" + address.String()
	}
	// Any page may read: what lets it is the link, see agent.Stream.
	stream, err := agent.NewStream(base, agent.StreamOptions{Origins: []string{"*"}, Logger: logger})
	if err != nil {
		return nil, fmt.Errorf("--stream-url: %w", err)
	}
	return stream, nil
}

// logs serves the logs of runs; nil if nobody does.
func (s *streamServer) logs() *agent.Stream {
	if s == nil {
		return nil
	}
	return s.stream
}

// close ends the server. What is on its way gets a moment to arrive.
func (s *streamServer) close() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // some connections are not answered in time
	}
	<-s.served
}
