package queue_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
)

// rounds is a transport without a network: it answers each request from a function.
type rounds func(n int, r *http.Request) (*http.Response, error)

type transport struct {
	answer rounds
	at     []time.Time
}

func (tr *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	tr.at = append(tr.at, time.Now())
	resp, err := tr.answer(len(tr.at), r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

func response(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// waits are the times between the attempts of a call that fails n times.
func waits(t *testing.T, n int, o queue.Options, header ...string) []time.Duration {
	t.Helper()
	tr := &transport{answer: func(i int, _ *http.Request) (*http.Response, error) {
		if i <= n {
			for j, v := range header {
				if v == "in a minute" {
					header[j] = time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
				}
			}
			return response(503, "", header...), nil
		}
		return response(200, statusAnswer("pending", "")), nil
	}}
	o.Transport = tr
	if _, err := client(t, "http://queue.example/v1", o).Status(t.Context(), taskID); err != nil {
		t.Fatal(err)
	}
	var all []time.Duration
	for i := range n {
		all = append(all, tr.at[i+1].Sub(tr.at[i]))
	}
	return all
}

// TestBackoff doubles the wait from 200 ms to 10 s, each within a half, and never gives up by itself.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := waits(t, 300, queue.Options{}) // about 50 minutes: longer than any default limit of backoff/v4
		want, equal := 200*time.Millisecond, 0
		for i, w := range got {
			if w < want/2 || w > want*3/2+1 {
				t.Errorf("wait %d: %v, want about %v", i, w, want)
			}
			if w == want {
				equal++
			}
			want = min(2*want, 10*time.Second)
		}
		if equal > 10 {
			t.Errorf("%d of %d waits have no jitter", equal, len(got))
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			value    string
			min, max time.Duration
		}{
			{"7", 7 * time.Second, 7 * time.Second},
			{"86400", 30 * time.Second, 30 * time.Second},
			{"99999999999999999999", 0, time.Second},
			{"in a minute", 29 * time.Second, 30 * time.Second},
			{"Sun, 22 Nov 1987 14:12:40 GMT", 0, time.Second},
			{"-5", 0, time.Second},
			{"soon", 0, time.Second},
		} {
			if got := waits(t, 1, queue.Options{}, "Retry-After", tt.value)[0]; got < tt.min || got > tt.max {
				t.Errorf("Retry-After %s: waited %v, want %v to %v", tt.value, got, tt.min, tt.max)
			}
		}
	})
}

// TestDefaultTimeout gives up a silent attempt after 30 s.
func TestDefaultTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &transport{answer: func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return response(404, ""), nil
		}}
		_, err := client(t, "http://queue.example", queue.Options{Transport: tr}).Status(t.Context(), taskID)
		if took := tr.at[1].Sub(tr.at[0]); !errors.Is(err, queue.ErrNotFound) || took < 30*time.Second || took > 31*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestEndsWhileWaiting returns as soon as ctx ends, with the cause and the last answer.
func TestEndsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &transport{answer: func(int, *http.Request) (*http.Response, error) {
			return response(503, `{"message":"busy"}`, "Retry-After", "20"), nil
		}}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 25*time.Second, errEnough)
		defer cancel()
		start := time.Now()
		_, err := client(t, "http://queue.example", queue.Options{Transport: tr}).Status(ctx, taskID)
		var e *queue.Error
		if !errors.As(err, &e) || e.Status != 503 || e.Message != "busy" || e.Attempts != 2 || !errors.Is(err, errEnough) ||
			!errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, queue.ErrUnavailable) || time.Since(start) != 25*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		want := "get status of task YpsYjqE5Q_-NIvzSmpNnFA: 503 Service Unavailable: busy: gave up: the test has seen enough (2 attempts)"
		if err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	})
}

// TestSkew estimates the queue's clock.
func TestSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(10 * 365 * 24 * time.Hour) // the bubble starts in 2000, and what is before is no Date
		at := func(d time.Duration) []string {
			return []string{"Date", time.Now().Add(d).UTC().Format(http.TimeFormat)}
		}
		var headers [][]string
		tr := &transport{answer: func(n int, _ *http.Request) (*http.Response, error) {
			return response(404, "", headers[n-1]...), nil
		}}
		c := client(t, "http://queue.example", queue.Options{Transport: tr})
		step := func(want time.Duration, header ...string) {
			t.Helper()
			headers = append(headers, header)
			_, _ = c.Status(t.Context(), taskID)
			if got := c.Skew(); (got - want).Abs() > time.Second {
				t.Errorf("after %d answers: skew %v, want %v", len(headers), got, want)
			}
		}
		if got := c.Skew(); got != 0 {
			t.Errorf("skew %v of nothing", got)
		}
		step(0)
		step(0, "Date", "yesterday")
		step(0, "Date", "Thu, 01 Jan 1970 00:00:00 GMT")
		step(0, append(at(-time.Hour), "Age", "3600")...)
		step(-time.Hour, at(-time.Hour)...)
		step(-time.Hour, at(-time.Hour)...)
		step(-time.Hour, at(24*time.Hour)...) // a stray one
		for range 5 {                         // the clock was set
			headers = append(headers, at(2*time.Minute))
			_, _ = c.Status(t.Context(), taskID)
		}
		step(2*time.Minute, at(2*time.Minute)...)
		if c.Skew()%time.Second != 0 {
			t.Errorf("skew %v is not in whole seconds", c.Skew())
		}
	})
}

// TestSkewOfNone is exactly none for a queue whose clock is right.
func TestSkewOfNone(t *testing.T) {
	srv := serve(t, jsonAnswer(200, statusAnswer("pending", "")))
	c := client(t, srv.URL, options(t))
	for range 5 {
		if _, err := c.Status(deadline(t), taskID); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Skew(); got.Abs() > time.Second {
		t.Errorf("skew %v", got)
	}
}
