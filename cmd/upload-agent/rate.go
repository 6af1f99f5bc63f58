package main

import (
	"fmt"
	"time"
)

// rateWindow is how far back a rate looks: far enough to be steady, near enough to be of now.
const rateWindow = 10 * time.Second

// rate tells how fast something moves, from looks at how far it is. The zero value is ready.
type rate struct {
	looks []look
}

type look struct {
	at   time.Time
	sent int64
}

// saw takes a look. What falls, because it is sent again, is as if it began there.
func (r *rate) saw(at time.Time, sent int64) {
	if n := len(r.looks); n > 0 && sent < r.looks[n-1].sent {
		r.looks = r.looks[:0]
	}
	r.looks = append(r.looks, look{at, sent})
	for len(r.looks) > 2 && at.Sub(r.looks[1].at) >= rateWindow {
		r.looks = r.looks[1:]
	}
}

// perSecond is the rate in bytes; 0 if nothing is known.
func (r *rate) perSecond() float64 {
	if len(r.looks) < 2 {
		return 0
	}
	first, last := r.looks[0], r.looks[len(r.looks)-1]
	took := last.at.Sub(first.at)
	if took <= 0 {
		return 0
	}
	return float64(last.sent-first.sent) / took.Seconds()
}

// String is the rate, and how long so many bytes will take; "" if nothing moves.
func (r *rate) text(left int64) string {
	speed := r.perSecond()
	if speed < 1 {
		return ""
	}
	text := formatRate(speed)
	if left > 0 {
		text += ", " + formatLeft(float64(left)/speed) + " left"
	}
	return text
}

func formatRate(perSecond float64) string { return formatSize(int64(perSecond)) + "/s" }

// formatLeft is a time in seconds as people want to know it that is only an estimate.
func formatLeft(seconds float64) string {
	if seconds > 99*3600 {
		return "days"
	}
	d := time.Duration(seconds * float64(time.Second)).Round(time.Second)
	switch h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60; {
	case h > 0:
		return fmt.Sprintf("%dh%02dm", h, m)
	case m > 0:
		return fmt.Sprintf("%dm%02ds", m, s)
	default:
		return fmt.Sprintf("%ds", s)
	}
}
