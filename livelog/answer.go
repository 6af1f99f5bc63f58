package livelog

import (
	"context"
	"io"
	"net/http"
	"os"
	"time"
)

// answer is what goes to one reader. Whatever is written may take as long as it likes, as long as something moves.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	ctx     context.Context
	stall   time.Duration
	renewed time.Time // when the deadline was set
	err     error     // the first one of ReadFrom, which http.ServeContent does not tell
	stop    func()
}

// newAnswer writes to w until ctx ends, which ends a Write in progress, too.
func newAnswer(ctx context.Context, w http.ResponseWriter, stall time.Duration) *answer {
	a := &answer{ResponseWriter: w, control: http.NewResponseController(w), ctx: ctx, stall: stall}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = a.control.SetWriteDeadline(time.Unix(1, 0)) // a server that has no deadlines waits for its client
	})
	a.stop = func() {
		if !stop() {
			<-ended // w must not be used any more when its handler has returned
		}
	}
	return a
}

// close lets go of the answer, and keeps the deadline for what the server has yet to send.
func (a *answer) close() { a.stop() }

// endless keeps the server's read timeout from ending the request.
func (a *answer) endless() { _ = a.control.SetReadDeadline(time.Time{}) }

// renew gives the reader another stall to take something.
func (a *answer) renew() error {
	if now := time.Now(); now.Sub(a.renewed) > a.stall/16 {
		_ = a.control.SetWriteDeadline(now.Add(a.stall)) // as above
		a.renewed = now
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	return nil
}

// Write sends p.
func (a *answer) Write(p []byte) (int, error) {
	if err := a.renew(); err != nil {
		return 0, err
	}
	return a.ResponseWriter.Write(p)
}

// flush sends what the server has gathered since the latest Write or renew.
func (a *answer) flush() error { return a.control.Flush() }

// pieceSize is how much is sent between two looks at the clock, when the system copies by itself.
const pieceSize = 256 << 10

// ReadFrom sends all of src, and a section without copying it, where the system can do that.
func (a *answer) ReadFrom(src io.Reader) (n int64, err error) {
	defer func() {
		if a.err == nil {
			a.err = err
		}
	}()
	limited, _ := src.(*io.LimitedReader)
	direct, ok := a.ResponseWriter.(io.ReaderFrom)
	if limited != nil && ok {
		if part, ok := limited.R.(*filePart); ok {
			return a.sendFile(direct, part, limited.N)
		}
	}
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	n, err = io.CopyBuffer(struct{ io.Writer }{a}, src, buf[:])
	if err == nil && limited != nil && limited.N > 0 {
		err = errShrunk
	}
	return n, err
}

// sendFile sends the next n bytes of part.
func (a *answer) sendFile(to io.ReaderFrom, part *filePart, n int64) (sent int64, err error) {
	for sent < n {
		if err := a.renew(); err != nil {
			return sent, err
		}
		got, err := to.ReadFrom(&io.LimitedReader{R: part.file, N: min(n-sent, pieceSize)})
		sent += got
		part.at += got
		if err != nil {
			return sent, err
		}
		if got == 0 {
			return sent, errShrunk
		}
	}
	return sent, nil
}

// filePart is a part of a file that nobody else reads from, whose end is not that of the file.
type filePart struct {
	file            *os.File
	start, size, at int64
}

// Read reads on where the last Read or Seek has ended.
func (s *filePart) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	n, err := s.file.Read(p[:min(int64(len(p)), s.size-s.at)])
	s.at += int64(n)
	return n, err
}

// Seek moves to a place within the section.
func (s *filePart) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if _, err := s.file.Seek(s.start+offset, io.SeekStart); err != nil {
		return 0, err
	}
	s.at = offset
	return offset, nil
}
