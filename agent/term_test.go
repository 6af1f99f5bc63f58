package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

func TestTermOf(t *testing.T) {
	now := time.Date(2014, 4, 1, 12, 0, 0, 0, time.UTC)
	v2 := func(until string) schema.SignedURL {
		return schema.NewSignedURL("http://s/YpsYjqE5Q_-NIvzSmpNnFA/runs/1/logs.json?AWSAccessKeyId=K&Expires=" + until + "&Signature=S")
	}
	v4 := schema.NewSignedURL("http://s/x?X-Amz-Date=20140401T120000Z&X-Amz-Expires=90&X-Amz-Signature=S")
	unsigned := schema.NewSignedURL("http://s/YpsYjqE5Q_-NIvzSmpNnFA/runs/1/logs.json")
	at := func(d time.Duration) schema.TaskStatus {
		return schema.TaskStatus{TaskID: "YpsYjqE5Q_-NIvzSmpNnFA", TakenUntil: now.Add(d)}
	}
	foreign := at(time.Hour)
	foreign.TaskID = "AAAAAAAAAAAAAAAAAAAAAA"

	for name, row := range map[string]struct {
		claim schema.Claim
		skew  time.Duration
		want  time.Duration // until when, from now
	}{
		"version 2":                      {claim: schema.Claim{ClaimAnswer: schema.ClaimAnswer{LogsPutURL: v2("1396353660"), ResultPutURL: v2("1396353660")}}, want: time.Minute},
		"the earlier one counts":         {claim: schema.Claim{ClaimAnswer: schema.ClaimAnswer{LogsPutURL: v2("1396353660"), ResultPutURL: v4}}, want: time.Minute},
		"version 4":                      {claim: schema.Claim{ClaimAnswer: schema.ClaimAnswer{LogsPutURL: v4, ResultPutURL: v4}}, want: 90 * time.Second},
		"the queue's clock is ahead":     {claim: schema.Claim{ClaimAnswer: schema.ClaimAnswer{LogsPutURL: v4, ResultPutURL: v4}}, skew: 30 * time.Second, want: time.Minute},
		"the queue's clock is behind":    {claim: schema.Claim{ClaimAnswer: schema.ClaimAnswer{LogsPutURL: v4, ResultPutURL: v4}}, skew: -30 * time.Second, want: 2 * time.Minute},
		"URLs win over the status":       {claim: schema.Claim{ClaimAnswer: schema.ClaimAnswer{Status: at(time.Hour), LogsPutURL: v4, ResultPutURL: v4}}, want: 90 * time.Second},
		"the status, where URLs are mum": {claim: schema.Claim{ClaimAnswer: schema.ClaimAnswer{Status: at(5 * time.Minute), LogsPutURL: unsigned, ResultPutURL: unsigned}}, want: 5 * time.Minute},
		"a status of another task":       {claim: schema.Claim{ClaimAnswer: schema.ClaimAnswer{Status: foreign, LogsPutURL: unsigned, ResultPutURL: unsigned}}, want: shortestClaim},
		"a status from before the claim": {claim: schema.Claim{ClaimAnswer: schema.ClaimAnswer{Status: at(-time.Hour), LogsPutURL: unsigned, ResultPutURL: unsigned}}, want: shortestClaim},
	} {
		got := termOf(row.claim, now, row.skew)
		if d := got.until.Sub(now); d != row.want || !got.from.Equal(now) {
			t.Errorf("%s: lasts %v from %v, want %v", name, d, got.from, row.want)
		}
	}
}

func TestTermLeavesTime(t *testing.T) {
	now := time.Date(2014, 4, 1, 12, 0, 0, 0, time.UTC)
	for length, want := range map[time.Duration]struct{ renewal, lapse time.Duration }{
		20 * time.Minute: {10 * time.Minute, 20*time.Minute - 2*time.Second},
		30 * time.Second: {15 * time.Second, 30*time.Second - 1500*time.Millisecond},
		time.Second:      {500 * time.Millisecond, 950 * time.Millisecond},
		-time.Second:     {-500 * time.Millisecond, -time.Second},
	} {
		got := term{now, now.Add(length)}
		if r, l := got.renewal().Sub(now), got.lapse().Sub(now); r != want.renewal || l != want.lapse {
			t.Errorf("claim of %v: renewed after %v, lost after %v; want %v, %v", length, r, l, want.renewal, want.lapse)
		}
	}
}

// A process that was asleep while its claim lapsed reports nothing, even before the lease has noticed.
func TestNoReportAfterTheClaimHasLapsed(t *testing.T) {
	hour := time.Now().Add(-time.Hour)
	r := &Run{lease: &lease{term: term{hour, hour.Add(time.Minute)}}} // no queue: a report would panic
	if err := r.report(t.Context(), true); !errors.Is(err, ErrClaimLost) {
		t.Errorf("report = %v, want a lost claim", err)
	}
}
