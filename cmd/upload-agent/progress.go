package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"
)

// How what is uploaded is shown.
const (
	progressAuto  = "auto"  // bars on a terminal, lines elsewhere
	progressPlain = "plain" // lines
	progressOff   = "off"
)

const (
	plainEvery = 10 * time.Second       // lines are no more frequent
	barsAfter  = 300 * time.Millisecond // what is done by then is not worth a bar
	barsEvery  = 100 * time.Millisecond // they are drawn anew
)

func progressFlag() cli.Flag {
	return &cli.StringFlag{Name: "progress", Value: progressAuto, Usage: "show uploads once the command has ended: `HOW`: auto (bars if stderr is a terminal, else a line every ten seconds), plain (lines) or off", Sources: env("progress")}
}

func readBackFlag() cli.Flag {
	return &cli.BoolFlag{Name: "read-back", Usage: "read each artifact once more where readers find it, without any rights; one that is not there as it was sent is missing", Sources: env("read-back")}
}

// progress shows people what is uploaded.
type progress struct {
	io    *stdio
	how   string
	tally *tally
}

func newProgress(cmd *cli.Command, out *stdio) (*progress, error) {
	p := &progress{io: out, how: cmd.String("progress"), tally: newTally()}
	switch p.how {
	case progressAuto:
		if !canDraw(out.err) {
			p.how = progressPlain
		}
	case progressPlain, progressOff:
	default:
		return nil, usageError(fmt.Errorf("--progress %q: want auto, plain or off", p.how))
	}
	return p, nil
}

// canDraw says whether out is a terminal that bars can be drawn on. Some have no size, of containers for example.
func canDraw(out io.Writer) bool {
	if !isTerminal(out) || os.Getenv("TERM") == "dumb" {
		return false
	}
	width, height, err := term.GetSize(int(out.(*os.File).Fd()))
	return err == nil && width > 0 && height > 0
}

// show shows it until the function is called. No command may write to the terminal meanwhile.
func (p *progress) show() (stop func()) {
	if p.how == progressOff {
		return func() {}
	}
	ended, shown := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(shown)
		if p.how == progressPlain {
			showLines(p.io.notices(), p.tally, ended)
		} else {
			showBars(p.io, p.tally, ended)
		}
	}()
	return func() {
		close(ended)
		<-shown
	}
}

// showLines prints a line now and then, if anything has moved since the one before.
func showLines(w io.Writer, t *tally, ended <-chan struct{}) {
	lines := newLines(t, time.Now())
	tick := time.NewTicker(plainEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			if line := lines.look(now); line != "" {
				fmt.Fprintf(w, "upload-agent: uploading: %s\n", line)
			}
		case <-ended:
			return
		}
	}
}

// lines makes them.
type lines struct {
	tally  *tally
	before tallied
	speed  rate
}

func newLines(t *tally, now time.Time) *lines {
	l := &lines{tally: t}
	l.look(now)
	return l
}

// look is the next line; "" if nothing has moved, or all is done.
func (l *lines) look(at time.Time) string {
	before, now := l.before, l.tally.so()
	l.before = now
	l.speed.saw(at, now.sent)
	if now.left() == 0 || now.sent == before.sent && now.left() == before.left() {
		return ""
	}
	return now.text(&l.speed)
}

// text is how far all of it is, in a line.
func (s tallied) text(speed *rate) string {
	text := fmt.Sprintf("%d of %s", s.artifacts-s.left(), count(s.artifacts, "artifact"))
	if s.size > 0 {
		text += fmt.Sprintf(", %s of %s", formatSize(s.sent), formatSize(s.size))
	}
	if moving := speed.text(s.size - s.sent); moving != "" {
		text += ", " + moving
	}
	return text
}
