package main

import (
	"strings"

	"github.com/taskcluster/upload-agent/cmd/upload-agent/internal/viewer"
)

// printable shows text of unknown origin, of one line, on a terminal without letting it steer the terminal.
func printable(s string) string {
	clean := make([]rune, 0, len(s))
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 || viewer.Turns(r) {
			r = '\uFFFD'
		}
		clean = append(clean, r)
	}
	return string(clean)
}

// printableLines is printable for a text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}
