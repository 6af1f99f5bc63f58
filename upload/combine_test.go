package upload

import (
	"testing"

	"pgregory.net/rapid"
)

// The digest of a whole follows from those of its pieces, however it is cut.
func TestDigestsCombine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "whole")
		var crc uint64
		for rest := whole; ; {
			n := rapid.IntRange(0, len(rest)).Draw(t, "piece")
			if rapid.Bool().Draw(t, "last") {
				n = len(rest)
			}
			crc = combine(crc, Sum(rest[:n]).sum(), int64(n))
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		if got, want := digestOfSum(crc), Sum(whole); got != want {
			t.Fatalf("combined %s, want %s", got, want)
		}
	})
}

// A terabyte of zeros after something takes no longer than ten bytes.
func TestDigestsCombineOverLargePieces(t *testing.T) {
	const mib = 1 << 20
	zeros := Sum(make([]byte, mib)).sum()
	crc, size := zeros, int64(mib)
	for size < 1<<40 {
		crc, size = combine(crc, crc, size), 2*size
	}
	one := Sum([]byte("1")).sum()
	left := combine(combine(one, crc, size), crc, size)
	right := combine(one, combine(crc, crc, size), 2*size)
	if left != right {
		t.Errorf("%x and %x: the order of combining matters", left, right)
	}
}

func TestPartSizes(t *testing.T) {
	for _, test := range []struct{ wanted, size, want int64 }{
		{0, 1, 5 << 20},
		{64 << 20, 1 << 30, 64 << 20},
		{5 << 20, 50_000 << 20, 5 << 20},
		{5 << 20, 50_000<<20 + 1, 5<<20 + 1},
		{64 << 20, 5 << 40, 549755814},
	} {
		got := partSizeFor(test.wanted, test.size)
		if got != test.want || (test.size+got-1)/got > maxParts {
			t.Errorf("parts of %d for %d bytes, wanted %d: %d, want %d", got, test.size, test.wanted, (test.size+got-1)/got, test.want)
		}
	}
}
