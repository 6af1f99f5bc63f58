package agent

import "container/heap"

const (
	// smallArtifact is the most bytes that an artifact may have to go before all larger ones.
	smallArtifact = 1 << 20

	// Signed URLs are asked for so many artifacts at once, of each kind: close to their use, so that none expires while it waits.
	batchNames = 1000     // the first queue took as many in one call
	batchBytes = 64 << 20 // but for one alone
)

func (a *artifact) isLarge() bool { return a.size > smallArtifact }

// artifactQueue are artifacts that wait, of each kind the smallest first, and those of a size as they were added. The zero value is empty.
type artifactQueue struct{ small, large kindOfArtifacts }

func (q *artifactQueue) push(a *artifact) {
	if a.isLarge() {
		q.large.push(a)
	} else {
		q.small.push(a)
	}
}

// kindOfArtifacts is a heap of artifacts by size.
type kindOfArtifacts struct {
	heap  artifactHeap
	bytes int64 // of all together
	count int   // of all that were ever pushed
}

func (k *kindOfArtifacts) empty() bool { return len(k.heap) == 0 }

// low says that it is time to ask for more signed URLs: less than half a batch is left.
func (k *kindOfArtifacts) low() bool { return len(k.heap) < batchNames/2 && k.bytes < batchBytes/2 }

func (k *kindOfArtifacts) push(a *artifact) {
	k.count++
	a.order = k.count
	k.bytes += a.size
	heap.Push(&k.heap, a)
}

func (k *kindOfArtifacts) pop() *artifact {
	a := heap.Pop(&k.heap).(*artifact)
	k.bytes -= a.size
	return a
}

// batch takes out as many as signed URLs are asked for at once.
func (k *kindOfArtifacts) batch() []*artifact {
	var batch []*artifact
	for bytes := int64(0); !k.empty() && len(batch) < batchNames; {
		if bytes += k.heap[0].size; bytes > batchBytes && len(batch) > 0 {
			break
		}
		batch = append(batch, k.pop())
	}
	return batch
}

// artifactHeap implements heap.Interface.
type artifactHeap []*artifact

func (h artifactHeap) Len() int      { return len(h) }
func (h artifactHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h artifactHeap) Less(i, j int) bool {
	return h[i].size < h[j].size || h[i].size == h[j].size && h[i].order < h[j].order
}
func (h *artifactHeap) Push(x any) { *h = append(*h, x.(*artifact)) }

func (h *artifactHeap) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return a
}

// linedUp says of each kind whether one waits for its turn among the artifacts of all runs. No second one does: in a thousand runs each would
// be a goroutine that does nothing but take memory.
type linedUp struct{ small, large bool }

func (l *linedUp) of(a *artifact) *bool {
	if a.isLarge() {
		return &l.large
	}
	return &l.small
}

// lanes are the uploads of a run.
type lanes struct {
	limit  int
	active int // goroutines at work
	large  int // of which with a large artifact
}

// next says which kind to upload next; ok is false if neither, for now. The small ones go first: when there is little time left,
// as many as possible have to be stored. But neither kind holds the other up: one lane is kept for those that
// are small, and one for those that are large.
func (l lanes) next(small, large bool) (takeLarge, ok bool) {
	switch {
	case large && l.large == 0 && l.limit > 1, large && !small && l.large < max(1, l.limit-1):
		return true, true
	case small:
		return false, true
	}
	return false, false
}
