package queue_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

// What a Storage has seen while the storage said how long it lives, it knows to have expired later; and nothing more than that.
func TestStorageRemembersWhatItWasTold(t *testing.T) {
	const life = `expiry-date="%s", rule-id="r"`
	past, future := "Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
	for name, row := range map[string]struct {
		header string // of the first answer
		status int    // of the second
		kinds  []error
		text   string
	}{
		"its time has come":              {fmt.Sprintf(life, past), 404, of(queue.ErrNotFound, queue.ErrGone, queue.ErrExpired), ": expired on 2026-01-01T00:00:00Z"},
		"its time has come, as a 410":    {fmt.Sprintf(life, past), 410, of(queue.ErrNotFound, queue.ErrGone, queue.ErrExpired), ": expired on 2026-01-01T00:00:00Z"},
		"its time has come, and a 403":   {fmt.Sprintf(life, past), 403, of(queue.ErrNotFound, queue.ErrGone, queue.ErrExpired), ": expired on 2026-01-01T00:00:00Z"},
		"its time has not come":          {fmt.Sprintf(life, future), 404, of(queue.ErrNotFound, queue.ErrGone), "to be kept until 2100-01-01T00:00:00Z"},
		"its time has not come, a 403":   {fmt.Sprintf(life, future), 403, of(queue.ErrNotFound), "403 Forbidden"},
		"nobody has said anything":       {"", 404, of(queue.ErrNotFound), "404 Not Found"},
		"what was said makes no sense":   {`expiry-date="tomorrow"`, 404, of(queue.ErrNotFound), "404 Not Found"},
		"what was said is cut off":       {`expiry-date="` + past, 404, of(queue.ErrNotFound), "404 Not Found"},
		"it is the queue that is broken": {fmt.Sprintf(life, past), 401, of(queue.ErrDenied), "401 Unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if row.header != "" {
					w.Header().Set("x-amz-expiration", row.header)
				}
			}, answer(row.status, "", ""))
			s := storage(t, srv.URL, options(t))
			object, err := s.Open(deadline(t), srv.URL+"/a?X-Amz-Signature=one")
			if err != nil {
				t.Fatal(err)
			}
			object.Close()
			_, err = s.Open(deadline(t), srv.URL+"/a?X-Amz-Signature=another")
			for _, kind := range []error{queue.ErrNotFound, queue.ErrGone, queue.ErrExpired, queue.ErrDenied} {
				want := false
				for _, k := range row.kinds {
					want = want || k == kind
				}
				if errors.Is(err, kind) != want {
					t.Errorf("%v is %v: %t", err, kind, !want)
				}
			}
			if err == nil || !strings.Contains(err.Error(), row.text) || strings.Contains(err.Error(), "another") {
				t.Errorf("%v, want %q", err, row.text)
			}
			if _, other := s.Open(deadline(t), srv.URL+"/b"); errors.Is(other, queue.ErrGone) {
				t.Errorf("of an object never seen: %v", other)
			}
		})
	}
}

func of(kinds ...error) []error { return kinds }

// The lifecycle of the embedded storage, as a reader meets it.
func TestLifecycleOfTheEmbeddedStorage(t *testing.T) {
	began := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var later atomic.Int64
	clock := func() time.Time { return began.Add(time.Duration(later.Load())) }
	server, err := agenttest.New(t.TempDir(), agenttest.Options{Clock: clock, Lifecycle: []agenttest.Lifecycle{
		{Path: "/keep/"}, {Path: "/task.json", Life: 48 * time.Hour},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	status, err := server.PostTask(schema.Task{})
	if err != nil {
		t.Fatal(err)
	}
	s := storage(t, server.StorageURL(), options(t))
	url := server.StorageURL() + "/" + string(status.TaskID) + "/task.json"
	head := func() *http.Response {
		t.Helper()
		resp, err := http.Head(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if _, err := s.Task(deadline(t), status.TaskID); err != nil {
		t.Fatal(err)
	}
	if got := head().Header.Get("x-amz-expiration"); got != `expiry-date="Sun, 03 May 2026 12:00:00 GMT", rule-id="rule-1"` {
		t.Errorf("x-amz-expiration: %s", got)
	}
	later.Store(int64(48*time.Hour - time.Second))
	if resp := head(); resp.StatusCode != 200 {
		t.Errorf("a second before: %s", resp.Status)
	}
	later.Add(int64(time.Second))
	if resp := head(); resp.StatusCode != 404 || resp.Header.Get("x-amz-expiration") != "" {
		t.Errorf("gone: %s %q", resp.Status, resp.Header)
	}
	// By the storage's clock, that is: the estimate of it takes a few answers.
	for range 5 {
		_, err = s.Task(deadline(t), status.TaskID)
	}
	var gone *queue.GoneError
	if !errors.As(err, &gone) || !gone.Expired.Equal(clock()) || !errors.Is(err, queue.ErrExpired) {
		t.Errorf("%v", err)
	}
}

func ExampleGoneError() {
	err := error(&queue.GoneError{Expired: time.Date(2026, 5, 3, 0, 0, 0, 0, time.UTC)})
	fmt.Println(err, errors.Is(err, queue.ErrExpired), errors.Is(err, queue.ErrNotFound))
	err = &queue.GoneError{Known: "result.json says that it was stored"}
	fmt.Println(err, errors.Is(err, queue.ErrExpired), errors.Is(err, queue.ErrNotFound))
	// Output:
	// expired on 2026-05-03T00:00:00Z true true
	// gone: result.json says that it was stored, and has expired or was deleted since false true
}
