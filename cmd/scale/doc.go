// Scale measures what one run costs, and computes what many of them at once ask of the queue and of the object storage.
//
//	go run ./cmd/scale                              100,000 runs at once; it takes two minutes
//	go run ./cmd/scale -runs 5000 -mix quiet=9,chatty=1 -interval 5s
//	go run ./cmd/scale -json plan.json              the same for a program
//	go run ./cmd/scale -from plan.json -runs 1e6    another plan from the same measurement
//
// It has three parts. The first takes runs of a few profiles through the public API of package agent, against the queue and the storage of
// package agenttest on loopback, and counts requests and bytes. Time is compressed there: half an hour of a run, of its claim and of its
// signed URLs passes in a minute, lines come thirty times as fast, and flushes thirty times as often. The publisher's rules do not change by that,
// because its interval is the larger of an option and of a part of the log's age. What cannot be compressed is the time that the machine takes:
// a slow one flushes less often than it would in an hour, which the report shows as a difference to the prediction.
//
// The second is a model: the same counts, by [livelog.NewForecast], which is the publisher's and the reader's own pure code, and by the few
// rules of the agent: when it reclaims, and when it asks for signed URLs. The report shows both side by side. TestModel holds the
// model to runs in virtual time that are not compressed: what the program says of another interval or another claim is only as true as that.
//
// The third starts many runs at once in a process of their own, for what a run takes of memory, descriptors and goroutines: the slope over
// several numbers of runs, and what a process takes without any.
//
// Prices and limits are those of Amazon S3, and flags where they change.
package main
