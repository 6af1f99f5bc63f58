package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// What the storage gets is what was signed, and nothing that would break a signature.
func TestRequestIsWhatWasSigned(t *testing.T) {
	want := func(t *testing.T, s *fakeStorage, want http.Header) {
		t.Helper()
		got := s.seen()[0].Header.Clone()
		got.Del("User-Agent")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("headers (-want +got):\n%s", d)
		}
		if q := s.seen()[0].URL.Query().Get("Signature"); q != canary {
			t.Errorf("the query arrived as %q", q)
		}
	}
	t.Run("content type", func(t *testing.T) {
		s := newStorage(t)
		g := s.grant("a")
		g.ContentType = "Application/JSON" // as signed, letter for letter
		if _, err := client(t).Put(within(t), g, upload.Bytes([]byte("x")), upload.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		want(t, s, http.Header{"Accept-Encoding": {"identity"}, "Content-Length": {"1"}, "Content-Type": {"Application/JSON"}})
	})
	t.Run("no content type", func(t *testing.T) {
		s := newStorage(t)
		g := s.grant("a")
		g.ContentType = ""
		if _, err := client(t).Put(within(t), g, upload.Bytes([]byte("{}")), upload.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		want(t, s, http.Header{"Accept-Encoding": {"identity"}, "Content-Length": {"2"}})
	})
	t.Run("more", func(t *testing.T) {
		s := newStorage(t)
		g := s.grant("a")
		g.Header = http.Header{"x-amz-acl": {"public-read"}, "Host": {"bucket.test"}, "content-type": {"ignored"}}
		if _, err := client(t).Put(within(t), g, upload.File(file(t, random(100_000))), upload.PutOptions{ContentEncoding: "gzip"}); err != nil {
			t.Fatal(err)
		}
		want(t, s, http.Header{
			"Accept-Encoding": {"identity"}, "Content-Length": {"100000"}, "Content-Type": {"text/plain"},
			"Content-Encoding": {"gzip"}, "Expect": {"100-continue"}, "X-Amz-Acl": {"public-read"},
		})
		if host := s.seen()[0].Host; host != "bucket.test" {
			t.Errorf("Host is %q", host)
		}
		if d := cmp.Diff(http.Header{"x-amz-acl": {"public-read"}, "Host": {"bucket.test"}, "content-type": {"ignored"}}, g.Header); d != "" {
			t.Errorf("the grant was changed:\n%s", d)
		}
	})
}

func TestGrantThatCannotBeUsed(t *testing.T) {
	for name, g := range map[string]upload.Grant{
		"none":      {},
		"not a URL": {URL: schema.NewSignedURL("http://%zz?Signature=" + canary)},
		"no host":   {URL: schema.NewSignedURL("/a?Signature=" + canary)},
		"scheme":    {URL: schema.NewSignedURL("ftp://storage.test/a?Signature=" + canary)},
		"header":    {URL: schema.NewSignedURL("http://storage.test/a?Signature=" + canary), ContentType: "text/plain\r\nX: y"},
	} {
		_, err := client(t).Put(within(t), g, upload.Bytes([]byte("x")), upload.PutOptions{})
		if e := wantError(t, err, upload.ErrGrant, 0); strings.Contains(e.Error(), canary) {
			t.Errorf("%s: %v", name, e)
		}
	}
}

func TestContextEnds(t *testing.T) {
	why := errors.New("the claim is lost")
	down := refuse(503, "SlowDown", "Please reduce your request rate.")

	t.Run("in a pause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(within(t))
		s := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
			down(w, r)
			time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
		})
		c := client(t, func(o *upload.Options) { o.MinBackoff, o.MaxBackoff = time.Hour, time.Hour })
		_, err := c.Put(ctx, s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
		for _, kind := range []error{why, context.Canceled, upload.ErrUnavailable} {
			wantError(t, err, kind, 1)
		}
		s.wantRequests(t, 1)
	})
	t.Run("in an attempt", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(within(t))
		s := newStorage(t, down, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			cancel(why)
			<-r.Context().Done()
		})
		_, err := client(t).Put(ctx, s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
		for _, kind := range []error{why, context.Canceled, upload.ErrUnavailable} {
			wantError(t, err, kind, 2)
		}
		if e := wantError(t, err, why, 2); e.Code != "SlowDown" {
			t.Errorf("what failed before the end is lost: %v", e)
		}
		s.wantRequests(t, 2)
	})
	t.Run("before the first", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(within(t))
		cancel(why)
		s := newStorage(t)
		_, err := client(t).Put(ctx, s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{})
		if e := wantError(t, err, why, 0); e.Kind != nil {
			t.Errorf("kind is %v", e.Kind)
		}
		s.wantRequests(t, 0)
	})
	t.Run("while renewing", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(within(t))
		s := newStorage(t, refuse(403, "AccessDenied", "Request has expired"))
		_, err := client(t).Put(ctx, s.grant("a"), upload.Bytes([]byte("x")), upload.PutOptions{
			Renew: func(ctx context.Context) (upload.Grant, error) {
				cancel(why)
				<-ctx.Done()
				return upload.Grant{}, ctx.Err()
			},
		})
		for _, kind := range []error{why, context.Canceled, upload.ErrExpired} {
			wantError(t, err, kind, 1)
		}
		s.wantRequests(t, 1)
	})
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newPipeStorage(t)
			s.always = refuse(503, "SlowDown", "Slow down.", "Retry-After", "3600")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := s.client(upload.Options{}).Put(ctx, grantAt("http://storage.test/a", time.Hour), upload.Bytes([]byte("x")), upload.PutOptions{})
			var e *upload.Error
			if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, upload.ErrUnavailable) {
				t.Fatalf("error is %v", err)
			}
			// Earlier than asked, so that a Retry-After cannot outlast the deadline; but not in a frenzy.
			if e.Attempts < 3 || e.Attempts > 12 {
				t.Errorf("%d attempts", e.Attempts)
			}
		})
	})
}

func TestGiveUpAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeStorage(t)
		s.always = refuse(503, "SlowDown", "Slow down.")
		start := time.Now()
		_, err := s.client(upload.Options{}).Put(t.Context(), grantAt("http://storage.test/a", time.Hour), upload.Bytes([]byte("x")),
			upload.PutOptions{GiveUpAfter: 20 * time.Second})
		if !errors.Is(err, upload.ErrGaveUp) || !errors.Is(err, upload.ErrUnavailable) || errors.Is(err, upload.ErrExpired) {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(start); took < 15*time.Second || took > 20*time.Second {
			t.Errorf("gave up after %v, want nearly 20s", took)
		}
	})
}

// The library's 15 minutes must not end anything, and the pauses stay within bounds.
func TestKeepsTryingForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeStorage(t)
		start := time.Now()
		var pauses []time.Duration
		last := start
		s.always = func(w http.ResponseWriter, r *http.Request) {
			pauses, last = append(pauses, time.Since(last)), time.Now()
			if time.Since(start) > 3*time.Hour {
				s.store(w, r)
				return
			}
			plain(503)(w, r)
		}
		got, err := s.client(upload.Options{}).Put(t.Context(), grantAt("http://storage.test/a", 24*time.Hour), upload.Bytes([]byte("x")), upload.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Attempts != len(pauses) || got.Attempts < 200 || got.Attempts > 800 {
			t.Errorf("%d attempts in 3 hours", got.Attempts)
		}
		for i, pause := range pauses[1:] {
			if pause < 100*time.Millisecond || pause > 46*time.Second {
				t.Errorf("pause %d is %v", i, pause)
			}
		}
		s.wantObject(t, "a", []byte("x"))
	})
}

func TestProxyErrors(t *testing.T) {
	through := func(t *testing.T, proxy string, log *slog.Logger) *upload.Client {
		return client(t, func(o *upload.Options) {
			transport := upload.NewTransport()
			transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://user:" + canary + "@" + proxy) }
			o.Transport, o.Logger = transport, log
		})
	}
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme+" 407", func(t *testing.T) {
			proxy := newStorage(t, plain(407))
			host := proxy.Listener.Addr().String()
			_, err := through(t, host, nil).Put(within(t), grantAt(scheme+"://storage.test/a", time.Hour), upload.Bytes([]byte("x")), upload.PutOptions{})
			e := wantError(t, err, upload.ErrProxy, 1)
			if e.Proxy != host || e.Status != 407 || !strings.Contains(e.Error(), host) || strings.Contains(e.Error(), canary) {
				t.Errorf("error is %v", e)
			}
			proxy.wantRequests(t, 1)
			proxy.wantObject(t, "a", nil)
		})
		t.Run(scheme+" 502", func(t *testing.T) {
			proxy := newStorage(t, plain(502), plain(502), plain(407))
			host := proxy.Listener.Addr().String()
			var log bytes.Buffer
			c := through(t, host, slog.New(slog.NewTextHandler(&log, nil)))
			_, err := c.Put(within(t), grantAt(scheme+"://storage.test/a", time.Hour), upload.Bytes([]byte("x")), upload.PutOptions{})
			wantError(t, err, upload.ErrProxy, 3)
			proxy.wantRequests(t, 3)
			for _, line := range strings.SplitAfterN(log.String(), "\n", 2) {
				if !strings.Contains(line, "502") || !strings.Contains(line, host) || strings.Contains(line, canary) {
					t.Errorf("logged %s", line)
				}
			}
		})
	}
	t.Run("http 502 and then none", func(t *testing.T) {
		proxy := newStorage(t, plain(502), plain(502))
		got, err := through(t, proxy.Listener.Addr().String(), nil).Put(within(t), grantAt("http://storage.test/a", time.Hour), upload.Bytes([]byte("x")), upload.PutOptions{})
		wantReceipt(t, got, err, upload.Receipt{URL: "http://storage.test/a", Size: 1, Digest: upload.Sum([]byte("x")), ETag: `"etag"`, Attempts: 3})
		proxy.wantRequests(t, 3)
		proxy.wantObject(t, "a", []byte("x"))
	})
	t.Run("a transport without our hook", func(t *testing.T) {
		proxy := newStorage(t, plain(407))
		c := client(t, func(o *upload.Options) {
			o.Transport = &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy.Listener.Addr().String()})}
		})
		_, err := c.Put(within(t), grantAt("https://storage.test/a", time.Hour), upload.Bytes([]byte("x")), upload.PutOptions{})
		wantError(t, err, upload.ErrProxy, 1)
		proxy.wantRequests(t, 1)
	})
	t.Run("no proxy there", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		host := l.Addr().String()
		l.Close()
		_, err = through(t, host, nil).Put(within(t), grantAt("http://storage.test/a", time.Hour), upload.Bytes([]byte("x")), upload.PutOptions{GiveUpAfter: 10 * time.Millisecond})
		var e *upload.Error
		if !errors.As(err, &e) || !errors.Is(err, upload.ErrUnavailable) || e.Proxy != host {
			t.Errorf("error is %v", err)
		}
	})
}

// The cause stays in the error, without the URL around it.
func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grantAt("http://"+l.Addr().String()+"/a", time.Hour)
	l.Close()
	_, err = client(t).Put(within(t), g, upload.Bytes([]byte("x")), upload.PutOptions{GiveUpAfter: 20 * time.Millisecond})
	var dial *net.OpError
	if !errors.Is(err, upload.ErrUnavailable) || !errors.Is(err, upload.ErrGaveUp) || !errors.As(err, &dial) {
		t.Errorf("error is %v", err)
	}
	var e *upload.Error
	if !errors.As(err, &e) || e.Attempts < 2 {
		t.Errorf("error is %v, want several attempts", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := newStorage(t)
	c := client(t)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			name, body := fmt.Sprint("n", i), []byte(fmt.Sprint("body ", i))
			if _, err := c.Put(within(t), s.grant(name), upload.Bytes(body), upload.PutOptions{}); err != nil {
				t.Error(err)
			}
			s.wantObject(t, name, body)
		})
	}
	wg.Wait()
	s.wantRequests(t, 64)
}
