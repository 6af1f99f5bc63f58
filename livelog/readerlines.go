package livelog

import "bytes"

// The windows in which the reader looks for lines: the first is what an index mostly holds inline, each of the others four times the one
// behind it, so that few requests find a few lines, and no byte is looked at more than twice.
const (
	firstWindow = maxTail
	moreWindow  = 4
)

// findLines moves to where the last lines begin that the first index has. An error is in r.err.
func (r *Reader) findLines() {
	for r.index == nil && r.err == nil {
		if r.ctx.Err() != nil {
			r.err = r.ended()
			return
		}
		r.err = r.look()
	}
	if r.err != nil {
		return
	}
	r.offset = r.index.Size
	if r.o.LastLines < 0 {
		return
	}
	buf := make([]byte, 32<<10)
	missing := r.o.LastLines
	end := r.index.Size - 1 // the line break at the very end ends the last line and begins none
	for window := int64(firstWindow); end > 0 && r.err == nil; window *= moreWindow {
		start := max(0, end-window)
		breaks := r.countBreaks(buf, start, end)
		if breaks >= missing {
			r.skipBreaks(buf, start, breaks-missing+1)
			return
		}
		missing -= breaks
		end = start
	}
	r.move(0)
}

// move makes offset the next byte to read.
func (r *Reader) move(offset int64) {
	r.drop()
	r.offset = offset
}

// countBreaks counts the line breaks in the bytes from start to end, which the index has.
func (r *Reader) countBreaks(buf []byte, start, end int64) int {
	r.move(start)
	breaks := 0
	for r.offset < end && r.err == nil {
		n, _ := r.next(buf[:min(int64(len(buf)), end-r.offset)], r.step)
		breaks += bytes.Count(buf[:n], []byte("\n"))
	}
	return breaks
}

// skipBreaks moves behind the n-th line break from start on.
func (r *Reader) skipBreaks(buf []byte, start int64, n int) {
	r.move(start)
	for r.err == nil {
		got, _ := r.next(buf, r.step)
		r.rest = buf[:got]
		for n > 0 {
			i := bytes.IndexByte(r.rest, '\n')
			if i < 0 {
				break
			}
			r.rest = r.rest[i+1:]
			n--
		}
		if n == 0 {
			return
		}
	}
}
