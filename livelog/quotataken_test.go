package livelog_test

import (
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/taskcluster/upload-agent/livelog"
)

// Who can read again what he wrote goes on, after the process was killed, with the byte that Taken says: no byte is missing or there twice.
func TestQuotaKnowsWhatItHasTaken(t *testing.T) {
	const limit = livelog.MinLimit
	var limited, again int
	rapid.Check(t, func(rt *rapid.T) {
		d := newQuotaDisk()
		s, q := d.open(rt, limit)
		var written strings.Builder
		write := func(text string) {
			if n, err := io.WriteString(q, text); n != len(text) || err != nil {
				rt.Fatalf("write: %d of %d, %v", n, len(text), err)
			}
		}
		look := func() {
			if taken := q.Taken(); taken != int64(written.Len()) {
				rt.Fatalf("%d bytes were written, and %d taken; %+v", written.Len(), taken, q.Lost())
			}
		}
		for i := range rapid.IntRange(1, 25).Draw(rt, "acts") {
			switch what := rapid.SampledFrom([]string{"write", "write", "write", "write", "full", "works", "kill"}).Draw(rt, "what"); what {
			case "write":
				size := rapid.SampledFrom([]int{1, 50, 3000, 20_000, 70_000}).Draw(rt, "size")
				piece := lines(i, rapid.SampledFrom([]int{10, 100, 5000}).Draw(rt, "width"), rapid.IntRange(1, size).Draw(rt, "bytes"))
				write(piece)
				written.WriteString(piece)
			case "full":
				d.fill(rapid.SampledFrom([]int{0, 1, 1000, 30_000}).Draw(rt, "left"))
			case "works":
				d.fill(-1)
			case "kill":
				held := d.told.Open // in memory, or about to be
				d.kill(false)
				s, q = d.open(rt, limit)
				taken := q.Taken()
				if taken > int64(written.Len()) || taken < int64(written.Len()) && !held {
					rt.Fatalf("%d bytes were written, and %d are left; %+v", written.Len(), taken, q.Lost())
				}
				if taken < int64(written.Len()) {
					again++
				}
				write(written.String()[taken:])
			}
			look()
		}
		q.Close()
		look()
		lost := q.Lost()
		if _, _, err := account(text(t, s), written.String(), lost.Open); err != nil {
			rt.Fatalf("%v\n%+v", err, lost)
		}
		if noticeLine.MatchString(text(t, s)) {
			limited++
		}
	})
	if limited == 0 || again == 0 {
		t.Errorf("%d logs reached their limit, %d were read again", limited, again)
	}
}
