// Package agent takes one run of one task from its claim to "completed".
//
// A worker that has claimed a task gives the claim to [Start] and gets a [Run].
// What the task prints goes to [Run.Log], what it leaves to [Run.AddArtifact],
// and [Run.Complete] ends it. Meanwhile the agent
//
//   - stores logs.json at once, in the background,
//   - publishes the logs while they grow,
//   - uploads artifacts while the task still runs, a bounded number at once,
//   - keeps the claim: reclaims it early, and renews signed URLs as they expire,
//   - stores result.json, and only then reports the run completed.
//
// # Promises
//
//   - Order: no run is reported completed unless its logs.json and result.json are stored.
//   - Truth: result.json names exactly the artifacts whose bytes are stored; the others
//     are listed with their reasons in its result.missingArtifacts. When the storage has said how long it keeps an artifact,
//     result.artifactsExpire says until when, so that readers can tell later what has expired.
//   - Bytes: a reader of a log sees what was written to it, less the secrets, in order, without a gap or a repeat. Where bytes had to be
//     given up, for [Options].LogLimit or a full disk, a line in the log says how many, and result.json lists the log in its
//     result.incompleteLogs ([livelog.Quota]). A log that cannot say so, because an fsync has failed, counts as missing.
//   - Time: writing to a log and adding an artifact never wait for the network.
//   - Secrets: a signed URL shows up in no error, log line or file of this package, and what [Run.Redact] was told in
//     no log of the run, whether it is published or on the disk. Artifacts and the outcome are stored as the worker gives them.
//
// An [Observer] is told what happens. With [Options].ReadBack an artifact counts as stored only once it was read where readers find it.
//
// Where readers can reach the worker, a [Stream] serves the logs as they are written.
//
// When the claim is lost (the queue has given the run to somebody else, or could
// not be reached before the claim lapsed), the run's context ends with a
// [ClaimLostError] as its cause, uploads stop, and nothing is reported.
//
// # When the process dies
//
// A run keeps a journal in its state folder, see [Options].StateDir. After a kill, or a power cut, [Resume] takes
// the run up where it stood: the claim is renewed if the queue still knows it, logs go on without a gap or
// a repeat, what is stored is not stored again, and result.json keeps the bytes that it had. What the worker had
// not yet said is not made up: a run without an outcome is closed, and the queue gives its task to another worker.
// Only what the redactor held at that moment, the beginning of a secret perhaps, is not in the log: see [livelog.RedactingWriter].
//
// This holds on filesystems that do not show a file longer than what was written to it after a
// power cut: ext4 (in its default mode), XFS, Btrfs, APFS.
//
// # Scale
//
// What one run costs, as go run ./cmd/scale has measured it, with a claim and signed URLs of 20 minutes. Quiet is a line of 100 bytes
// every 6 s for 10 minutes, chatty one every 100 ms for 30 minutes, and tests one a second for 10 minutes and 200 artifacts of 20 kB:
//
//	                                      quiet   chatty    tests   grows with
//	requests to the queue                     5      110      210   chunks, artifacts that come one by one; a reclaim each half claim
//	PUTs of the index                       100     1640      540   time: one for each flush that finds something new
//	PUTs of chunks                            0      100        3   the log: one for each 16 KiB, or for each flush of a fast log
//	PUTs of the text                          8       12       11   the logarithm of the log
//	PUTs of artifacts and documents           2        2      202
//	bytes sent to the storage            344 kB   9.8 MB   5.9 MB   an index is 2 kB, of a log that gzips well
//	GETs of one reader who follows          540     2490      780   time, as the flushes
//
// A process takes 18 MB with one run, and with more that share an [upload.Client] and a [Pool], as in the sidecar, 55 to 75 kB, 5 goroutines
// and 2 descriptors for each; they keep some 50 connections together.
//
// Of 100,000 such runs at once (half of them quiet, 30 % chatty, 20 % tests; one reader for ten of them), 130 begin each second. S3 takes
// at least 3,500 PUTs and 5,500 GETs a second for each partitioned prefix. It is the flushes that cost, so turn that knob first:
//
//	                                                        queue/s    PUT/s    GET/s  prefixes    $/h
//	as it is                                                  9,150   66,200   12,300        19  1,220
//	a flush every 5 s (--flush-interval, Options.Publish)     8,780   27,700    3,330         8    520
//	every 10 s                                                8,780   19,400    1,680         6    360
//	every minute, and readers come to the worker (--stream)   7,850   10,100        0         3    200
//	artifacts at the end (--settle 0)                         2,550   66,200   12,300        19  1,220
//	logs up to 1 MiB (--log-limit)                            8,350   52,400   10,900        15    970
//	claims of 2 minutes (the task's timeout)                 10,700   66,200   12,300        19  1,220
//	every 10 s, --stream, and artifacts at the end            2,180   19,400        0         6    360
//
// At $0.005 for 1,000 PUTs, $0.0004 for 1,000 GETs and $0.023 for a GB and month; nearly all of it is PUTs. Names begin with the taskId, which
// is random, so all prefixes get the same share. But S3 splits a bucket gradually while the load stays high, and a new one has a single
// prefix, enough for 5,300 of these runs, or 18,000 with a flush every 10 s: let the load grow slowly, or begin with several buckets. Until
// then some answers are 503 Slow Down. They lose nothing: they are tried again after longer and longer, random pauses (Retry-After counts), a log
// whose index takes longer than the interval is flushed less often, down to every 10 s, and what is new meanwhile is in the next flush.
//
// Other mixes, numbers, prices and knobs are flags of that program; -from cmd/scale/testdata/measured.json computes without measuring
// anew. Its model is [livelog.NewForecast] and a few rules, and a test holds it to whole runs in virtual time.
//
// # Limits
//
// The package runs no commands: the worker does. Artifacts are single signed PUTs, so at most 5 GiB each on S3.
// A disk that cannot keep the journal ends the run ([StateError]): nobody could resume what it would do.
package agent
