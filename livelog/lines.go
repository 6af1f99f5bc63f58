package livelog

import (
	"bytes"
	"io"
)

// lastLines is where the last n lines of the first size bytes of r begin. What follows the last line break is a line
// of its own, if it is not empty, as with tail(1). It reads backwards, through buf, no more than it needs.
func lastLines(r io.ReaderAt, size, n int64, buf []byte) (int64, error) {
	if n <= 0 {
		return size, nil
	}
	end := size - 1 // the line break at the very end ends the last line and begins none
	for end > 0 {
		block := buf[:min(int64(len(buf)), end)]
		start := end - int64(len(block))
		if got, err := r.ReadAt(block, start); got < len(block) {
			return 0, err
		}
		for i := bytes.LastIndexByte(block, '\n'); i >= 0; i = bytes.LastIndexByte(block[:i], '\n') {
			if n--; n == 0 {
				return start + int64(i) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}
