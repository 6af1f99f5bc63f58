package main

import (
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// counts are numbers by kinds of request.
type counts map[string]float64

// The kinds of requests: those to the queue, those that store an object, and those of a reader.
var (
	queueKinds  = []string{"claim", "reclaim", "artifact-urls", "completed"}
	putKinds    = []string{"logs.json", "result.json", "index", "chunk", "text", "artifact"}
	readerKinds = []string{"look", "read"} // at the index, of a chunk
)

// sum is that of some kinds.
func (c counts) sum(kinds []string) float64 {
	var n float64
	for _, kind := range kinds {
		n += c[kind]
	}
	return n
}

// knobs are what one can turn.
type knobs struct {
	Interval time.Duration `json:"intervalNs"` // livelog.PublishOptions.Interval, --flush-interval
	Claim    time.Duration `json:"claimNs"`    // length of a claim, the task's timeout; the queue's
	URLLife  time.Duration `json:"urlLifeNs"`  // of an artifact's signed URL; the queue's
	LogLimit int64         `json:"logLimit"`   // agent.Options.LogLimit, --log-limit
	AtEnd    bool          `json:"atEnd"`      // artifacts are uploaded at the end: --settle 0
	Stream   bool          `json:"stream"`     // readers come to the worker: --stream

	minPoll time.Duration // of a reader; 0: its default
}

var defaultKnobs = knobs{Interval: time.Second, Claim: 20 * time.Minute, URLLife: 20 * time.Minute, LogLimit: livelog.DefaultLimit}

// compressed are the same in less time.
func (k knobs) compressed(factor int) knobs {
	k.Interval /= time.Duration(factor)
	k.Claim /= time.Duration(factor)
	k.URLLife /= time.Duration(factor)
	k.minPoll = 100 * time.Millisecond / time.Duration(factor)
	return k
}

// publish are the options of the live log. Its longest interval is compressed with the shortest; it is ten times as long, or as long.
func (k knobs) publish(factor int) livelog.PublishOptions {
	return livelog.PublishOptions{Interval: k.Interval, MaxInterval: max(k.Interval, 10*time.Second/time.Duration(factor))}
}

// prediction is what a run costs by the rules.
type prediction struct {
	Requests    counts
	ChunkedText int64 // bytes of the log in all chunks, before compression
	TextBytes   int64 // of all texts
	LogBytes    int64
	Flushes     []time.Duration // ages of the run at which an index was stored
}

// predict computes what a run costs, and one reader that follows its log. factor is by how much its time is compressed.
func predict(p profile, k knobs, factor int) prediction {
	f := livelog.NewForecast(p.growth(k.LogLimit), k.publish(factor), livelog.ReaderOptions{MinPoll: k.minPoll})
	c := counts{
		"claim": 1, "completed": 1, "logs.json": 1, "result.json": 1,
		"index": float64(len(f.Indexes)), "chunk": float64(f.Chunks), "text": float64(len(f.Texts)), "artifact": float64(p.Artifacts),
		"reclaim": float64(p.Length / (k.Claim / 2)), // at half time of each claim, which ends with a whole second: a little earlier
		"look":    float64(f.Looks), "read": float64(f.Reads),
	}
	// The index and the text of a log share the first call, and are asked for again when their URLs expire. A chunk's name says
	// where it ends: its URL is asked for when it is there.
	c["artifact-urls"] = 1 + float64(f.Chunks+renewals(f.Indexes, k.URLLife)+renewals(f.Texts, k.URLLife)+artifactCalls(p, k))
	if k.Stream {
		c["look"], c["read"] = 0, 0
	}
	return prediction{Requests: c, ChunkedText: f.ChunkedText, TextBytes: f.TextBytes, LogBytes: f.Size, Flushes: f.Indexes}
}

// renewals is how often a signed URL that is used at these ages has to be renewed: a tenth before it expires, but half a minute at most.
func renewals(ages []time.Duration, life time.Duration) int {
	n, expires := 0, life-min(life/10, 30*time.Second)
	for _, age := range ages {
		if age >= expires {
			n++
			expires = age + life - min(life/10, 30*time.Second)
		}
	}
	return n
}

// partRequests is how many requests store one artifact in parts of that size: one that begins it, which the queue sends, the parts, and the
// one that makes them the artifact. An object of S3 has 10,000 parts at most, of 5 MiB at least.
func partRequests(size, part int64) int64 { return 1 + (size+part-1)/part + 1 }

// batch is for how many artifacts the agent asks at once.
const batch = 1000

// artifactCalls is how often signed URLs are asked for artifacts. Those that come together wait for the call for the first one of
// them, and then share the next.
func artifactCalls(p profile, k knobs) int {
	switch {
	case p.Artifacts <= 1:
		return p.Artifacts
	case p.AtEnd || k.AtEnd:
		return 1 + (p.Artifacts-1+batch-1)/batch
	}
	return p.Artifacts
}
