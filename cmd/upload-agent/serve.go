package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/cmd/internal/page"
	"github.com/taskcluster/upload-agent/schema"
)

// defaultInspector is where the inspector page is served if nothing else is asked for, and if it is free.
const defaultInspector = "127.0.0.1:8452"

// serveFlag asks for the inspector page.
func serveFlag() cli.Flag {
	return &cli.GenericFlag{
		Name: "serve", Value: new(serveAddress), Sources: env("serve"),
		Usage: "serve the inspector page, to be watched in a browser, until Ctrl-C; on `ADDR` if given as --serve=ADDR (default: " + defaultInspector + ", or any port if that is taken)",
	}
}

// serveAddress is the value of --serve, which may stand without one.
type serveAddress struct {
	asked bool
	addr  string // "": the default
}

func (a *serveAddress) String() string   { return a.addr }
func (a *serveAddress) Get() any         { return a }
func (a *serveAddress) IsBoolFlag() bool { return true } // or it would take the next argument
func (a *serveAddress) Set(value string) error {
	switch value {
	case "true", "1":
		*a = serveAddress{asked: true}
		return nil
	case "false", "0", "":
		*a = serveAddress{}
		return nil
	}
	if _, _, err := net.SplitHostPort(value); err != nil {
		return fmt.Errorf("%q is no address; want one like 127.0.0.1:8080", value)
	}
	*a = serveAddress{asked: true, addr: value}
	return nil
}

// inspector is a running inspector page; nil: none was asked for.
type inspector struct {
	url    string // without a slash at the end
	server *http.Server
	end    context.CancelFunc
	done   chan struct{}
	active sync.WaitGroup // requests
	// signals are those that came since the page is up: from then on none ends the program by itself.
	signals chan os.Signal
}

// startInspector serves the page if --serve asks for it.
func startInspector(ctx context.Context, cmd *cli.Command, o page.Options, logger *slog.Logger) (*inspector, error) {
	asked, _ := cmd.Generic("serve").(*serveAddress)
	if asked == nil || !asked.asked {
		return nil, nil
	}
	listener, err := listenInspector(asked.addr)
	if err != nil {
		return nil, fmt.Errorf("serve the inspector page: %w", err)
	}
	if host, _, err := net.SplitHostPort(asked.addr); err == nil && net.ParseIP(host) == nil && host != "" {
		o.Hosts = append(o.Hosts, host)
	}
	o.Logger = logger
	handler := page.New(o)
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	i := &inspector{url: "http://" + shownAddress(listener.Addr()), end: end, done: make(chan struct{}), signals: make(chan os.Signal, 8)}
	i.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			i.active.Add(1)
			defer i.active.Done()
			handler.ServeHTTP(w, r)
		}),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	signal.Notify(i.signals, endSignals...)
	go func() {
		defer close(i.done)
		if err := i.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the inspector page is not served any more", "err", err)
		}
	}()
	return i, nil
}

// listenInspector listens where it was asked to; the default is an address to remember, but any will do.
func listenInspector(addr string) (net.Listener, error) {
	if addr != "" {
		return net.Listen("tcp", addr)
	}
	listener, err := net.Listen("tcp", defaultInspector)
	if errors.Is(err, syscall.EADDRINUSE) {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return listener, err
}

// shownAddress is an address that a browser on this machine can reach.
func shownAddress(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return addr.String()
}

// announce says where to look.
func (i *inspector) announce(io *stdio, path string) {
	if i != nil {
		fmt.Fprintf(io.err, "inspector page: %s%s\n", i.url, path)
	}
}

// wait stays until it is interrupted. A SIGTERM that has already ended the command ends the page too, and so do two Ctrl-C;
// one does not, since one may want to look at what it has interrupted.
func (i *inspector) wait(io *stdio) {
	if i == nil {
		return
	}
	for before := len(i.signals); before > 0; before-- {
		if s := <-i.signals; s == terminate || before > 1 {
			return
		}
	}
	fmt.Fprintf(io.err, "upload-agent: the inspector page stays at %s until Ctrl-C\n", i.url)
	<-i.signals
}

// close ends the page and all who read from it.
func (i *inspector) close() {
	if i == nil {
		return
	}
	signal.Stop(i.signals)
	i.end()
	_ = i.server.Close() // nothing that could be lost
	<-i.done
	i.active.Wait()
}

// inspectorOf has the page show all tasks of an embedded queue.
func inspectorOf(server *agenttest.Server, storage *queue.Storage) page.Options {
	return page.Options{
		Storage: storage,
		Tasks:   func(context.Context) ([]schema.TaskStatus, error) { return server.Tasks(), nil },
		Status:  func(_ context.Context, id schema.TaskID) (schema.TaskStatus, error) { return server.Status(id) },
	}
}
