package livelog

import (
	"fmt"
	"strings"
)

// Loss says what is missing in a log that goes through a [Quota], and where its newest mark is. The zero Loss is that of a whole log.
type Loss struct {
	Bytes   int64  // bytes that were written and are not in the log, in all
	Lines   int64  // newlines among them
	AtLeast bool   // there may have been more: a process has died that knew
	Reason  string // of the latest loss; "" if there is none

	// Unmarked are those of the bytes, and UnmarkedLines those of the lines, of which the log does not say (yet) that they are
	// missing. They belong at its end.
	Unmarked, UnmarkedLines int64
	Open                    bool // there is something unmarked, if only perhaps

	// At is where in the log the newest place is at which bytes are missing. There, unless Open, are Block bytes of which
	// the first ones are the mark and the others what was written last.
	At, Block int64

	// Own are the bytes of the log, up to the end of that block, that nobody wrote but the quota: its marks.
	Own int64
}

// Any says that something is missing.
func (l Loss) Any() bool { return l.Bytes > 0 || l.AtLeast }

// String is what a person wants to know: "incomplete: 120 bytes (3 lines) are missing: no space left on device".
func (l Loss) String() string {
	if !l.Any() {
		return "whole"
	}
	return fmt.Sprintf("incomplete: %s are missing: %s", amount(l.Bytes, l.Lines, l.AtLeast), l.Reason)
}

func amount(bytes, lines int64, atLeast bool) string {
	text := fmt.Sprintf("%s (%s)", count(bytes, "byte"), count(lines, "line"))
	if atLeast {
		return "at least " + text
	}
	return text
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

const (
	linePrefix = "upload-agent: "
	// mostReason bounds the reason in a mark, so that a mark is never longer than mostMark.
	mostReason = 200
	mostMark   = 400
)

// mark is the line in the log where bytes are missing.
func mark(bytes, lines int64, atLeast bool, reason string) string {
	reason = strings.ToValidUTF8(strings.ReplaceAll(reason, "\n", " "), "\uFFFD")
	if len(reason) > mostReason {
		reason = strings.ToValidUTF8(reason[:mostReason], "")
	}
	return fmt.Sprintf("%s%s of this log are missing here: %s\n", linePrefix, amount(bytes, lines, atLeast), reason)
}

// notice is the line at which a log has reached its limit.
func notice(limit int64) string {
	return fmt.Sprintf("%s%s; from here on only the newest bytes are kept, and follow when the log ends\n", linePrefix, limitReason(limit))
}

func limitReason(limit int64) string {
	return fmt.Sprintf("the log has reached its limit of %s", count(limit, "byte"))
}
