package agent

import (
	"math/rand/v2"
	"testing"
)

func TestArtifactsComeBySize(t *testing.T) {
	var k kindOfArtifacts
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		k.push(&artifact{size: random.Int64N(20)})
	}
	last := k.pop()
	for !k.empty() {
		next := k.pop()
		if next.size < last.size || next.size == last.size && next.order < last.order {
			t.Fatalf("size %d, number %d after size %d, number %d", next.size, next.order, last.size, last.order)
		}
		last = next
	}
	if k.bytes != 0 {
		t.Errorf("%d bytes are left", k.bytes)
	}
}

func TestBatch(t *testing.T) {
	for name, test := range map[string]struct {
		count int
		size  int64
		want  int
	}{
		"few":          {3, 10, 3},
		"many":         {2500, 10, batchNames},
		"many bytes":   {100, 5 << 20, 12},
		"one is large": {2, 1 << 40, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var k kindOfArtifacts
			for range test.count {
				k.push(&artifact{size: test.size})
			}
			if got := len(k.batch()); got != test.want {
				t.Errorf("a batch of %d, want %d", got, test.want)
			}
			if got := len(k.heap); got != test.count-test.want {
				t.Errorf("%d left, want %d", got, test.count-test.want)
			}
		})
	}
}

func TestLanes(t *testing.T) {
	for name, test := range map[string]struct {
		limit, large          int
		waitSmall, waitLarge  bool
		wantLarge, wantChosen bool
	}{
		"nothing waits":                      {4, 0, false, false, false, false},
		"small first":                        {4, 1, true, true, false, true},
		"one lane for large":                 {4, 0, true, true, true, true},
		"more of them if nothing else waits": {4, 2, false, true, true, true},
		"one lane for small":                 {4, 3, false, true, false, false},
		"which they get":                     {4, 3, true, true, false, true},
		"of one lane, small first":           {1, 0, true, true, false, true},
		"then large":                         {1, 0, false, true, true, true},
		"of two lanes, one each":             {2, 1, false, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			large, ok := lanes{limit: test.limit, large: test.large}.next(test.waitSmall, test.waitLarge)
			if large != test.wantLarge || ok != test.wantChosen {
				t.Errorf("got large %v, chosen %v; want %v, %v", large, ok, test.wantLarge, test.wantChosen)
			}
		})
	}
}
