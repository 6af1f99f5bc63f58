package crashpoint

import "testing"

func TestParse(t *testing.T) {
	for _, c := range []struct {
		at    string
		point string
		nth   int64
	}{
		{"", "", 1},
		{"artifact stored: written", "artifact stored: written", 1},
		{"artifact stored: written#1", "artifact stored: written", 1},
		{"artifact stored: written#12", "artifact stored: written", 12},
		{"a#b#3", "a#b", 3},
		{"a#0", "a#0", 1},
		{"a#-1", "a#-1", 1},
		{"a#+1", "a#+1", 1},
		{"a#", "a#", 1},
		{"a#2 ", "a#2 ", 1},
		{"a#99999999999999999999", "a#99999999999999999999", 1},
	} {
		if point, nth := parse(c.at); point != c.point || nth != c.nth {
			t.Errorf("parse(%q) = %q, %d; want %q, %d", c.at, point, nth, c.point, c.nth)
		}
	}
}
