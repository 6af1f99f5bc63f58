package upload_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// heard is what a Put told. The Put calls it one call at a time; the lock is for the race detector to say otherwise.
type heard struct {
	t    *testing.T
	busy sync.Mutex
	sent []int64
	why  []error
}

func (h *heard) options() upload.PutOptions {
	return upload.PutOptions{
		OnProgress: func(n int64) { h.alone(func() { h.sent = append(h.sent, n) }) },
		OnRetry:    func(kind error) { h.alone(func() { h.why = append(h.why, kind) }) },
	}
}

func (h *heard) alone(f func()) {
	if !h.busy.TryLock() {
		h.t.Error("told twice at once")
		return
	}
	defer h.busy.Unlock()
	f()
}

// Whoever is told hears of all bytes in the end, of each fall, and why.
func TestProgress(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := newPartsRig(t, kind, agenttest.Options{})
			what := "part"
			if kind == "single" {
				what = "put"
			}
			r.inject(agenttest.Fault{What: what, Kind: "503", Count: 1, After: 1})
			if kind == "single" {
				r.inject(agenttest.Fault{What: what, Kind: "503", Count: 1})
			}
			data := random(11 * mib)
			g, err := r.grant(within(t), "a", int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			h := &heard{t: t}
			got, err := client(t).Put(within(t), g, upload.Bytes(data), h.options())
			if err != nil || got.Retries != len(h.why) || got.Retries == 0 {
				t.Fatalf("receipt %+v, error %v, retries %v", got, err, h.why)
			}
			for _, why := range h.why {
				if why != upload.ErrUnavailable {
					t.Errorf("tried again because of %v", why)
				}
			}
			if n := len(h.sent); n == 0 || h.sent[n-1] != int64(len(data)) || slices.Max(h.sent) > int64(len(data)) || slices.Min(h.sent) < 0 {
				t.Errorf("told %v of %d bytes", h.sent, len(data))
			}
		})
	}
}

// What has failed starts over and says so; a step that is not the object itself does not count.
func TestProgressStartsOver(t *testing.T) {
	s := newStorage(t)
	s.script = []step{refuse(503, "SlowDown", "later"), func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); plain(500)(w, r) }}
	data := random(mib)
	h := &heard{t: t}
	if _, err := client(t).Put(within(t), s.grant("a"), upload.Bytes(data), h.options()); err != nil {
		t.Fatal(err)
	}
	over := slices.Index(h.sent, 0)
	if last := len(h.sent) - 1; over < 1 || h.sent[over-1] == 0 || h.sent[last] != mib || slices.Max(h.sent) != mib {
		t.Errorf("told %v", h.sent)
	}
}

// While bytes move it is told ten times a second, whatever the blocks.
func TestProgressIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, blocks = 4 * mib, 1000
		slow := roundTrips(func(r *http.Request) *http.Response {
			buffer := make([]byte, size/blocks)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				<-tick.C
				if _, err := io.ReadFull(r.Body, buffer); err != nil {
					return httptest.NewRecorder().Result()
				}
			}
		})
		h := &heard{t: t}
		c := upload.New(upload.Options{Transport: slow})
		if _, err := c.Put(t.Context(), grantAt("http://storage.test/a", time.Hour), upload.Bytes(random(size)), h.options()); err != nil {
			t.Fatal(err)
		}
		if n := len(h.sent); n < 25 || n > 60 || h.sent[n-1] != size || !slices.IsSorted(h.sent) { // in five seconds
			t.Errorf("told %d times: %v", n, h.sent)
		}
	})
}

// BenchmarkProgress compares a Put that tells of its progress with one that does not: they take turns, and the ratio of the medians is reported.
func BenchmarkProgress(b *testing.B) {
	const size = 256 << 20
	discard := roundTrips(func(r *http.Request) *http.Response {
		buffer := make([]byte, 32<<10)
		for {
			if _, err := r.Body.Read(buffer); err != nil {
				return httptest.NewRecorder().Result()
			}
		}
	})
	c := upload.New(upload.Options{Transport: discard})
	source := upload.Bytes(random(size))
	put := func(o upload.PutOptions) func() {
		return func() {
			if _, err := c.Put(b.Context(), grantAt("http://storage.test/a", time.Hour), source, o); err != nil {
				b.Fatal(err)
			}
		}
	}
	told := 0
	silent, telling := put(upload.PutOptions{}), put(upload.PutOptions{OnProgress: func(int64) { told++ }, OnRetry: func(error) {}})
	var silents, tellings []time.Duration
	for b.Loop() {
		silents, tellings = append(silents, took(silent)), append(tellings, took(telling))
	}
	slices.Sort(silents)
	slices.Sort(tellings)
	b.ReportMetric(float64(tellings[len(tellings)/2])/float64(silents[len(silents)/2]), "telling/silent")
	b.ReportMetric(testing.AllocsPerRun(3, telling)-testing.AllocsPerRun(3, silent), "more-allocs") // of 8,192 blocks
}
