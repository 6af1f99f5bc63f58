package livelog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// TextReader reads a log that is served as it is: through a link of a [Handler], which it follows until the log has ended, or from
// any URL that holds the text of a log, to the end of that. The answer tells which it is: a Handler's has the header Log-Offset.
//
// Torn connections are made again, where the last byte was. No byte is given twice and none is left out: a text that is replaced while
// it is read is ErrChanged, and an answer that stops without an end is none.
//
// It tries a bounded number of times without progress, whatever fails: a worker that is gone does not come back.
// Of the options, MinPoll and MaxPoll bound the pauses between tries, and Abandoned is never asked. Offset or LastLines, if one of them is not 0, take the
// place of what a link says of where to begin; LastLines takes two requests or more, and reads a text twice if its storage gives no ranges.
//
// Read is for one goroutine at a time; Close may be called at any moment.
type TextReader struct {
	url string

	mu sync.Mutex // held by Read; guards what follows
	reading
	kind   textKind
	begun  bool      // offset is where reading begins, or later
	end    int64     // of what is read; -1 as long as it is not known
	opened time.Time // when body was
	from   int64     // where body began
	sealed bool      // body is of a log that has ended
	whole  bool      // an end of body is the end, also where end is not known
	plain  plainText
}

type textKind int

const (
	unknownText textKind = iota
	storedText           // an object
	linkedText           // a Handler
)

// NewTextReader makes a reader of the log at url. It sends nothing before the first Read. Reading ends when ctx does, with its cause. Close it when done.
func NewTextReader(ctx context.Context, url string, o ReaderOptions) *TextReader {
	return &TextReader{url: url, reading: newReading(ctx, url, o), end: -1}
}

// Close ends a Read that is waiting (os.ErrClosed) and lets go of connections. The error is always nil.
func (r *TextReader) Close() error {
	r.cancel(os.ErrClosed)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
	r.close()
	return nil
}

// Read gives the next bytes of the log as soon as there are any.
func (r *TextReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	return r.next(p, r.step)
}

// step does the next thing on the way to more bytes. An error is final.
func (r *TextReader) step(p []byte) (int, error) {
	switch {
	case r.begun && r.end >= 0 && r.offset >= r.end:
		r.drop()
		return 0, io.EOF
	case r.body != nil:
		return r.readBody(p)
	case r.kind == unknownText:
		return 0, r.probe()
	case r.kind == linkedText:
		return 0, r.openLink()
	case !r.begun:
		return 0, r.begin()
	}
	return 0, r.openText()
}

// probe finds out what the URL is, with a request that costs little if it is a stored text.
func (r *TextReader) probe() error {
	resp, err := r.getter.get(r.ctx, r.url, http.Header{"Accept-Encoding": {identity}, "Cache-Control": {noCache}, "Range": {"bytes=0-0"}})
	if err != nil {
		return r.retry(err, true)
	}
	resp.Body.Close() // unread: there may be nothing to read for a long time
	_, linked := resp.Header[offsetHeader]
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
	default:
		return r.refused(statusError(resp.StatusCode))
	}
	r.kind = storedText
	if linked {
		r.kind = linkedText
	}
	return nil
}

// refused deals with a status that is an error.
func (r *TextReader) refused(status statusError) error {
	switch {
	case status.passing():
		return r.retry(status, true)
	case status.missing():
		return r.failed(fmt.Errorf("%w, or the link has expired: %w", ErrMissing, status))
	}
	return r.failed(status)
}

// readBody reads from the open answer. When it breaks off, the next step opens another one where it stopped.
func (r *TextReader) readBody(p []byte) (int, error) {
	if r.end >= 0 {
		p = p[:min(int64(len(p)), r.end-r.offset)]
	}
	n, err := r.body.Read(p)
	if err == nil || n > 0 {
		return n, nil // an error comes again
	}
	r.drop()
	switch {
	case err == io.EOF && r.end < 0 && (r.whole || r.sealed && r.offset == r.from):
		return 0, io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	if r.kind == linkedText && time.Since(r.opened) > r.o.StallTimeout/2 {
		r.progress() // a quiet log, and a connection that nobody keeps for ever
		if errors.Is(err, errStalled) {
			return 0, nil
		}
	}
	return 0, r.retry(err, r.kind != linkedText)
}

// plainText is what is known of a stored text.
type plainText struct {
	etag     string
	seen     bool  // etag is the one that must stay
	noRange  bool  // it is stored compressed, and a part of that is of no use
	searched int64 // how much of its end was searched for lines, in vain
}

// textAnswer is a stored text from start on.
type textAnswer struct {
	start int64
	end   int64         // of the text; -1 if that is not known
	body  io.ReadCloser // nil: there is nothing from there on
}

// get asks for the text from a place on, which is counted from the end if it is negative. An error is final; without one and
// without an answer it is to be tried again.
func (r *TextReader) get(from int64) (*textAnswer, error) {
	header := http.Header{"Accept-Encoding": {identity}, "Cache-Control": {noCache}}
	if from != 0 && !r.plain.noRange {
		header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		if from < 0 {
			header.Set("Range", fmt.Sprintf("bytes=%d", from))
		}
	}
	resp, err := r.getter.get(r.ctx, r.url, header)
	if err != nil {
		return nil, r.retry(err, true)
	}
	a, err := r.understand(resp, from)
	if a == nil || a.body == nil {
		discard(resp.Body)
	}
	return a, err
}

// understand makes sense of an answer.
func (r *TextReader) understand(resp *http.Response, from int64) (*textAnswer, error) {
	a := &textAnswer{end: resp.ContentLength}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
	case http.StatusRequestedRangeNotSatisfiable:
		if !r.plain.seen && !r.plain.noRange { // that may be said of what is stored compressed, and shorter than its text
			r.plain.noRange = true
			return nil, nil
		}
		return a, nil
	default:
		return nil, r.refused(statusError(resp.StatusCode))
	}
	etag := resp.Header.Get("ETag")
	if r.plain.seen && etag != r.plain.etag {
		return nil, r.failed(ErrChanged)
	}
	r.plain.etag, r.plain.seen = etag, true
	if resp.StatusCode == http.StatusPartialContent {
		if r.plain.noRange = isGzip(resp.Header); r.plain.noRange {
			return nil, nil
		}
		var last int64
		said := resp.Header.Get("Content-Range")
		if _, err := fmt.Sscanf(said, "bytes %d-%d/%d", &a.start, &last, &a.end); err != nil || last != a.end-1 || from >= 0 && a.start != from {
			return nil, r.retry(fmt.Errorf("the answer is the range %q", said), true)
		}
		a.body = resp.Body
		return a, nil
	}
	if isGzip(resp.Header) {
		a.end = -1
	}
	var err error
	if a.body, err = chunkBody(resp, identity, 0, false); err != nil {
		return nil, r.retry(err, true)
	}
	return a, nil
}

// openText opens the stored text at offset.
func (r *TextReader) openText() error {
	a, err := r.get(r.offset)
	switch {
	case a == nil:
		return err
	case a.body == nil && r.end > r.offset:
		return r.failed(ErrShort)
	case a.body == nil:
		return io.EOF
	}
	if skip := r.offset - a.start; skip > 0 {
		if n, err := io.CopyN(io.Discard, a.body, skip); err != nil {
			a.body.Close() // only read from: no error to lose
			if err == io.EOF && (a.end < 0 || n == a.end) {
				return io.EOF // it is not that long
			}
			return r.retry(err, true)
		}
	}
	if r.end < 0 {
		r.end = a.end
	}
	r.body, r.opened, r.whole = a.body, time.Now(), true
	return nil
}

// begin finds where to begin to read a stored text.
func (r *TextReader) begin() error {
	switch {
	case r.o.LastLines < 0:
		return io.EOF // it has ended: nothing is new
	case r.o.LastLines == 0:
		r.begun = true
		return nil
	}
	window := max(firstWindow, r.plain.searched*moreWindow)
	a, err := r.get(-window)
	switch {
	case a == nil:
		return err
	case a.body == nil:
		return io.EOF // it is empty
	}
	breaks, size, err := countLines(a.body)
	a.body.Close() // only read from: no error to lose
	if err != nil {
		return r.retry(err, true)
	}
	r.progress()
	if breaks < r.o.LastLines && a.start > 0 {
		r.plain.searched = window
		return nil // a larger part next time
	}
	r.end, r.begun = a.start+size, true
	return r.skipLines(a.start, breaks-r.o.LastLines+1)
}

// countLines counts the line breaks in a text, but for one at its very end, and its bytes.
func countLines(text io.Reader) (breaks int, size int64, err error) {
	buf := make([]byte, 32<<10)
	last := byte(0)
	for err == nil {
		var n int
		n, err = text.Read(buf)
		if n > 0 {
			breaks += bytes.Count(buf[:n], []byte("\n"))
			size, last = size+int64(n), buf[n-1]
		}
	}
	if last == '\n' {
		breaks--
	}
	if err == io.EOF {
		err = nil
	}
	return breaks, size, err
}

// skipLines makes offset the byte after the n-th line break from start on.
func (r *TextReader) skipLines(start int64, n int) error {
	r.offset = start
	if n <= 0 {
		return nil
	}
	for one := make([]byte, 32<<10); n > 0; {
		if r.ctx.Err() != nil {
			return nil // Read sees it
		}
		if r.body == nil {
			if err := r.openText(); err != nil {
				return err
			}
			continue
		}
		got, err := r.readBody(one)
		if err != nil {
			return err
		}
		at := 0
		for ; n > 0; n-- {
			i := bytes.IndexByte(one[at:got], '\n')
			if i < 0 {
				at = got
				break
			}
			at += i + 1
		}
		r.offset += int64(at)
		if n == 0 && at < got { // the rest comes again, from another answer
			r.drop()
		}
	}
	return nil
}
