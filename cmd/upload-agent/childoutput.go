package main

import (
	"cmp"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/taskcluster/upload-agent/livelog"
)

// outputs are what a command and all that it starts write, on the way to the log and through to our own streams.
type outputs struct {
	stdout, stderr *stream       // one and the same where our own are: so its lines keep their order
	copied         chan struct{} // closed when nobody has it open any more, or it was cut off
	cut            bool          // before it had come to its end
}

// stream is a pipe from a command.
type stream struct {
	*tee
	read, write *os.File
}

func (c child) openOutput() (*outputs, error) {
	o := &outputs{copied: make(chan struct{})}
	var err error
	if o.stdout, err = c.openStream(c.io.out); err != nil {
		return nil, err
	}
	if o.stderr = o.stdout; sameFile(c.io.out, c.io.err) {
		return o, nil
	}
	if o.stderr, err = c.openStream(c.io.err); err != nil {
		return nil, errors.Join(err, o.stdout.read.Close(), o.stdout.write.Close())
	}
	return o, nil
}

func (c child) openStream(through io.Writer) (*stream, error) {
	read, write, err := os.Pipe()
	return &stream{newTee(c.log, through, c.redacted), read, write}, err
}

func (o *outputs) streams() []*stream {
	if o.stdout == o.stderr {
		return []*stream{o.stdout}
	}
	return []*stream{o.stdout, o.stderr}
}

// begin copies, once the command has its ends of the pipes.
func (o *outputs) begin() {
	var copying sync.WaitGroup
	for _, s := range o.streams() {
		_ = s.write.Close() // nothing was written here
		copying.Go(func() {
			_, _ = io.Copy(struct{ io.Writer }{s.tee}, s.read) // what is lost is in the tee
			_ = s.read.Close()                                 // a command whose output cannot be kept is not to wait for us
		})
	}
	go func() {
		copying.Wait()
		close(o.copied)
	}()
}

// cutOff ends the copying: whoever writes from now on gets a broken pipe.
func (o *outputs) cutOff() {
	o.cut = true
	for _, s := range o.streams() {
		_ = s.read.Close() // only read
	}
}

// end waits for the end of the copying, and passes on what is held back.
func (o *outputs) end() {
	<-o.copied
	for _, s := range o.streams() {
		s.close()
	}
}

// lost is why the log could not be written.
func (o *outputs) lost() error { return cmp.Or(o.stdout.lost, o.stderr.lost) }

// tee writes to the log, and through to a stream for as long as somebody reads it; neither gets to see a secret. What we
// pass through is as public as the log: it is what a CI system keeps of us. The log takes secrets out by itself, too,
// but once stdout and stderr have come together there, a secret may be in two pieces.
type tee struct {
	redacted *livelog.RedactingWriter // before both
	log      io.Writer
	through  io.Writer
	broken   bool
	lost     error // why the log could not be written
}

func newTee(log, through io.Writer, redacted func(io.Writer) *livelog.RedactingWriter) *tee {
	t := &tee{log: log, through: through}
	t.redacted = redacted(writerFunc(t.pass))
	return t
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (t *tee) Write(p []byte) (int, error) { return t.redacted.Write(p) }

// close passes on what is held back. What is lost then, too, is in t.lost.
func (t *tee) close() { _ = t.redacted.Close() }

// pass takes what is no secret.
func (t *tee) pass(p []byte) (int, error) {
	n, err := t.log.Write(p)
	t.lost = cmp.Or(t.lost, err)
	if !t.broken {
		_, throughErr := t.through.Write(p[:n])
		t.broken = throughErr != nil
	}
	return n, err
}

func sameFile(a, b io.Writer) bool {
	if a == b {
		return true
	}
	fa, ok := a.(*os.File)
	fb, ok2 := b.(*os.File)
	if !ok || !ok2 {
		return false
	}
	ia, err := fa.Stat()
	ib, err2 := fb.Stat()
	return err == nil && err2 == nil && os.SameFile(ia, ib)
}
