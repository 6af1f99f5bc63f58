package main

import (
	"math"
	"time"
)

// prices are those of an object storage, in dollars.
type prices struct {
	Put     float64 `json:"putPer1000"`
	Get     float64 `json:"getPer1000"`
	Storage float64 `json:"storagePerGBMonth"` // of 2^30 bytes, as Amazon counts
	Months  float64 `json:"monthsKept"`
	Source  string  `json:"source"`
}

// What Amazon S3 promises at least, in requests a second, for each partitioned prefix of a bucket. It partitions them by itself where the load
// stays high, gradually, and until then answers some of the requests with 503 Slow Down.
const (
	putLimit = 3500
	getLimit = 5500
)

const (
	limitsSource = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html"
	pricesSource = "S3 Standard in us-east-1, as known in November 2026, to be checked at https://aws.amazon.com/s3/pricing/; transfer within the region is free"
)

// crowd is how many runs are under way at once, of which kinds, and who reads them.
type crowd struct {
	Runs    float64   `json:"runs"`
	Mix     []profile `json:"mix"`
	Readers float64   `json:"readersPerRun"`
}

// demand is what they ask for, in steady state.
type demand struct {
	RunsPerSecond float64 `json:"runsPerSecond"` // that begin, and end
	PerSecond     counts  `json:"perSecond"`     // requests by kind
	Queue         float64 `json:"queuePerSecond"`
	Put           float64 `json:"putPerSecond"`
	Get           float64 `json:"getPerSecond"`
	Sent          float64 `json:"bytesSentPerSecond"`   // in the bodies of PUTs
	Stored        float64 `json:"bytesStoredPerSecond"` // that stay
	Partitions    float64 `json:"partitionedPrefixes"`  // of the storage, at its limits
	PutCost       float64 `json:"putDollarsPerHour"`
	GetCost       float64 `json:"getDollarsPerHour"`
	StorageCost   float64 `json:"storageDollarsPerHour"` // for all the time that they keep, what an hour stores
}

// share is the part of it that one partitioned prefix takes.
func (d demand) share() float64 { return 1 / max(d.Put/putLimit, d.Get/getLimit) }

// cost is all of it.
func (d demand) cost() float64 { return d.PutCost + d.GetCost + d.StorageCost }

// plan computes what a crowd asks for. sizes say how many bytes a request of a kind has, for each profile.
func plan(c crowd, k knobs, sizes map[string]sizes, at prices) demand {
	var weights float64
	for _, p := range c.Mix {
		weights += p.Weight
	}
	d := demand{PerSecond: counts{}}
	for _, p := range c.Mix {
		run := predict(p, k, 1)
		begins := c.Runs * p.Weight / weights / p.Length.Seconds() // Little's law
		d.RunsPerSecond += begins
		for kind, n := range run.Requests {
			if kind == "look" || kind == "read" {
				n *= c.Readers
			}
			d.PerSecond[kind] += begins * n
		}
		sent, stored := sizes[p.Name].of(p, run)
		d.Sent += begins * sent
		d.Stored += begins * stored
	}
	d.Queue, d.Put, d.Get = d.PerSecond.sum(queueKinds), d.PerSecond.sum(putKinds), d.PerSecond.sum(readerKinds)
	d.Partitions = math.Ceil(1 / d.share())
	d.PutCost, d.GetCost = d.Put*3600/1000*at.Put, d.Get*3600/1000*at.Get
	d.StorageCost = d.Stored * 3600 / (1 << 30) * at.Storage * at.Months
	return d
}

// sizes are what was measured of one profile.
type sizes struct {
	Index    float64 `json:"indexBytes"`     // of an index, on average
	Packed   float64 `json:"chunkPacked"`    // bytes of chunks for each byte of the log in them
	Document float64 `json:"documentsBytes"` // of logs.json and result.json together
}

// of is how many bytes a run sends in the bodies of its PUTs, and how many of them stay: the others are replaced.
func (s sizes) of(p profile, run prediction) (sent, stored float64) {
	artifacts := float64(p.Artifacts * p.ArtifactBytes)
	chunks := s.Packed * float64(run.ChunkedText)
	sent = s.Index*run.Requests["index"] + chunks + float64(run.TextBytes) + s.Document + artifacts
	stored = s.Index + chunks + float64(run.LogBytes) + s.Document + artifacts
	return sent, stored
}

// variant is a plan with a knob turned.
type variant struct {
	Name   string `json:"name"`
	Knobs  knobs  `json:"knobs"`
	Where  string `json:"where"` // one turns it
	Demand demand `json:"demand"`
}

// variants are what a plan is compared with: one knob at a time, and those that cost nobody much together.
func variants(c crowd, k knobs, sizes map[string]sizes, at prices) []variant {
	turned := func(turn func(*knobs)) knobs {
		other := k
		turn(&other)
		return other
	}
	all := []variant{
		{Name: "as it is", Knobs: k},
		{Name: "a flush every 5 s at most", Where: "`--flush-interval`", Knobs: turned(func(k *knobs) { k.Interval = 5 * time.Second })},
		{Name: "every 10 s", Where: "`--flush-interval`", Knobs: turned(func(k *knobs) { k.Interval = 10 * time.Second })},
		{Name: "every minute, readers at the workers", Where: "`--flush-interval`, `--stream`", Knobs: turned(func(k *knobs) { k.Interval, k.Stream = time.Minute, true })},
		{Name: "readers at the workers", Where: "`--stream`", Knobs: turned(func(k *knobs) { k.Stream = true })},
		{Name: "artifacts at the end", Where: "`--settle 0`", Knobs: turned(func(k *knobs) { k.AtEnd = true })},
		{Name: "logs up to 1 MiB", Where: "`--log-limit`", Knobs: turned(func(k *knobs) { k.LogLimit = 1 << 20 })},
		{Name: "claims of 2 minutes", Where: "the task's `timeout`", Knobs: turned(func(k *knobs) { k.Claim = 2 * time.Minute })},
		{Name: "every 10 s, readers at the workers, artifacts at the end", Where: "all three", Knobs: turned(func(k *knobs) { k.Interval, k.Stream, k.AtEnd = 10*time.Second, true, true })},
	}
	for i := range all {
		all[i].Demand = plan(c, all[i].Knobs, sizes, at)
	}
	return all
}
