package livelog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// staleCache gives an old index, as its fields say, for as long as it likes, and the one that the storage has to whoever gets past it.
type staleCache struct {
	obedient bool          // Cache-Control: no-cache is heeded
	bare     bool          // the URL alone counts: a query makes no difference
	strict   bool          // the storage wants no query: 400
	noAge    bool          // it does not say how old it is; its Date is the storage's
	life     time.Duration // of what it holds; 0: for ever
	etags    bool          // If-None-Match is answered

	began   time.Time
	noCache bool // the latest request asked for what is new
	past    int  // requests that came to the storage
}

const (
	oldIndex = `{"version":"0.2.0","size":4,"complete":false,"pollAfterMs":1000,"chunks":[],"tail":"b25lCg=="}` // "one\n"
	newIndex = `{"version":"0.2.0","size":8,"complete":true,"pollAfterMs":0,"chunks":[],"tail":"b25lCnR3bwo="}` // "one\ntwo\n"
)

func (c *staleCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.began.IsZero() {
		c.began = time.Now()
	}
	c.noCache = strings.Contains(r.Header.Get("Cache-Control"), "no-cache")
	age := time.Since(c.began)
	fresh := c.obedient && c.noCache || !c.bare && r.URL.Query().Has("fresh") || c.life > 0 && age >= c.life
	if fresh && age > 0 { // at first there is only the old one
		c.past++
		if c.strict && r.URL.RawQuery != "" {
			http.Error(w, "no query, please", http.StatusBadRequest)
			return
		}
		w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
		io.WriteString(w, newIndex)
		return
	}
	w.Header().Set("Date", c.began.UTC().Format(http.TimeFormat))
	if !c.noAge {
		w.Header().Set("Age", fmt.Sprint(int(age/time.Second)))
	}
	if c.etags {
		w.Header().Set("ETag", `"old"`)
		if r.Header.Get("If-None-Match") == `"old"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	io.WriteString(w, oldIndex)
}

// A cache between the reader and the storage holds an old index. The reader is not fooled into waiting for ever.
func TestReaderGetsPastACache(t *testing.T) {
	for name, row := range map[string]struct {
		cache staleCache
		query string
		stale bool          // the reader gives up, and says why
		least time.Duration // how long that or the end of the log takes
		most  time.Duration
	}{
		"that obeys":                                             {staleCache{obedient: true}, "", false, 0, 5 * time.Second},
		"that obeys, and has 304s":                               {staleCache{obedient: true, etags: true}, "", false, 0, 5 * time.Second},
		"that does not obey":                                     {staleCache{}, "", false, 10 * time.Second, time.Minute},
		"that does not obey, and has 304s":                       {staleCache{etags: true}, "", false, 10 * time.Second, time.Minute},
		"that does not obey or tell its age":                     {staleCache{noAge: true}, "", false, 10 * time.Second, time.Minute},
		"that does not obey or tell its age, and has 304s":       {staleCache{noAge: true, etags: true}, "", false, 10 * time.Second, time.Minute},
		"that asks again in the end, behind a signed URL":        {staleCache{life: 2 * time.Minute}, "?X-Amz-Signature=CANARY", false, 2 * time.Minute, 4 * time.Minute},
		"before a storage that wants no query":                   {staleCache{strict: true, life: 2 * time.Minute}, "", false, 2 * time.Minute, 4 * time.Minute},
		"that never asks again, behind a signed URL":             {staleCache{}, "?X-Amz-Signature=CANARY", true, 5 * time.Minute, 10 * time.Minute},
		"that never asks again and looks at no query":            {staleCache{bare: true}, "", true, 5 * time.Minute, 10 * time.Minute},
		"that never asks again, tells no age, looks at no query": {staleCache{bare: true, noAge: true, etags: true}, "", true, 5 * time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache := row.cache
				began := time.Now()
				r := livelog.NewReader(t.Context(), "http://storage.test/log/index.json"+row.query, livelog.ReaderOptions{Transport: direct{&cache}, Attempts: 5})
				defer r.Close()
				text, err := io.ReadAll(r)
				took := time.Since(began)
				if !cache.noCache {
					t.Error("nothing asked for what is new")
				}
				if took < row.least || took > row.most {
					t.Errorf("it took %v, want %v to %v", took, row.least, row.most)
				}
				if row.stale {
					if string(text) != "one\n" || !errors.Is(err, livelog.ErrStale) || strings.Contains(err.Error(), "CANARY") {
						t.Errorf("%q, %v; want ErrStale", text, err)
					}
					return
				}
				if string(text) != "one\ntwo\n" || err != nil {
					t.Errorf("%q, %v", text, err)
				}
			})
		})
	}
}

// The index of a log that has ended may be as old as it likes.
func TestReaderTakesAnOldIndexOfALogThatHasEnded(t *testing.T) {
	asked := 0
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Age", "31536000")
		io.WriteString(w, newIndex)
	})
	text, err := readAll(within(t), "http://storage.test/log/index.json", livelog.ReaderOptions{Transport: direct{handler}})
	if text != "one\ntwo\n" || err != nil || asked != 1 {
		t.Errorf("%q, %v after %d requests", text, err, asked)
	}
}

// What is left unfinished behind a cache may be going on behind it.
func TestReaderSaysOfAnUnfinishedLogThatItIsOutOfACache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := livelog.NewReader(t.Context(), "http://storage.test/index.json", livelog.ReaderOptions{
			Transport: direct{&staleCache{bare: true}}, Patience: time.Minute,
			Abandoned: func(context.Context) error { return errors.New("the worker is gone") },
		})
		defer r.Close()
		_, err := io.ReadAll(r)
		if !errors.Is(err, livelog.ErrUnfinished) || !errors.Is(err, livelog.ErrStale) {
			t.Error(err)
		}
	})
}
