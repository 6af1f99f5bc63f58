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
//     are listed with their reasons in its result.missingArtifacts.
//   - Bytes: a reader of a log sees what was written to it, in order, without a gap or a repeat.
//   - Time: writing to a log and adding an artifact never wait for the network.
//   - Secrets: a signed URL shows up in no error, log line or file of this package.
//
// When the claim is lost (the queue has given the run to somebody else, or could
// not be reached before the claim lapsed), the run's context ends with a
// [ClaimLostError] as its cause, uploads stop, and nothing is reported.
//
// # Limits
//
// The package runs no commands: the worker does. A run does not survive the end of
// its process: what was not completed is given to another worker by the queue when
// the claim lapses. Artifacts are single signed PUTs, so at most 5 GiB each on S3.
package agent
