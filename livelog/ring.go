package livelog

import "bytes"

// mostHeld is how many of the newest bytes are held in memory while the disk takes none.
const mostHeld = 64 << 10

// ring holds the newest bytes of a stream, at least mostHeld of them if there are so many, and counts the others.
type ring struct {
	data         []byte
	bytes, lines int64 // that came before data and are given up
	atLeast      bool  // there were more
	torn         bool  // data begins amid a line
}

func (r *ring) write(p []byte) {
	if drop := len(p) - mostHeld; drop > 0 {
		r.drop(len(r.data))
		r.bytes += int64(drop)
		r.lines += newlines(p[:drop])
		r.torn = p[drop-1] != '\n'
		p = p[drop:]
	}
	r.data = append(r.data, p...)
	if len(r.data) >= 2*mostHeld {
		r.drop(len(r.data) - mostHeld)
	}
}

// drop gives up the oldest n bytes.
func (r *ring) drop(n int) {
	if n == 0 {
		return
	}
	r.bytes += int64(n)
	r.lines += newlines(r.data[:n])
	r.torn = r.data[n-1] != '\n'
	r.data = r.data[:copy(r.data, r.data[n:])]
}

// keep gives up all but the newest n bytes, and what is left of a line that is torn, if that is not most of them.
func (r *ring) keep(n int64) {
	r.drop(int(max(int64(len(r.data))-max(n, 0), 0)))
	if r.torn {
		r.drop(lineStart(r.data))
	}
}

// lost says whether bytes before data are missing.
func (r *ring) lost() bool { return r.bytes > 0 || r.atLeast }

// lineStart is where the first whole line of p begins; 0 if that would cost more than half of p.
func lineStart(p []byte) int {
	if at := bytes.IndexByte(p[:len(p)/2], '\n'); at >= 0 {
		return at + 1
	}
	return 0
}

func newlines(p []byte) int64 { return int64(bytes.Count(p, []byte("\n"))) }
