package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// bin is a storage in memory that takes whatever it is sent as fast as it comes, but for the requests that its script answers.
type bin struct {
	mu     sync.Mutex
	script []func(req *http.Request) (*http.Response, error)
	bytes  map[string]int64
}

func (s *bin) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	var answer func(req *http.Request) (*http.Response, error)
	if len(s.script) > 0 {
		answer, s.script = s.script[0], s.script[1:]
	}
	s.mu.Unlock()
	if answer != nil {
		return answer(req)
	}
	n, err := io.Copy(io.Discard, struct{ io.Reader }{req.Body})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes == nil {
		s.bytes = map[string]int64{}
	}
	s.bytes[req.URL.Path] += n
	body := ""
	if req.Method == http.MethodPost {
		body = "<CompleteMultipartUploadResult><ETag>whole</ETag></CompleteMultipartUploadResult>"
	}
	return sinkAnswer(req, http.StatusOK, body), nil
}

func sinkAnswer(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Etag": {"opaque"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

func limitedClient(transport http.RoundTripper, l *upload.Limiter) *upload.Client {
	return upload.New(upload.Options{Transport: transport, Limiter: l})
}

func sinkGrant(name string) upload.Grant {
	return upload.Grant{URL: schema.NewSignedURL("https://storage.test/" + name)}
}

// wantAbout wants a time of the bubble, give or take a tenth.
func wantAbout(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want*9/10 || got > want*11/10 {
		t.Errorf("%s took %v, want about %v", what, got, want)
	}
}

// Uploads share the limit, whatever client they are of, and each gets as much of it as any other.
func TestLimiterIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := upload.NewLimiter(mib)
		start := time.Now()
		var wait sync.WaitGroup
		for i := range 4 {
			c := limitedClient(&bin{}, l)
			wait.Go(func() {
				got, err := c.Put(t.Context(), sinkGrant("a"), upload.Bytes(make([]byte, 10*mib)), upload.PutOptions{})
				if err != nil || got.Attempts != 1 {
					t.Errorf("receipt %+v, error %v", got, err)
				}
				wantAbout(t, fmt.Sprint("upload ", i), got.Duration, 40*time.Second)
			})
		}
		wait.Go(func() { // a small one does not wait for the large ones to end
			got, err := limitedClient(&bin{}, l).Put(t.Context(), sinkGrant("small"), upload.Bytes(make([]byte, 4096)), upload.PutOptions{})
			if err != nil || got.Duration > time.Second {
				t.Errorf("receipt %+v, error %v", got, err)
			}
		})
		wait.Wait()
		wantAbout(t, "all of it", time.Since(start), 40*time.Second)
	})
}

func TestLimiterHoldsUpNothingThatGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := upload.NewLimiter(mib)
		c := limitedClient(&bin{}, l)
		var wait sync.WaitGroup
		wait.Go(func() {
			got, err := c.Put(t.Context(), sinkGrant("a"), upload.Bytes(make([]byte, 10*mib)), upload.PutOptions{})
			if err != nil {
				t.Error(err)
			}
			wantAbout(t, "what waits for the other", got.Duration, 15*time.Second)
		})
		synctest.Wait()
		for range 5 {
			got, err := c.Put(t.Context(), sinkGrant("first"), upload.Bytes(make([]byte, mib)), upload.PutOptions{First: true})
			if err != nil || got.Duration != 0 {
				t.Errorf("receipt %+v, error %v; want it done at once", got, err)
			}
			<-time.After(2 * time.Second)
		}
		wait.Wait()
	})
}

// Much that goes first holds up the others for a second, not for as long as it would have taken them.
func TestLimiterForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limitedClient(&bin{}, upload.NewLimiter(mib))
		if _, err := c.Put(t.Context(), sinkGrant("first"), upload.Bytes(make([]byte, 100*mib)), upload.PutOptions{First: true}); err != nil {
			t.Fatal(err)
		}
		got, err := c.Put(t.Context(), sinkGrant("a"), upload.Bytes(make([]byte, mib)), upload.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantAbout(t, "the other", got.Duration, 2*time.Second)
	})
}

// An upload that waits for its turn has not stalled, however long that takes; one on which nothing moves has.
func TestLimitedIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &bin{}
		c := limitedClient(s, upload.NewLimiter(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		got, err := c.Put(ctx, sinkGrant("a"), upload.Bytes(make([]byte, 3<<10)), upload.PutOptions{})
		if err != nil || got.Attempts != 1 {
			t.Errorf("receipt %+v, error %v", got, err)
		}
		wantAbout(t, "a byte a second", got.Duration, 2<<10*time.Second) // the first piece needs not wait
		s.script = append(s.script, func(req *http.Request) (*http.Response, error) {
			io.CopyN(io.Discard, req.Body, 1<<10)
			<-req.Context().Done()
			return nil, context.Cause(req.Context())
		})
		start := time.Now()
		c = limitedClient(s, upload.NewLimiter(mib))
		got, err = c.Put(t.Context(), sinkGrant("a"), upload.Bytes(make([]byte, mib)), upload.PutOptions{})
		if err != nil || got.Attempts != 2 {
			t.Errorf("receipt %+v, error %v; want a second attempt", got, err)
		}
		wantAbout(t, "the stall and the second attempt", time.Since(start), 34*time.Second) // it is noticed after 30 to 34
	})
}

// What is sent again counts again.
func TestLimiterAndRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &bin{script: []func(req *http.Request) (*http.Response, error){func(req *http.Request) (*http.Response, error) {
			if _, err := io.Copy(io.Discard, struct{ io.Reader }{req.Body}); err != nil {
				return nil, err
			}
			return sinkAnswer(req, http.StatusServiceUnavailable, ""), nil
		}}}
		data := random(10 * mib)
		got, err := limitedClient(s, upload.NewLimiter(mib)).Put(t.Context(), sinkGrant("a"), upload.Bytes(data), upload.PutOptions{})
		if err != nil || got.Attempts != 2 || got.Digest != upload.Sum(data) {
			t.Errorf("receipt %+v, error %v", got, err)
		}
		wantAbout(t, "both attempts", got.Duration, 20*time.Second)
	})
}

func TestLimiterAndParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &bin{}
		data := bytes.Repeat([]byte("0123456789abcdef"), 12*mib/16)
		m := upload.Multipart{
			UploadID: "id", PartSize: 5 * mib, Complete: sinkGrant("complete").URL, Abort: sinkGrant("abort").URL,
			Parts: []schema.SignedURL{sinkGrant("1").URL, sinkGrant("2").URL, sinkGrant("3").URL},
		}
		got, err := limitedClient(s, upload.NewLimiter(mib)).Put(t.Context(), upload.Grant{Multipart: &m}, upload.Bytes(data), upload.PutOptions{})
		if err != nil || got.Parts != 3 || got.Digest != upload.Sum(data) || got.Attempts != 4 {
			t.Errorf("receipt %+v, error %v", got, err)
		}
		wantAbout(t, "all parts together", got.Duration, 12*time.Second)
		if s.bytes["/1"] != 5*mib || s.bytes["/3"] != 2*mib {
			t.Errorf("sent %v", s.bytes)
		}
	})
}

// The end of the context ends the wait, and gives the turn back.
func TestLimiterAndTheEndOfTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := upload.NewLimiter(1)
		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(reason) })
		start := time.Now()
		_, err := limitedClient(&bin{}, l).Put(ctx, sinkGrant("a"), upload.Bytes(make([]byte, 100<<10)), upload.PutOptions{})
		if !errors.Is(err, reason) || time.Since(start) != time.Minute {
			t.Errorf("error is %v after %v", err, time.Since(start))
		}
		got, err := limitedClient(&bin{}, l).Put(t.Context(), sinkGrant("b"), upload.Bytes(make([]byte, 1<<10)), upload.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantAbout(t, "a piece after a minute of another", got.Duration, (1<<10-60)*time.Second)
	})
}
