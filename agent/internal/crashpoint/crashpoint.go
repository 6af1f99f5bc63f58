// Package crashpoint lets a test end the process at a named place, as kill -9 would.
//
// Only a build with the tag "crashpoints" has it. There, the environment variable UPLOAD_AGENT_CRASH_AT
// names the point, "artifact stored: written", and perhaps at which time that it is reached, from 1:
// "artifact stored: written#2". In every other build Reach is empty and costs nothing.
package crashpoint

import (
	"strconv"
	"strings"
)

// parse reads NAME or NAME#N. What follows the last # and is no number from 1 on belongs to the name.
func parse(at string) (point string, nth int64) {
	if i := strings.LastIndexByte(at, '#'); i >= 0 {
		if n, err := strconv.ParseUint(at[i+1:], 10, 31); err == nil && n > 0 {
			return at[:i], int64(n)
		}
	}
	return at, 1
}
