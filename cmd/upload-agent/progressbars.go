package main

import (
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// shownBars is how many artifacts have a bar of their own.
const shownBars = 4

// bars are those on the terminal: of some artifacts, and below of all together. They have no colours.
type bars struct {
	tally   *tally
	on      *mpb.Progress
	each    map[string]*oneBar
	all     *oneBar
	ordinal int
}

// oneBar is one of them, with what it says behind.
type oneBar struct {
	bar   *mpb.Bar
	speed rate

	mu   sync.Mutex
	text string
}

// showBars draws until ended is closed, and leaves nothing behind. What is done soon has no bars at all.
func showBars(io *stdio, t *tally, ended <-chan struct{}) {
	wait := time.NewTimer(barsAfter)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ended:
		return
	}
	if t.so().left() == 0 {
		<-ended // only the result is on its way
		return
	}
	tick := time.NewTicker(barsEvery)
	defer tick.Stop()
	on := mpb.New(mpb.WithOutput(io.err), mpb.WithRefreshRate(barsEvery))
	io.above(on)
	drawBars(on, t, tick.C, ended)
	io.above(nil)
	on.Wait()
}

// drawBars keeps bars up to date at each tick.
func drawBars(on *mpb.Progress, t *tally, ticks <-chan time.Time, ended <-chan struct{}) {
	b := &bars{tally: t, on: on, each: map[string]*oneBar{}}
	b.all = b.add("all", true)
	for {
		b.update()
		select {
		case <-ticks:
		case <-ended:
			for _, one := range b.each {
				one.bar.Abort(true)
			}
			b.all.bar.Abort(true)
			return
		}
	}
}

// update takes a look.
func (b *bars) update() {
	now, under := b.tally.now(), map[string]bool{}
	for _, f := range b.tally.underWay() {
		one := b.each[f.name]
		if one == nil && len(b.each) >= shownBars {
			continue
		}
		if one == nil {
			one = b.add(barName(f.name), false)
			b.each[f.name] = one
		}
		under[f.name] = true
		one.set(now, f.sent, f.size, func(speed *rate) string {
			text := fmt.Sprintf("%s of %s", formatSize(f.sent), formatSize(f.size))
			if moving := speed.text(f.size - f.sent); moving != "" {
				text += ", " + moving
			}
			return text
		})
	}
	for name, one := range b.each {
		if !under[name] {
			one.bar.Abort(true)
			delete(b.each, name)
		}
	}
	total := b.tally.so()
	b.all.set(now, total.sent, total.size, total.text)
}

// set is how far a bar is.
func (o *oneBar) set(now time.Time, sent, size int64, text func(*rate) string) {
	o.speed.saw(now, sent)
	said := text(&o.speed)
	o.mu.Lock()
	o.text = said
	o.mu.Unlock()
	o.bar.SetTotal(max(1, size), false)
	o.bar.SetCurrent(sent)
}

func (b *bars) add(name string, last bool) *oneBar {
	b.ordinal++
	priority := b.ordinal
	if last {
		priority = 1 << 30
	}
	o := &oneBar{}
	o.bar = b.on.New(0, mpb.BarStyle(),
		mpb.BarPriority(priority),
		mpb.BarWidth(24),
		mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			o.mu.Lock()
			defer o.mu.Unlock()
			return " " + o.text
		})),
	)
	return o
}

// barName is the end of a name, which is where it says what it is, fit for a terminal.
func barName(name string) string {
	const most = 24
	name = printable(name)
	if utf8.RuneCountInString(name) <= most {
		return name
	}
	runes := []rune(name)
	return "…" + string(runes[len(runes)-most+1:])
}

// aside is where lines go that are no part of a command's output: above the bars, while there are any.
type aside struct {
	mu   sync.Mutex
	to   io.Writer
	bars io.Writer // nil: there are none
}

// Write prints whole lines.
func (a *aside) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bars != nil {
		if n, err := a.bars.Write(p); err == nil {
			return n, nil
		}
	}
	return a.to.Write(p)
}

// above has lines go above bars; nil: there are no bars any more.
func (s *stdio) above(bars *mpb.Progress) {
	if s.side == nil {
		return
	}
	s.side.mu.Lock()
	defer s.side.mu.Unlock()
	s.side.bars = nil
	if bars != nil {
		s.side.bars = bars
	}
}
