package livelog

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// The parameters that say how to read.
const (
	followParameter = "follow" // 1: go on until the log ends
	offsetParameter = "offset" // the first byte
	linesParameter  = "lines"  // begin this many lines before the end of what there is
)

// maxRange is the last byte in the answer to a Range whose end is not known: the "very large value" of RFC 8673.
const maxRange = 1<<53 - 1

// request is what a reader asks for.
type request struct {
	follow bool  // until the log ends
	events bool  // as Server-Sent Events; also follow
	resume bool  // offset is where an earlier answer with events ended
	offset int64 // the first byte
	lines  int64 // if not negative: the first byte is so many lines from the end

	// The Range of one that follows, if it is one that can be followed.
	ranged bool
	suffix int64 // if positive: the first byte is so many bytes from the end
	end    int64 // not to be read, nor what follows it
}

// parseRequest reads the query and header of a request. Its errors do not repeat any of them.
func parseRequest(query url.Values, header http.Header) (request, error) {
	q := request{lines: -1, end: math.MaxInt64}
	var err error
	switch query.Get(followParameter) {
	case "":
		q.follow = query.Has(followParameter)
	case "1", "true":
		q.follow = true
	case "0", "false":
	default:
		return q, fmt.Errorf("%s is not 1 or 0", followParameter)
	}
	if query.Has(offsetParameter) && query.Has(linesParameter) {
		return q, fmt.Errorf("%s and %s exclude each other", offsetParameter, linesParameter)
	}
	if query.Has(offsetParameter) {
		if q.offset, err = parseCount(offsetParameter, query.Get(offsetParameter)); err != nil {
			return q, err
		}
	}
	if query.Has(linesParameter) {
		if q.lines, err = parseCount(linesParameter, query.Get(linesParameter)); err != nil {
			return q, err
		}
	}
	if strings.Contains(header.Get("Accept"), eventType) {
		q.follow, q.events = true, true
		if id := header.Get("Last-Event-ID"); id != "" {
			q.resume, q.lines = true, -1
			q.offset, err = parseCount("Last-Event-ID", id)
		}
		return q, err
	}
	if q.follow && !query.Has(offsetParameter) && !query.Has(linesParameter) {
		q.parseRange(header.Get("Range"))
	}
	return q, nil
}

// parseRange takes a Range of one piece. Any other is ignored, as RFC 9110 allows.
func (q *request) parseRange(header string) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return
	}
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return
	}
	if first == "" {
		n, err := parseCount("", last)
		q.suffix, q.ranged = n, err == nil && n > 0
		return
	}
	from, err := parseCount("", first)
	to := int64(maxRange)
	if last != "" && err == nil {
		to, err = parseCount("", last)
	}
	if err == nil && from <= to && to <= maxRange {
		q.offset, q.end, q.ranged = from, to+1, true
	}
}

// parseCount reads a number that is not negative.
func parseCount(name, value string) (int64, error) {
	n, err := strconv.ParseUint(value, 10, 63)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is too large", name)
	}
	if err != nil {
		return 0, fmt.Errorf("%s is not a number of 0 or more", name)
	}
	return int64(n), nil
}
