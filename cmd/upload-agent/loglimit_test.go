package main

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "65536": 65536, "1GiB": 1 << 30, "500MB": 500_000_000, "64kib": 64 << 10, "1.5 MiB": 3 << 19, "2TB": 2e12, "7B": 7,
		"": -1, "MB": -1, "-1": -1, "1XB": -1, "1 G": -1, "NaN": -1, "Inf": -1, "1e30": -1, "0x10": -1, "1GiB2": -1,
	} {
		got, err := parseSize(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}
