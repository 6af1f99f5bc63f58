package livelog_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// far is a transport to a storage that is some way off.
type far struct {
	next http.RoundTripper
	away time.Duration
}

func (f far) RoundTrip(req *http.Request) (*http.Response, error) {
	<-time.After(f.away)
	return f.next.RoundTrip(req)
}

// At one line every 10 ms, 99 of 100 lines reach a following reader within 2.5 s, all through the first hour; and the
// first one after a silence does, too. The storage takes 50 ms and more for a PUT and 100 ms for a GET.
func TestReaderLatency(t *testing.T) {
	const line, promised = 80, 2500 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{t: t, dir: t.TempDir(), start: time.Now(), keep: true}
		spool := livelog.NewSpool(endless{}, 0)
		var work sync.WaitGroup
		work.Go(func() {
			if _, err := livelog.Publish(t.Context(), "log", spool, s.store, livelog.PublishOptions{}); err != nil {
				t.Error(err)
			}
		})
		var mu sync.Mutex
		var written []time.Time // of each line
		seen := map[int]time.Duration{}
		work.Go(func() {
			r := livelog.NewReader(t.Context(), base+livelog.IndexName("log"), livelog.ReaderOptions{Transport: far{s, 100 * time.Millisecond}})
			defer r.Close()
			read, buf := 0, make([]byte, 32<<10)
			for {
				n, err := r.Read(buf)
				mu.Lock()
				for read += n; len(seen) < read/line; {
					seen[len(seen)] = time.Since(written[len(seen)])
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
		write := func(every time.Duration) {
			mu.Lock()
			written = append(written, time.Now())
			spool.Write(make([]byte, line))
			mu.Unlock()
			<-time.After(every)
		}
		busy := map[time.Duration][2]int{} // by the age of the log: the first line and the one after the last
		for _, age := range []time.Duration{0, 10 * time.Minute, 59 * time.Minute} {
			for time.Since(s.start) < age {
				write(10 * time.Second)
			}
			first := len(written)
			for time.Since(s.start) < age+30*time.Second {
				write(10 * time.Millisecond)
			}
			busy[age] = [2]int{first, len(written)}
		}
		<-time.After(time.Minute)
		silent := len(written)
		write(time.Minute)
		spool.Close()
		work.Wait()

		if len(seen) != len(written) {
			t.Fatalf("%d lines were seen of %d", len(seen), len(written))
		}
		if after := seen[silent]; after > promised {
			t.Errorf("a line after a silence is seen after %v", after)
		}
		for age, lines := range busy {
			var took []time.Duration
			for i := lines[0]; i < lines[1]; i++ {
				took = append(took, seen[i])
			}
			slices.Sort(took)
			p50, p99 := took[len(took)/2], took[len(took)*99/100]
			t.Logf("at the age of %v: p50 %v, p99 %v, at most %v", age, p50, p99, took[len(took)-1])
			if p99 > promised {
				t.Errorf("at the age of %v, p99 is %v, want %v at most", age, p99, promised)
			}
		}
	})
}
